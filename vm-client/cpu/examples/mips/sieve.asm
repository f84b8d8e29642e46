bits 32
; sieve of Eratosthenes over bytes, a hundred times: loads and stores
start:
  mov ebp, 100
again:
  mov edi, 0x20000000
  mov ecx, 65536/4
  mov eax, 0x01010101
  rep stosd
  mov esi, 2
outer:
  cmp byte [0x20000000+esi], 0
  je next
  lea ecx, [esi+esi]
mark:
  cmp ecx, 65536
  jae next
  mov byte [0x20000000+ecx], 0
  add ecx, esi
  jmp mark
next:
  inc esi
  cmp esi, 256
  jb outer
  xor ebx, ebx
  mov esi, 2
count:
  movzx eax, byte [0x20000000+esi]
  add ebx, eax
  inc esi
  cmp esi, 65536
  jb count
  dec ebp
  jnz again
  mov eax, 1
  int 0x80
