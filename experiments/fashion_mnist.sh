#!/usr/bin/env bash
# Fashion-MNIST, LeNet-300-100: which method, at which sparsity, under which learning rate, for which mask?
# 4 comparisons of about 100 runs, 16 s each on one core: about an hour on two cores. Started again it goes on
# where it stopped.
# Usage: LEHR_DATA=... experiments/fashion_mnist.sh [folder for the runs] [jobs]
set -euo pipefail
out=${1:-runs/fashion_mnist}
jobs=${2:-2}
lehr=${LEHR:-lehr}
for score in magnitude random; do
  for schedule in one-cycle constant; do
    if [ "$schedule" = one-cycle ]; then rates=0.03,0.1; else rates=0.01,0.03; fi
    # 0.1 won almost everywhere under one-cycle with magnitude masks: a third rate, so that it is not the edge.
    if [ "$score-$schedule" = magnitude-one-cycle ]; then rates=$rates,0.2; fi
    # A random mask moved by magnitude is no longer random: iterative and gradual keep theirs fixed.
    if [ "$score" = magnitude ]; then fix=""; else fix=":target=fixed"; fi
    $lehr compare --data fashion_mnist --model lenet_300_100 --sparsity 0.9,0.95,0.98,0.995 \
      --methods "one-shot,iterative$fix,gradual$fix,random-annealing,temperature-annealing,temperature-annealing:target=moving" \
      --score "$score" --seeds 3 --epochs 20 --tune-epochs 8 --tune-schedule "$schedule" \
      --tune-lrs "$rates" --lr-seeds 1 --threads 1 --jobs "$jobs" --out "$out/$score-$schedule"
  done
done
