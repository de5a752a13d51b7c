#!/usr/bin/env bash
# Pocket model, stage 0 of 2: the image tokens learn to lie on the LLM's own words, without running the LLM. It stands in for
# the Q-Former that the paper takes ready-made from BLIP-2.
# FIGURES
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
environment
cd "$root"
exec "$python" -m minigpt4_model.training.pocket.train representation \
  --output-dir runs/pocket-representation \
  --pictures 10000 \
  --max-steps 2400 \
  --batch-size 64 \
  --learning-rate 1e-3 \
  --min-learning-rate 2e-5 \
  --warmup-steps 100 \
  --photographs 0.25 \
  --threads 1 \
  "$@"
