#!/usr/bin/env bash
# Pocket model, stage 2: questions and answers of one to three turns, through the frozen LLM.
# Record of the shipped checkpoint: 600 steps of 12 in 62 minutes on one shared core (6 s a step).
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
environment train
cd "$root"
exec "$python" -m minigpt4_model.training.pocket.train stage2 \
  --init runs/pocket-stage1 \
  --output-dir runs/pocket-stage2 \
  --pictures 16000 \
  --pairs 4000 \
  --counts 4000 \
  --pages 8000 \
  --max-steps 600 \
  --batch-size 12 \
  --learning-rate 2.5e-4 \
  --min-learning-rate 1e-5 \
  --warmup-steps 10 \
  --photographs 0.15 \
  --sketches 0.25 \
  --word-weight 0.3 \
  --threads 1 \
  "$@"
