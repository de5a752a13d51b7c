#!/usr/bin/env bash
# Pocket model, before stage 1: the image tokens learn to lie on the LLM's own words, without running the LLM. It stands in for
# the Q-Former that the paper takes ready-made from BLIP-2. First, prompt tuning finds what the tokens without a word should be.
#
# Record of the shipped checkpoint, on two hyperthreads of an AVX-512 server:
#   steering        50 steps of 24 with yes-or-no questions only, 250 of 24 with all questions that a word decides, 23 min; in both nothing
#                   counts but the words that decide. Then 180 of 12 with all of the abilities, 14 min. Asked about true words, before
#                   and after that last part: yes or no 84 and 72 % right, left or right 84 and 69 %, counted 100 and 94 %, named 72
#                   and 75 %. Without the first parts yes and no stayed at chance however long it ran.
#   representation  2,600 steps on 8,000 pictures, 38 min, one thread; there the words of trained pictures were 95 % right and those of
#                   new ones 60 %. Then 1,000 steps (6e-4) and 1,400 (8e-4) on three times as many, 12 min on one thread and 15 on two,
#                   and 2 x 260 (8e-4, 4 min each) after each further steering. Read off the image tokens: openmoji 59 %, emojione 72 %,
#                   held-out files 77 %, both of two objects 55 %. This script makes one run of it.
# Encoding 24,000 pictures, 8,000 sketches and the photographs takes about 35 minutes of two cores, once, and 9 GB of disk.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
environment train
cd "$root"
"$python" -m minigpt4_model.training.pocket.build
"$python" -m minigpt4_model.training.pocket.steering \
  --output runs/pocket-steering.safetensors \
  --max-steps 430 \
  --deciding-steps 250 \
  --batch-size 16 \
  --learning-rate 3e-3 \
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
