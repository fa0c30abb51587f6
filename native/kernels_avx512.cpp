#define LEHR_ISA avx512
#define LEHR_MOST 16
#include "kernels.inc"
