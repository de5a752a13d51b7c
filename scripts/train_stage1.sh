#!/usr/bin/env bash
# Stage 1 of the paper (3.1): the projection learns from some five million pictures with short captions.
#
# Hardware   the paper: 4 A100 of 80 GB, about 10 hours with Vicuna 13B. Any number of GPUs does the same steps: a GPU computes up to
#            64 samples at once and gradients are accumulated to 256. Less memory: --per-device-batch-size 8, --load-in-8bit.
# Loss       a user of the original reports 5 at first and 2.5 after 1.5 million samples (Vision-CAIR/MiniGPT-4, issue 167). The
#            paper gives none, and our own curve at this size does not exist yet.
# Needs      models/vicuna-13b (a model's directory; --model DIR takes another) and data/laion, data/cc_sbu (docs/datasets.md;
#            --data takes others). Interrupt and run again: it goes on.
# All GPUs of the machine are used. For several nodes or FSDP put accelerate's flags into LAUNCH (docs/training.md).
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
environment train
cd "$root"
launcher=""  # one process needs none
if [ -n "${LAUNCH:-}" ] || [ "$("$python" -c 'import torch; print(torch.cuda.device_count())')" -gt 1 ]; then
  launcher="-m accelerate.commands.launch ${LAUNCH:-}"
fi
# shellcheck disable=SC2086
exec "$python" $launcher -m minigpt4_model.training.train stage1 \
  --model models/vicuna-13b \
  --output-dir runs/stage1 \
  --max-steps 20000 \
  --batch-size 256 \
  --per-device-batch-size 64 \
  --learning-rate 1e-4 \
  --min-learning-rate 8e-5 \
  --warmup-learning-rate 1e-6 \
  --warmup-steps 5000 \
  --weight-decay 0.05 \
  --max-text-tokens 32 \
  --num-workers 4 \
  --seed 42 \
  "$@"
