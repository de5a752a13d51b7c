#!/usr/bin/env bash
# Makes the environment with the test tools and runs everything, browser tests included: bash scripts/test.sh [pytest's arguments]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

# The browser tests drive an installed Chromium or Chrome. Where there is none and it cannot be installed they are skipped,
# except under CI, where they must run.
browser() {
  local name
  for name in chromium chromium-browser google-chrome google-chrome-stable; do
    if command -v "$name" >/dev/null; then return; fi
  done
  if [ -x "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome" ]; then return; fi
  if ! command -v apt-get >/dev/null; then
    say "No Chromium or Chrome here: the browser tests are skipped."
    return
  fi
  local as_root=()
  if [ "$(id -u)" != 0 ]; then
    if ! sudo -n true 2>/dev/null; then
      say "No Chromium here and no right to install it (apt-get install chromium): the browser tests are skipped."
      return
    fi
    as_root=(sudo -n)
  fi
  say "Installing Chromium for the browser tests …"
  ${as_root[@]+"${as_root[@]}"} apt-get update -qq
  ${as_root[@]+"${as_root[@]}"} env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    chromium fonts-liberation fonts-noto-color-emoji >/dev/null
}

environment dev
browser
cd "$root"
"$python" -m ruff check .
exec "$python" -m pytest "$@"
