"""Where the parts of the full-size presets come from: one table of files, with sizes, licences and what each is checked against.

`sha256` is given where it is publicly known, from more than one place; `None` where it isn't. Then a file is checked against what its
server says of it (the Hub: sha256 or Git's hash of each file at the pinned revision; Google's storage: length and MD5), and by
importing, which needs every tensor to be there under its name, in its shape. Imports nothing heavy.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class RemoteFile:
    """A file at an address of its own. `names` are those under which people have it, the original's own first."""

    title: str
    url: str
    names: tuple[str, ...]
    size_bytes: int
    sha256: str | None
    licence: str
    page: str  # for people, when the address fails

    @property
    def name(self) -> str:
        return self.names[0]


@dataclass(frozen=True)
class HubRepository:
    """A repository of the Hugging Face Hub at a pinned revision. `size_bytes` is that of its weights."""

    title: str
    name: str
    revision: str
    size_bytes: int
    licence: str
    gated: bool = False

    @property
    def page(self) -> str:
        return f"https://huggingface.co/{self.name}"


@dataclass(frozen=True)
class OfficialPreset:
    """The parts of a preset in the original's layouts. Without a Q-Former patches are joined (`variant` "llama2")."""

    name: str
    variant: str
    hidden_size: int
    vision: RemoteFile
    qformer: RemoteFile | None
    projection: RemoteFile
    language_model: HubRepository

    @property
    def files(self) -> tuple[RemoteFile, ...]:
        return tuple(file for file in (self.vision, self.qformer, self.projection) if file is not None)

    @property
    def size_bytes(self) -> int:
        """All that is downloaded, roughly."""
        return sum(file.size_bytes for file in self.files) + self.language_model.size_bytes


_LAVIS = "https://storage.googleapis.com/sfr-vision-language-research/LAVIS/models/BLIP2/"
_UPSTREAM = "https://github.com/Vision-CAIR/MiniGPT-4"


def _on_drive(identifier: str) -> str:
    # The address that Google Drive's own page leads to; it takes files of any size and ranges.
    return f"https://drive.usercontent.google.com/download?id={identifier}&export=download&confirm=t"


EVA_VIT_G = RemoteFile(
    title="EVA-CLIP ViT-g/14",
    url=_LAVIS + "eva_vit_g.pth",
    names=("eva_vit_g.pth",),
    size_bytes=2_030_000_000,
    sha256="99d2bb36c6b52c94fe6e2e12373afb27de57ae81378c3d8c53bf0e83b0f4275f",
    licence="BSD-3-Clause (LAVIS), of EVA's weights, MIT",
    page="https://github.com/salesforce/LAVIS",
)
BLIP2_QFORMER = RemoteFile(
    title="BLIP-2's Q-Former (FlanT5-XXL pretraining)",
    url=_LAVIS + "blip2_pretrained_flant5xxl.pth",
    names=("blip2_pretrained_flant5xxl.pth",),
    size_bytes=433_481_467,
    sha256="4b3839ea6c617f315ead9bf4036bbb0f0cf6bf62695ecfc14968ea626af03a29",
    licence="BSD-3-Clause (LAVIS)",
    page="https://github.com/salesforce/LAVIS",
)
_PROJECTION_7B = RemoteFile(
    title="MiniGPT-4's projection for Vicuna v0 7B",
    url=_on_drive("1RY9jV0dyqLX-o38LrumkKRh6Jtaop58R"),
    names=("prerained_minigpt4_7b.pth", "pretrained_minigpt4_7b.pth"),  # the first is how the original spells it
    size_bytes=38_000_000,
    sha256=None,
    licence="BSD-3-Clause",
    page=_UPSTREAM,
)
_PROJECTION_13B = RemoteFile(
    title="MiniGPT-4's projection for Vicuna v0 13B",
    url=_on_drive("1a4zLvaiDBr-36pasffmgpvH5P7CKmpze"),
    names=("pretrained_minigpt4.pth", "pretrained_minigpt4_13b.pth"),
    size_bytes=47_400_000,
    sha256=None,
    licence="BSD-3-Clause",
    page=_UPSTREAM,
)
_PROJECTION_LLAMA2 = RemoteFile(
    title="MiniGPT-4's projection for Llama-2-chat 7B",
    url=_on_drive("11nAPjEok8eAGGEG1N2vXo3kBLCg0WgUk"),
    names=("pretrained_minigpt4_llama2_7b.pth",),
    size_bytes=277_000_000,
    sha256=None,
    licence="BSD-3-Clause",
    page=_UPSTREAM,
)
_VICUNA_7B = HubRepository(
    title="Vicuna v0 7B",
    name="Vision-CAIR/vicuna-7b",
    revision="0abeb8872d75421e58ec146c39b31f5dc78c7613",
    size_bytes=13_480_000_000,
    licence="LLaMA's licence: research only, not commercial",
)
_VICUNA_13B = HubRepository(
    title="Vicuna v0 13B",
    name="Vision-CAIR/vicuna",
    revision="c80b8c2ca66c2efc88915f45a7d13f151fdace45",
    size_bytes=26_040_000_000,
    licence="LLaMA's licence: research only, not commercial",
)
_LLAMA_2_CHAT_7B = HubRepository(
    title="Llama-2-chat 7B",
    name="meta-llama/Llama-2-7b-chat-hf",
    revision="f5db02db724555f92da89c216ac04704f23d4590",
    size_bytes=13_480_000_000,
    licence="Llama 2 Community License",
    gated=True,
)

OFFICIAL_PRESETS: Mapping[str, OfficialPreset] = MappingProxyType(
    {
        preset.name: preset
        for preset in (
            OfficialPreset("vicuna-7b", "vicuna", 4096, EVA_VIT_G, BLIP2_QFORMER, _PROJECTION_7B, _VICUNA_7B),
            OfficialPreset("vicuna-13b", "vicuna", 5120, EVA_VIT_G, BLIP2_QFORMER, _PROJECTION_13B, _VICUNA_13B),
            OfficialPreset("llama2-7b", "llama2", 4096, EVA_VIT_G, None, _PROJECTION_LLAMA2, _LLAMA_2_CHAT_7B),
        )
    }
)
