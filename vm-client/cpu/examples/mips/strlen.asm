bits 32
; a C library's strlen with SSE2 over 64 KiB, 200 times: aligned vector loads, compares, masks
start:
  mov edi, 0x20000000
  mov ecx, 65535
  mov al, 'x'
  rep stosb
  mov byte [edi], 0
  mov ebp, 200
  xor ebx, ebx
again:
  mov esi, 0x20000000
  pxor xmm0, xmm0
chunk:
  movdqa xmm1, [esi]
  movdqa xmm2, [esi+16]
  movdqa xmm3, [esi+32]
  movdqa xmm4, [esi+48]
  movdqa xmm5, xmm1
  pminub xmm5, xmm2
  movdqa xmm6, xmm3
  pminub xmm6, xmm4
  pminub xmm5, xmm6
  pcmpeqb xmm5, xmm0
  pmovmskb eax, xmm5
  add esi, 64
  test eax, eax
  jz chunk
  sub esi, 64
find:
  cmp byte [esi], 0
  je found
  inc esi
  jmp find
found:
  sub esi, 0x20000000
  add ebx, esi
  dec ebp
  jnz again
  mov eax, 1
  int 0x80
