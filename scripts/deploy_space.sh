#!/usr/bin/env bash
# Builds the directory of a Hugging Face Space and checks it, also by starting it: bash scripts/deploy_space.sh DIR [--preset P] [--hardware H]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
environment
cd "$root"
"$python" -m minigpt4_model.serving.space "$@"
