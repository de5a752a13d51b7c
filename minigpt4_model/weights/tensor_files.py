"""Tensors in files, read one after another: `.pth` and `.bin` as torch writes them, and `.safetensors`.

    file = TensorFile("eva_vit_g.pth")
    file.infos["pos_embed"].shape      # known from opening, nothing is read
    file.read("pos_embed")             # from a memory map, which is given back now and then

However large a file is, reading all of it takes the memory of its largest tensor and `_WINDOW` bytes of mapped pages (files written
by torch before 1.6 have no map and are read whole). Opening a file never runs code that is in it. Knows nothing of models.
"""

import json
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import WeightsError

if TYPE_CHECKING:
    import torch

_WINDOW = 256 << 20
_WRAPPERS = ("model", "state_dict")  # what training programs put a model's tensors under
_DOWNLOAD_AGAIN = "Download it again, or restore it from where it came from."


@dataclass(frozen=True)
class TensorInfo:
    """What is known of a tensor without reading it."""

    shape: tuple[int, ...]
    dtype: "torch.dtype"

    @property
    def elements(self) -> int:
        count = 1
        for side in self.shape:
            count *= side
        return count

    @property
    def size_bytes(self) -> int:
        return self.elements * self.dtype.itemsize


class TensorFile:
    """One file. `infos` tells name, shape and type of its tensors; `beside` holds what a `.pth` file keeps next to its model.

    Raises `WeightsError` that names the file for one that is missing, damaged, no tensor file, or would run code.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.beside: dict[str, Any] = {}
        self._opened: Any = None
        self._taken = 0
        _refuse_impostors(self.path)
        self._is_safetensors = self.path.suffix == ".safetensors"
        self.infos: dict[str, TensorInfo] = self._safetensors_infos() if self._is_safetensors else self._torch_infos()

    def read(self, key: str) -> "torch.Tensor":
        """The tensor called `key`, valid until the next call: copy what is to be kept."""
        size = self.infos[key].size_bytes
        if self._opened is None or self._taken + size > _WINDOW:
            self.close()
            self._opened = self._open()
        self._taken += size
        return self._opened.get_tensor(key) if self._is_safetensors else self._opened[key].detach()

    def close(self) -> None:
        """Gives the memory map back. The next `read` makes a new one."""
        self._opened, self._taken = None, 0

    def _open(self) -> Any:
        if not self._is_safetensors:
            return _load_torch(self.path)[0]
        from safetensors import SafetensorError, safe_open

        try:
            return safe_open(self.path, framework="pt")
        except (SafetensorError, OSError, RuntimeError) as error:
            _refuse_too_large_a_map(self.path, error)
            raise WeightsError(f"{self.path} is damaged ({error}). {_DOWNLOAD_AGAIN}") from error

    def _torch_infos(self) -> dict[str, TensorInfo]:
        tensors, self.beside = _load_torch(self.path)
        return {key: TensorInfo(tuple(tensor.shape), tensor.dtype) for key, tensor in tensors.items()}

    def _safetensors_infos(self) -> dict[str, TensorInfo]:
        opened = self._open()
        infos = {}
        for key in opened.keys():  # noqa: SIM118  not a dictionary
            part = opened.get_slice(key)
            infos[key] = TensorInfo(tuple(part.get_shape()), _safetensors_dtype(part.get_dtype(), self.path))
        return infos


def _safetensors_dtype(name: str, path: Path) -> "torch.dtype":
    import torch

    known = {
        "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
        "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
    }  # fmt: skip
    if name not in known:
        raise WeightsError(f"{path} holds tensors of type {name}, which this program does not read. Give the weights in 16 or 32 bits.")
    return known[name]


def _refuse_impostors(path: Path) -> None:
    """Files that have the name of weights and are something else: the most common ends of a download by hand."""
    try:
        with path.open("rb") as file:
            start = file.read(200).lstrip().lower()
    except FileNotFoundError:
        raise WeightsError(f"{path} is not there. Give the file's path, or a preset that downloads it.") from None
    except OSError as error:
        raise WeightsError(f"{path} cannot be read ({error.strerror}). Give a file that can be.") from error
    if start.startswith(b"version https://git-lfs"):
        raise WeightsError(f"{path} is a pointer of Git LFS, not the weights. Fetch them: git lfs pull, in the folder it was cloned to.")
    if start.startswith((b"<!doctype html", b"<html", b"<!--")):
        raise WeightsError(f"{path} is a web page saved under the name of a file (a download page, or a refusal). {_DOWNLOAD_AGAIN}")


def _refuse_too_large_a_map(path: Path, error: Exception) -> None:
    """Linux maps no file that is larger than memory and swap together, however little of it is ever read at a time."""
    if "unable to mmap" in str(error) and "Cannot allocate memory" in str(error):
        raise WeightsError(
            f"{path} ({path.stat().st_size / 1e9:.1f} GB) is larger than this machine's memory, and the system maps no such file. "
            "Allow it (sudo sysctl vm.overcommit_memory=1), add swap, or give the model in smaller files."
        ) from error


def _load_torch(path: Path) -> tuple[dict[str, "torch.Tensor"], dict[str, Any]]:
    """The tensors of a file of torch's, mapped where its format allows, and what else lies beside them under the wrapper's level."""
    import torch

    try:
        try:
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError as error:
            if "mmap can only be used" not in str(error):
                raise
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        told = str(error)
        if "Unsupported" in told or "WeightsUnpickler" in told or "weights_only" in told.lower():
            reason = next((line.strip() for line in told.splitlines() if "GLOBAL" in line or "Unsupported" in line), "")
            raise WeightsError(
                f"{path} holds more than tensors, and opening it could run code, so it is not opened. {reason[:200]} "
                "Official files hold tensors only: download it again from its original address."
            ) from error
        raise WeightsError(f"{path} is not a whole file of torch's ({told.splitlines()[0][:200]}). {_DOWNLOAD_AGAIN}") from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, IndexError) as error:
        _refuse_too_large_a_map(path, error)
        told = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise WeightsError(f"{path} is damaged or not a file of torch's ({told}). {_DOWNLOAD_AGAIN}") from error
    beside: dict[str, Any] = {}
    for wrapper in _WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            beside = {key: value for key, value in content.items() if key != wrapper}
            content = content[wrapper]
            break
    if not isinstance(content, dict) or not content or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise WeightsError(f"{path}: expected a dictionary of tensors, or one under the key 'model'. Give an official checkpoint file.")
    return dict(content), beside


_INDEXED = (
    ("model.safetensors.index.json", "model.safetensors"),
    ("pytorch_model.bin.index.json", "pytorch_model.bin"),
)


def weight_files(directory: Path) -> list[Path]:
    """The files that hold the weights of a Hugging Face directory, safetensors before `.bin` where both are there.

    Raises `WeightsError` when there are none, or when the directory's index names some that are missing.
    """
    for index_name, single in _INDEXED:
        index = directory / index_name
        if index.is_file():
            try:
                names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise WeightsError(f"{index} is damaged ({error}). {_DOWNLOAD_AGAIN}") from error
            missing = [name for name in names if not (directory / name).is_file()]
            if missing:
                raise WeightsError(
                    f"{directory} is not whole: {index_name} names {len(names)} files, and {', '.join(missing)} "
                    f"{'is' if len(missing) == 1 else 'are'} missing. Download the rest."
                )
            return [directory / name for name in names]
        if (directory / single).is_file():
            return [directory / single]
    raise WeightsError(
        f"{directory} holds no weights in Hugging Face's layout (model.safetensors or pytorch_model.bin, or several with an index). "
        "Give the folder that has config.json, the tokenizer and these."
    )
