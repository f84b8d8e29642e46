bits 32
; longest Collatz chain below 300000: arithmetic and branches on registers
start:
  xor edi, edi        ; best length
  mov esi, 1          ; n
outer:
  mov eax, esi
  xor ecx, ecx
inner:
  cmp eax, 1
  je done
  inc ecx
  test al, 1
  jz even
  lea eax, [eax+eax*2+1]
  jmp inner
even:
  shr eax, 1
  jmp inner
done:
  cmp ecx, edi
  jbe next
  mov edi, ecx
  mov ebp, esi
next:
  inc esi
  cmp esi, 300000
  jb outer
  mov ebx, edi
  mov eax, 1
  int 0x80
