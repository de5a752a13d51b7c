#!/usr/bin/env bash
# Every step of curation on the pocket corpus: pictures, describe, refine, clean, export, stage 2 on the export, figures before and after.
#
# DRAWINGS=200 PHOTOGRAPHS=60 STEPS=100 LIMIT=60 INIT=pocket bash scripts/curate_pocket.sh
# BASE_URL=http://localhost:8000/v1 has a language model correct the texts; without it rules do.
# Between clean and export people judge: in another terminal, python -m minigpt4_model curate annotate --project runs/curate-pocket/project.
# Needs the pocket corpus (scripts/train_pocket_representation.sh builds it). Run it again to go on; a finished run is judged again.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
environment curate
cd "$root"
out="${OUTPUT:-runs/curate-pocket}"
init="${INIT:-pocket}"
steps="${STEPS:-100}"
curate() { "$python" -m minigpt4_model curate "$@"; }
model=(--preset pocket)
if [ "$init" != pocket ]; then
  model=(--model "$init")
fi

"$python" -m minigpt4_model.curation.pocket_pictures --output "$out/pictures" --drawings "${DRAWINGS:-200}" --photographs "${PHOTOGRAPHS:-60}"
for folder in "$out"/pictures/photographs/*/; do
  curate describe "$folder" --project "$out/project" --source-name "photographs $(basename "$folder")" --licence "$(basename "$folder")" --take-only
done
curate describe "$out/pictures/drawings" --project "$out/project" --source-name "composed drawings" \
  --licence "Apache-2.0, MIT, CC-BY-4.0, GPL-2.0-or-later: minigpt4_model/training/pocket/LICENSES.md" "${model[@]}" --batch-size 8
if [ -n "${BASE_URL:-}" ]; then
  curate refine --project "$out/project" --base-url "$BASE_URL" --yes
else
  curate refine --project "$out/project" --rules-only
fi
curate clean --project "$out/project" --min-words 5
curate status --project "$out/project"
curate export --project "$out/project" --output "$out/set" --held-out 0.2 --overwrite

stage2() {
  "$python" -m minigpt4_model.training.train stage2 --init "$init" --data "$out/set" --eval-data "$out/set/held_out" --train-qformer \
    --report-to none --num-workers 0 --per-device-batch-size 4 "$@"
}
# Before: a step too small to change anything, for the loss on the held-out part.
stage2 --output-dir "$out/before" --max-steps 1 --warmup-steps 1 --eval-steps 1 --learning-rate 1e-12 --min-learning-rate 1e-12 --warmup-learning-rate 1e-12
stage2 --output-dir "$out/stage2" --max-steps "$steps" --warmup-steps $((steps < 10 ? steps : 10)) --eval-steps "$steps" --sample-steps "$steps"
grep -h eval_loss "$out/before/log.jsonl" "$out/stage2/log.jsonl"
for run in before stage2; do
  "$python" -m minigpt4_model evaluate --model "$out/$run" --tasks description name-photographs --limit "${LIMIT:-60}" --output "$out/evaluation-$run" --resume
done
