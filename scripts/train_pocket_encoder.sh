#!/usr/bin/env bash
# Pocket model, before everything else: a copy of the vision encoder learns to name drawings; frozen from then on, it is the
# encoder's drawing branch. The second command writes what the checkpoint ships of the encoder, and what training starts from.
#
# Record of the shipped checkpoint: 1,600 steps in 90 minutes on two shared cores; named by this branch alone: openmoji 62 %, emojione 73 %,
# held-out files of trained styles 81 %. This script makes more steps, for a machine that has the time.
# Building the corpus takes about 5 minutes, once. On two idle cores of an AVX-512 server a step of 32 pictures takes about a second
# at 160 pixels and two at 224.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
environment train
cd "$root"
"$python" -m minigpt4_model.training.pocket.build
"$python" -m minigpt4_model.training.pocket.encoder \
  --output-dir runs/pocket-encoder \
  --max-steps 3000 \
  --batch-size 32 \
  --learning-rate 4e-4 \
  --classifier-rate 3e-3 \
  --side 160 \
  --last-side 224 \
  "$@"
exec "$python" -m minigpt4_model.training.pocket.tags \
  --encoder runs/pocket-encoder \
  --output checkpoints/pocket/encoder.safetensors
