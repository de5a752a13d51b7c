#!/usr/bin/env bash
# Pocket model, before stage 1: the image tokens learn to lie on the LLM's own words, without running the LLM. It stands in for
# the Q-Former that the paper takes ready-made from BLIP-2. First, prompt tuning finds what the tokens without a word should be.
#
# Record of the shipped checkpoint, on two shared cores of an AVX-512 server:
#   steering        320 steps, 24 min, one thread: loss 1.9 -> 0.85. The free tokens began as the words of a sentence around the others;
#                   begun as a request behind them they had needed 740 steps to reach 0.97.
#   representation  2,600 steps on 8,000 pictures, 38 min, one thread; there the words of trained pictures were 95 % right and those of
#                   new ones 60 %. Then 1,000 steps (6e-4) and 1,400 (8e-4) on three times as many, 12 min on one thread and 15 on two.
#                   Read off the image tokens: openmoji 61 %, emojione 73 %, held-out files 79 %, whole pages right 23 %, the number
#                   of one to four things (new files) 82 %. This script makes one run of it.
# Since then steering asks other questions, and the words that only the picture tells weigh more, in stages 1 and 2 too
# (minigpt4_model/training/pocket/decisive.py): a run today gives another checkpoint than the shipped one.
# Encoding 24,000 pictures, 8,000 sketches and the photographs takes about 35 minutes of two cores, once, and 9 GB of disk.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
environment train
cd "$root"
"$python" -m minigpt4_model.training.pocket.build
"$python" -m minigpt4_model.training.pocket.steering \
  --output runs/pocket-steering.safetensors \
  --max-steps 320 \
  --batch-size 8 \
  --learning-rate 8e-3 \
  --threads 1
exec "$python" -m minigpt4_model.training.pocket.train representation \
  --output-dir runs/pocket-representation \
  --free-tokens runs/pocket-steering.safetensors \
  --pictures 16000 \
  --pairs 4000 \
  --counts 4000 \
  --pages 8000 \
  --max-steps 4000 \
  --batch-size 64 \
  --learning-rate 1e-3 \
  --min-learning-rate 1e-5 \
  --warmup-steps 100 \
  --photographs 0.15 \
  --sketches 0.25 \
  --threads 1 \
  "$@"
