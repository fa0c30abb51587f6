#!/usr/bin/env bash
# What should the optimizer do with a weight that took no part since its last step: hold it, or move it by momentum
# and weight decay? Fashion-MNIST, LeNet-300-100, three seeds, 36 runs and their parents: about 7 minutes on two cores.
# Usage: LEHR_DATA=... experiments/inactive.sh [folder for the runs] [jobs]
set -euo pipefail
methods=""
for method in temperature-annealing temperature-annealing:target=moving random-annealing; do
  methods="$methods,$method,$method:inactive=move"
done
${LEHR:-lehr} compare --data fashion_mnist --model lenet_300_100 --sparsity 0.98,0.995 --methods "${methods#,}" \
  --seeds 3 --epochs 20 --tune-epochs 8 --threads 1 --jobs "${2:-2}" --out "${1:-runs/inactive}"
