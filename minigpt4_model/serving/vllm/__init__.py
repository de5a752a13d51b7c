"""Serving with vLLM: the plugin that teaches it the model, and the command that starts its server.

vLLM and this package share an environment of their own (`scripts/install_vllm_cpu.sh`, or `pip install -e '.[vllm]'` for GPUs). Only
`model` and `penalty` import vLLM, and only vLLM imports them; the page and the API speak to it over HTTP (`chat/backends/openai.py`).
"""
