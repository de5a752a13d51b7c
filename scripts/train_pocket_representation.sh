#!/usr/bin/env bash
# Pocket model, before stage 1: the image tokens learn to lie on the LLM's own words, without running the LLM. It stands in for
# the Q-Former that the paper takes ready-made from BLIP-2. First, prompt tuning finds what the tokens without a word should be.
#
# Record of the shipped checkpoint, on two shared cores of an AVX-512 server, one thread each:
#   steering        480 steps, 24 min, loss 2.0 -> 1.0; then 260 more with the wordings of today, 16 min
#   representation  2,000 steps, 28 min; 450 with more sketches (4e-4), 7 min; 160 towards the last steering tokens (3e-4), 4 min.
#                   Read off the image tokens: openmoji 59 %, emojione 73 %, held-out files 75 %, whole pages right 17 %.
#                   This script makes one run of each.
# Encoding 8,000 pictures, 4,000 sketches and the photographs takes about 25 minutes of one core, once.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
environment train
cd "$root"
"$python" -m minigpt4_model.training.pocket.build
"$python" -m minigpt4_model.training.pocket.steering \
  --output runs/pocket-steering.safetensors \
  --max-steps 740 \
  --batch-size 8 \
  --learning-rate 8e-3 \
  --threads 1
exec "$python" -m minigpt4_model.training.pocket.train representation \
  --output-dir runs/pocket-representation \
  --free-tokens runs/pocket-steering.safetensors \
  --pictures 8000 \
  --max-steps 2600 \
  --batch-size 64 \
  --learning-rate 1e-3 \
  --min-learning-rate 1e-5 \
  --warmup-steps 100 \
  --photographs 0.2 \
  --sketches 0.25 \
  --threads 1 \
  "$@"
