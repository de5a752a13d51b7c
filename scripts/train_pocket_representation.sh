#!/usr/bin/env bash
# Pocket model, before stage 1: the image tokens learn to lie on the LLM's own words, without running the LLM. It stands in for
# the Q-Former that the paper takes ready-made from BLIP-2. First, prompt tuning finds what the tokens without a word should be.
#
# Record of the shipped checkpoint, on two shared cores of an AVX-512 server, one thread each:
#   steering        360 steps, 21 min, loss 2.1 -> 1.1
#   representation  in three runs, 38 min in all, because the variation of features was mended in between: 1,200 steps on
#                   10,000 pictures (of a schedule of 2,400), 700 on 16,000 towards the steering tokens (5e-4), 350 on 10,000 (5e-4).
#                   This script makes one run of it.
# Rendering the corpus takes about 3 minutes, encoding 16,000 pictures about 20, once.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
environment train
cd "$root"
"$python" -m minigpt4_model.training.pocket.build
"$python" -m minigpt4_model.training.pocket.steering \
  --output runs/pocket-steering.safetensors \
  --max-steps 360 \
  --batch-size 8 \
  --learning-rate 8e-3 \
  --threads 1
exec "$python" -m minigpt4_model.training.pocket.train representation \
  --output-dir runs/pocket-representation \
  --free-tokens runs/pocket-steering.safetensors \
  --pictures 16000 \
  --max-steps 2250 \
  --batch-size 64 \
  --learning-rate 1e-3 \
  --min-learning-rate 1e-5 \
  --warmup-steps 100 \
  --photographs 0.25 \
  --threads 1 \
  "$@"
