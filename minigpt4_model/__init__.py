"""MiniGPT-4: chat about pictures with a frozen vision encoder, a Q-Former, one projection and a frozen LLM.

Importing this package is cheap: torch and transformers are imported by the names below when they are first used.
"""

import importlib
import os
import sys

__version__ = "0.1.0"

_LAZY = {
    "load_engine": "minigpt4_model.chat.load",
    "GenerationSettings": "minigpt4_model.chat.settings",
    "MiniGPT4Config": "minigpt4_model.model.configuration",
    "MiniGPT4Processor": "minigpt4_model.model.processing",
    "MiniGPT4ForConditionalGeneration": "minigpt4_model.model.modeling",
}

__all__ = ["__version__", *_LAZY]

# torch and llama.cpp compute on several threads that wait for each other hundreds of times a token. libgomp lets them wait awake only
# for a microsecond or two once there are more threads than processors, which torch's and llama.cpp's together are; then nearly each wait
# is a sleep (docs/benchmarks.md). "Active" makes that ten times as long; the two counts are what is the default without it. They are read
# when torch is loaded, so it is too late where the caller has done that. What the environment says wins.
if sys.platform == "linux" and "torch" not in sys.modules and not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
    os.environ.update(OMP_WAIT_POLICY="active", GOMP_SPINCOUNT="300000")
    os.environ.setdefault("KMP_BLOCKTIME", "200")  # ms; for a torch that was built with Intel's OpenMP


def __getattr__(name: str):
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted(__all__)
