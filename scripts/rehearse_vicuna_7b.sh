#!/usr/bin/env bash
# Full-size rehearsal without the weights: files of Vicuna 7B's sizes in the original's layouts, with random numbers, are made, imported
# and asked one question in bf16 and in 4 bit. Seconds and peak memory of each stage are printed; docs/memory.md has a record.
# Needs 33 GB of disk for a while, and 17 GB of memory for bf16 (8 GB for 4 bit alone: add --ways 4). Tried out first with --small.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
environment
cd "$root"
exec "$python" -m minigpt4_model.evaluation.rehearsal \
  --preset vicuna-7b \
  --directory runs/rehearsal \
  --ways 16,4 \
  --max-new-tokens 8 \
  "$@"
