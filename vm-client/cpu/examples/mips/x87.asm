bits 32
; the harmonic sum with the x87, times a million
start:
  mov dword [0x20000000], 1
  mov dword [0x20000004], 1000000
  fninit
  fldz
again:
  fld1
  fidiv dword [0x20000000]
  faddp
  inc dword [0x20000000]
  cmp dword [0x20000000], 500000
  jbe again
  fimul dword [0x20000004]
  fisttp dword [0x20000008]
  mov ebx, [0x20000008]
  mov eax, 1
  int 0x80
