"""What a person can mend."""

import importlib
from types import ModuleType

from ..weights.advice import python_command

# As in the extra `curate` of pyproject.toml.
PACKAGES = {"py3langid": "py3langid==0.4.0", "rensa": "rensa==0.5.0"}


class CurationError(ValueError):
    """A project, a file or a flag that cannot be used; the text names it and the fix."""


def import_extra(module: str, instead: str) -> ModuleType:
    """A module of the extra `curate`. Raises `CurationError` with the command that installs it, and what to do `instead`."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        install = python_command("-m", "pip", "install", *PACKAGES.values())
        raise CurationError(f"The package {error.name} is missing. Install it: {install}. Or {instead}.") from error
