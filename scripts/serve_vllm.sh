#!/usr/bin/env bash
# Serves a preset with vLLM on 127.0.0.1:8000: bash scripts/serve_vllm.sh --preset P [--host H] [--port N] [vLLM's flags]
#
# VLLM_PYTHON names the interpreter; else it is VLLM_VENV's or .venv-vllm's (scripts/install_vllm_cpu.sh), else .venv's, where
# pip install -e '.[vllm]' puts vLLM for GPUs. In front of it: .venv/bin/python app.py --backend openai --base-url http://127.0.0.1:8000/v1
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$root"

if [ -z "${VLLM_PYTHON:-}" ]; then
  for directory in "${VLLM_VENV:-.venv-vllm}" .venv; do
    if [ -x "$directory/bin/python" ]; then
      VLLM_PYTHON="$directory/bin/python"
      break
    fi
  done
fi
if [ -n "${VLLM_PYTHON:-}" ] && ! command -v "$VLLM_PYTHON" >/dev/null; then
  echo "VLLM_PYTHON=$VLLM_PYTHON is no interpreter. Name vLLM's, or make one: bash scripts/install_vllm_cpu.sh" >&2
  exit 1
fi
if [ -z "${VLLM_PYTHON:-}" ]; then
  echo "There is no environment with vLLM. On a CPU: bash scripts/install_vllm_cpu.sh; for GPUs: pip install -e '.[vllm]'" >&2
  exit 1
fi
exec "$VLLM_PYTHON" -m minigpt4_model.serving.vllm.server "$@"
