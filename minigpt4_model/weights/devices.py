"""Which device and which precision to compute in: what was asked for, checked, or the best there is."""

import torch

from .errors import WeightsError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def choose_device(device: str | None = None, flag: str = "--device") -> torch.device:
    """The device that `flag` asks for, or the best there is. Raises `WeightsError` when the one asked for is missing."""
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device in (None, "auto"):
        return torch.device(next(name for name, there in available.items() if there))
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise WeightsError(f"{flag} {device}: there is no such device. Choose cpu, cuda, cuda:N or mps.") from error
    if not available.get(chosen.type, False):
        there = ", ".join(name for name, is_there in available.items() if is_there)
        raise WeightsError(f"{flag} {device}: not available on this machine. There is: {there}.")
    count = torch.cuda.device_count() if chosen.type == "cuda" else 1
    if (chosen.index or 0) >= count:
        highest = f"cuda:0 to cuda:{count - 1}" if count > 1 else f"{chosen.type}:0"
        raise WeightsError(f"{flag} {device}: not available on this machine. Of {chosen.type} there is: {highest}.")
    return chosen


def choose_dtype(dtype: str | None, device: torch.device, beside_fewer_bits: bool = False) -> torch.dtype:
    """The precision asked for by name, or the fastest that the device computes natively.

    `beside_fewer_bits`: of what stays beside an LLM of 8 or 4 bits, which is asked for where memory is short, so it has 16 everywhere.
    """
    if dtype not in (None, "auto"):
        if dtype not in DTYPES:
            raise WeightsError(f"--dtype {dtype}: choose one of {', '.join(DTYPES)}.")
        return DTYPES[dtype]
    if device.type == "cuda":
        # GPUs before Ampere only emulate bf16, several times slower than fp16.
        native_bf16 = torch.cuda.is_bf16_supported() and torch.cuda.get_device_capability(device)[0] >= 8
        return torch.bfloat16 if native_bf16 else torch.float16
    if device.type == "mps":
        return torch.float16
    # Without the instructions, bf16 on a CPU is emulated and several times slower than fp32.
    native_bf16 = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if native_bf16 or beside_fewer_bits else torch.float32


def name_of(dtype: torch.dtype) -> str:
    """`torch.bfloat16` -> "bfloat16"."""
    return str(dtype).removeprefix("torch.")
