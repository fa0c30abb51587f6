#define LEHR_ISA avx2
#define LEHR_MOST 6
#include "kernels.inc"
