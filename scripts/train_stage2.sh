#!/usr/bin/env bash
# Stage 2 of the paper (3.2, 3.3): the projection learns to describe in detail, from 3,439 curated pictures.
#
# Hardware   the paper: one A100, about 7 minutes.
# Loss       users of the original report 1.4 from its stage 1, and 3.8 to 1.9 from their own (Vision-CAIR/MiniGPT-4, issue 167). The
#            paper gives none, and our own curve at this size does not exist yet.
# Needs      runs/stage1, or another checkpoint with --init DIR, and data/cc_sbu_align (docs/datasets.md; --data takes others).
#            Interrupt and run again: it goes on.
# One GPU is enough; any number that divides 12 does the same: LAUNCH="--num_processes 4" (docs/training.md).
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
environment train
cd "$root"
launcher=""
if [ -n "${LAUNCH:-}" ]; then
  launcher="-m accelerate.commands.launch $LAUNCH"
fi
# shellcheck disable=SC2086
exec "$python" $launcher -m minigpt4_model.training.train stage2 \
  --init runs/stage1 \
  --output-dir runs/stage2 \
  --max-steps 1000 \
  --batch-size 12 \
  --per-device-batch-size 12 \
  --learning-rate 3e-5 \
  --min-learning-rate 1e-5 \
  --warmup-learning-rate 1e-6 \
  --warmup-steps 200 \
  --weight-decay 0.05 \
  --max-text-tokens 160 \
  --prompts prompts/alignment.txt \
  --num-workers 4 \
  --seed 42 \
  "$@"
