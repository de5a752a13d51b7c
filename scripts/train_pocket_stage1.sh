#!/usr/bin/env bash
# Pocket model, stage 1: short captions of composed scenes and photographs, through the frozen LLM.
# Record of the shipped checkpoint: 20 steps of 12 in 2 minutes on two hyperthreads.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
environment train
cd "$root"
exec "$python" -m minigpt4_model.training.pocket.train stage1 \
  --init runs/pocket-representation/best \
  --output-dir runs/pocket-stage1 \
  --pictures 16000 \
  --pairs 4000 \
  --counts 4000 \
  --pages 8000 \
  --max-steps 20 \
  --batch-size 12 \
  --learning-rate 2e-4 \
  --min-learning-rate 1e-4 \
  --warmup-steps 10 \
  --photographs 0.25 \
  --word-weight 0.3 \
  --threads 1 \
  "$@"
