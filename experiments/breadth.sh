#!/usr/bin/env bash
# Does what was found on one small network hold elsewhere? A vision transformer with AdamW on CIFAR-10, a small GPT on
# tiny-shakespeare (80 and 90 %, unstructured), and a ResNet-8 to half of its filters: annealing against one-shot and
# gradual at equal budget, three seeds. Two hours on two busy cores. Started again it goes on.
# Usage: LEHR_DATA=... experiments/breadth.sh [folder for the runs] [jobs]
set -euo pipefail
out=${1:-runs/breadth}
cd "$(dirname "$0")/.."  # the path of the network is a part of each run's settings
here=experiments
methods=one-shot,gradual,temperature-annealing,temperature-annealing:target=moving
common="--seeds 3 --lr-seeds 1 --threads 1 --jobs ${2:-2}"
lehr=${LEHR:-lehr}
$lehr compare --data tiny_shakespeare --model gpt_mini --limit 12000 --sparsity 0.8,0.9 --methods $methods \
  --optimizer adamw --weight-decay 0.1 --batch-size 32 --epochs 3 --lr 0.002 --tune-epochs 1 --tune-lrs 0.001,0.003 \
  $common --out "$out/gpt"
$lehr compare --data cifar10 --model "$here/vit/small.py:vit" --limit 10000 --sparsity 0.8,0.9 --methods $methods \
  --optimizer adamw --weight-decay 0.05 --epochs 16 --lr 0.001 --tune-epochs 4 --tune-lrs 0.0005,0.001 \
  $common --out "$out/vit"
$lehr compare --data cifar10 --model "$here/filters/small.py:resnet8" --limit 10000 --granularity filter --scope layer --sparsity 0.5 \
  --methods $methods --epochs 8 --tune-epochs 2 --tune-lrs 0.05,0.1 $common --out "$out/filters"
