bits 32
; fib(30) as a compiler writes it: calls, returns, stack frames
start:
  push 30
  call fib
  add esp, 4
  mov ebx, eax
  mov eax, 1
  int 0x80
fib:
  push ebp
  mov ebp, esp
  push ebx
  sub esp, 4
  mov ebx, [ebp+8]
  cmp ebx, 1
  jg more
  mov eax, ebx
  jmp out
more:
  lea eax, [ebx-1]
  mov [esp], eax
  call fib
  mov [ebp-8], eax
  lea ecx, [ebx-2]
  push ecx
  call fib
  add esp, 4
  add eax, [ebp-8]
out:
  add esp, 4
  pop ebx
  pop ebp
  ret
