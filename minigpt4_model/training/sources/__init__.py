"""Where training conversations come from: one file per kind of source, and the mixture that draws from them by number.

Nothing here knows a model, a tokenizer or a tensor. To add a kind: a `Source` in a file of its own and its line in `spec.KINDS`.
"""

from .mixture import Mixture
from .sample import BrokenSample, Sample, Source, SourceError, caption_messages
from .spec import DataSpec, build_mixture, open_source, parse_data_spec
from .tally import Tally

__all__ = [
    "BrokenSample",
    "DataSpec",
    "Mixture",
    "Sample",
    "Source",
    "SourceError",
    "Tally",
    "build_mixture",
    "caption_messages",
    "open_source",
    "parse_data_spec",
]
