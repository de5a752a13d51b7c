"""What vLLM calls in each of its processes, by the entry point in `vllm.general_plugins`."""

ARCHITECTURE = "MiniGPT4ForConditionalGeneration"


def register() -> None:
    """Makes the model known to transformers' Auto classes and to vLLM."""
    import torch
    from vllm import ModelRegistry

    from ... import model  # noqa: F401  registers the Auto classes

    if ARCHITECTURE in ModelRegistry.get_supported_archs():
        return
    if torch.version.cuda is None:
        # Known by its name only, vLLM looks at the class in a process that runs no plugin before it imports torchvision (`server`).
        from .model import MiniGPT4ForVLLM

        ModelRegistry.register_model(ARCHITECTURE, MiniGPT4ForVLLM)
    else:
        ModelRegistry.register_model(ARCHITECTURE, f"{__package__}.model:MiniGPT4ForVLLM")
