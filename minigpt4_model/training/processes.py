"""Processes and devices of a run: building accelerate's `Accelerator`, and state that lies apart in each process."""

import platform
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType, disable_fsdp_ram_efficient_loading, gather_object

from ..model import MiniGPT4ForConditionalGeneration
from ..weights.load import choose_dtype
from .arguments import ArgumentsError
from .checkpoint import CheckpointError, load_state, shared_like


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
    if accelerator.distributed_type == DistributedType.FSDP:
        # Every process reads the whole model itself. Otherwise all but the first would leave even the parts out that are not sharded.
        disable_fsdp_ram_efficient_loading()
        accelerator.state.fsdp_plugin.cpu_ram_efficient_loading = False
    return accelerator


def prepare(
    accelerator: Accelerator, model: MiniGPT4ForConditionalGeneration, optimizer: torch.optim.Optimizer
) -> tuple[torch.nn.Module, Any]:
    """The model as it is called in training, and its optimizer: wrapped for several processes, sharded under FSDP.

    FSDP shards the LLM and what learns. The frozen vision side, a tenth of the whole, stays whole in every process: which pictures'
    features are computed for a cache differs between processes, and sharded parts can only be computed by all of them together.
    """
    if accelerator.distributed_type != DistributedType.FSDP:
        return accelerator.prepare(model, optimizer)
    from torch.distributed.fsdp import register_fsdp_forward_method

    vision, qformer, queries = model.model.vision_model, model.model.qformer, model.model.query_tokens
    frozen = [] if qformer is None or queries.requires_grad else [qformer, torch.nn.ParameterList([queries])]
    accelerator.state.fsdp_plugin.ignored_modules = [vision, *frozen]
    wrapped, optimizer = accelerator.prepare(model, optimizer)
    register_fsdp_forward_method(wrapped, "generate")  # it embeds the prompt itself, in front of the first `forward`
    return wrapped, optimizer


def _precision(asked: str, on_cpu: bool) -> str:
    if asked != "auto":
        return asked
    if not on_cpu and not torch.cuda.is_available():
        return "no"  # MPS, whose fp16 would need its gradients scaled
    fastest = choose_dtype(None, torch.device("cpu" if on_cpu else "cuda"))
    return {torch.bfloat16: "bf16", torch.float16: "fp16", torch.float32: "no"}[fastest]


def load_state_together(output_dir: Path) -> dict[str, Any] | None:
    """`load_state`'s, the same in all processes. Raises `CheckpointError` in all of them when one cannot read it or reads another."""
    state, fault = None, ""
    try:
        state = load_state(output_dir)
    except CheckpointError as error:
        fault = str(error)
    # When it was saved, to the microsecond, tells two runs at the same step apart.
    found = gather_object([(fault, state and (state["step"], state["seconds"]))])
    for number, (fault, other) in enumerate(found):
        if fault:
            raise CheckpointError(fault)
        if other != found[0][1]:
            theirs, first = (f"the checkpoint of step {saved[0]}" if saved else "no checkpoint" for saved in (other, found[0][1]))
            raise CheckpointError(
                f"--output-dir {output_dir} holds {theirs} for process {number} and {first} for process 0"
                f"{' (another run)' if theirs == first else ''}. It has to be one folder that all machines share."
            )
    return state


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


def optimizer_state(optimizer: Any) -> dict[str, Any]:
    """The optimizer's whole state, put together where it is sharded; every process has to call this."""
    state = optimizer.state_dict()
    return {**state, "state": {place: {name: _whole(value) for name, value in of.items()} for place, of in state["state"].items()}}


def load_optimizer_state(optimizer: Any, state: dict[str, Any]) -> None:
    """The inverse of `optimizer_state`; sharded parameters take their share, however the run was sharded that saved it."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    shared = {place: {name: shared_like(parameters[place], value) for name, value in of.items()} for place, of in state["state"].items()}
    optimizer.load_state_dict({**state, "state": shared})


def _whole(value: Any) -> Any:
    return value.full_tensor().cpu() if hasattr(value, "full_tensor") else value
