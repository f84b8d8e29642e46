bits 32
; the harmonic sum with SSE2 doubles, times a million
start:
  mov ecx, 1
  mov eax, 1
  cvtsi2sd xmm1, eax
  xorpd xmm2, xmm2
again:
  cvtsi2sd xmm0, ecx
  movapd xmm3, xmm1
  divsd xmm3, xmm0
  addsd xmm2, xmm3
  inc ecx
  cmp ecx, 500000
  jbe again
  mov eax, 1000000
  cvtsi2sd xmm0, eax
  mulsd xmm2, xmm0
  cvttsd2si ebx, xmm2
  mov eax, 1
  int 0x80
