#!/usr/bin/env bash
# Makes the environment if need be and opens the page: bash scripts/start.sh [flags of app.py, see --help]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
environment
cd "$root"
exec "$python" app.py "$@"
