#define LEHR_ISA portable
#define LEHR_MOST 4
#include "kernels.inc"
