"""MiniGPT-4: chat about pictures with a frozen vision encoder, a Q-Former, one projection and a frozen LLM.

Importing this package is cheap: torch and transformers are imported by the names below when they are first used.
"""

import importlib

__version__ = "0.1.0"

_LAZY = {
    "load_engine": "minigpt4_model.chat.load",
    "GenerationSettings": "minigpt4_model.chat.settings",
    "MiniGPT4Config": "minigpt4_model.model.configuration",
    "MiniGPT4Processor": "minigpt4_model.model.processing",
    "MiniGPT4ForConditionalGeneration": "minigpt4_model.model.modeling",
}

__all__ = ["__version__", *_LAZY]


def __getattr__(name: str):
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted(__all__)
