"""Processes and devices of a run: building accelerate's `Accelerator`, and state that lies apart in each process."""

import platform
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType

from .arguments import ArgumentsError


def build_accelerator(mixed_precision: str = "auto", device: str = "auto") -> Accelerator:
    """The processes that `accelerate launch` made, or one; on the best device there is, or on the CPU when that is asked for.

    Raises `ArgumentsError` for a wrapper that is not supported.
    """
    if device not in ("auto", "cpu", "cuda", "mps"):
        raise ArgumentsError(f"--device {device}: choose auto, cpu, cuda or mps; of several GPUs CUDA_VISIBLE_DEVICES picks.")
    there = {"cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available}
    if device in there and not there[device]():
        raise ArgumentsError(f"--device {device}: not available on this machine. Leave the flag out to take the best there is.")
    on_cpu = device == "cpu" or not any(is_there() for is_there in there.values())
    # A second run in the same program may compute in another precision; accelerate only knows one a program.
    AcceleratorState._reset_state()
    accelerator = Accelerator(cpu=on_cpu, mixed_precision=_precision(mixed_precision, on_cpu))
    if accelerator.distributed_type == DistributedType.DEEPSPEED:
        raise ArgumentsError("DeepSpeed is not supported. To shard the LLM over GPUs, choose FSDP (version 2) in accelerate config.")
    if accelerator.distributed_type == DistributedType.FSDP and not accelerator.is_fsdp2:
        raise ArgumentsError("FSDP version 1 is not supported. Set fsdp_version: 2 in accelerate config.")
    return accelerator


def _precision(asked: str, on_cpu: bool) -> str:
    if asked != "auto":
        return asked
    if on_cpu:
        return "bf16"
    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    return "no"  # MPS


def frozen_dtype(accelerator: Accelerator) -> str:
    """What frozen parts are loaded in, so that nothing is cast at every step."""
    return {"bf16": "bfloat16", "fp16": "float16", "no": "float32"}[accelerator.mixed_precision]


def device_title(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"{device.type} ({platform.processor() or platform.machine()})"


def random_state(device: torch.device) -> dict[str, torch.Tensor]:
    """Torch's random state on the CPU and on `device`."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    elif device.type == "mps":
        state["mps"] = torch.mps.get_rng_state()
    return state


def load_random_state(state: dict[str, torch.Tensor], device: torch.device) -> None:
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
    elif device.type == "mps" and "mps" in state:
        torch.mps.set_rng_state(state["mps"])


def optimizer_state(accelerator: Accelerator, model: torch.nn.Module, optimizer: Any) -> dict[str, Any]:
    """The optimizer's whole state, put together where it is sharded; every process has to call this."""
    if accelerator.distributed_type != DistributedType.FSDP:
        return optimizer.state_dict()
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_optimizer_state_dict

    return get_optimizer_state_dict(model, optimizer.optimizer, options=StateDictOptions(full_state_dict=True, cpu_offload=True))


def load_optimizer_state(accelerator: Accelerator, model: torch.nn.Module, optimizer: Any, state: dict[str, Any]) -> None:
    """The inverse of `optimizer_state`."""
    if accelerator.distributed_type != DistributedType.FSDP:
        optimizer.load_state_dict(state)
        return
    from torch.distributed.checkpoint.state_dict import StateDictOptions, set_optimizer_state_dict

    set_optimizer_state_dict(model, optimizer.optimizer, state, options=StateDictOptions(full_state_dict=True))
