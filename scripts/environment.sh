# Sourced by start.sh and test.sh: makes .venv in the repository and installs into it what a list of requirements names.
# Offers  environment [extra]  which leaves $python pointing at the environment's interpreter. Touches no other environment.

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

# Where an environment has its interpreter: Windows puts it elsewhere than everybody else.
interpreter() {
  python="$root/.venv/bin/python"
  if [ ! -e "$python" ] && [ -e "$root/.venv/Scripts/python.exe" ]; then
    python="$root/.venv/Scripts/python.exe"
  fi
}
interpreter

say() { printf '%s\n' "$*" >&2; }

# The first interpreter that the pinned packages support.
find_python() {
  local candidate
  for candidate in "${PYTHON:-}" python3.12 python3.11 python3.13 python3.14 python3 python; do
    if [ -n "$candidate" ] && "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null; then
      printf '%s\n' "$candidate"
      return
    fi
  done
  say "Python 3.11, 3.12, 3.13 or 3.14 is needed, and none was found."
  say "Install one (Debian, Ubuntu: apt-get install python3 python3-venv; macOS: brew install python@3.12)"
  say "or name it: PYTHON=/path/to/python3.12 bash $0"
  return 1
}

# A number that changes when what should be installed changes.
wanted() {
  "$python" - "$root/requirements.txt" "$root/pyproject.toml" "${1:-}" <<'PY'
import hashlib, sys, tomllib
requirements, project, extra = sys.argv[1:]
wanted = [sys.version, open(requirements).read()]
if extra:
    with open(project, "rb") as file:
        wanted.append(str(tomllib.load(file)["project"]["optional-dependencies"][extra]))
print(hashlib.sha256("\n".join(wanted).encode()).hexdigest())
PY
}

install() {
  "$python" -m pip install -qq --disable-pip-version-check --no-input "$@"
}

# environment [extra]: .venv with requirements.txt and, if named, an extra of pyproject.toml. Quick when nothing changed.
environment() {
  local extra="${1:-}" stamp hash found
  stamp="$root/.venv/installed${extra:+-$extra}"
  # An environment that was moved or whose Python went away does not start: it is made anew.
  if ! "$python" -c 'import pip' 2>/dev/null; then
    found="$(find_python)"
    say "Making $root/.venv with $("$found" --version) …"
    rm -rf "$root/.venv"
    if ! "$found" -m venv "$root/.venv"; then
      rm -rf "$root/.venv"
      say "$found cannot make environments. On Debian and Ubuntu: apt-get install python3-venv"
      return 1
    fi
    interpreter
  fi
  hash="$(wanted "$extra")"
  if [ "$(cat "$stamp" 2>/dev/null)" = "$hash" ]; then
    return
  fi
  # torch first and alone, in exactly the version that is pinned: nothing that follows may pull in another.
  say "Installing PyTorch (the largest part; a few minutes on a slow line) …"
  install "$(grep -oE '^torch==[^ ]+' "$root/requirements.txt")"
  say "Installing the other packages …"
  if [ -n "$extra" ]; then
    # The extra's names come from pyproject.toml; the project itself runs from its folder and is not installed.
    install -r "$root/requirements.txt" $("$python" -c '
import sys, tomllib
print(*tomllib.load(open(sys.argv[1], "rb"))["project"]["optional-dependencies"][sys.argv[2]])' "$root/pyproject.toml" "$extra")
  else
    install -r "$root/requirements.txt"
  fi
  # Written last: an interrupted installation is taken up again.
  printf '%s\n' "$hash" >"$stamp"
}
