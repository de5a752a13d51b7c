"""An engine over random weights of a preset's size, for `bench --random-weights`: its speed is the model's, what it says is noise."""

from ..chat.engine import Engine, describe_model
from ..weights.choices import precision_of
from ..weights.devices import choose_device, choose_dtype, name_of
from ..weights.memory_check import find_place
from .random_weights import build_random
from .rehearsal import sized_config


def open_random_engine(preset: str, small: bool = False, device: str | None = None, dtype: str | None = None) -> Engine:
    """The engine of a full-size preset, or of a small model of its kind. Raises `WeightsError` for one that does not fit."""
    main = choose_device(device)
    chosen = choose_dtype(dtype, main)
    config = sized_config(preset, small)
    find_place(
        f"--preset {preset}",
        config.to_dict(),
        main=str(main),
        precision=precision_of(name_of(chosen)),
    )
    model, processor = build_random(config, chosen)
    return Engine(model.to(main), processor, description=describe_model(config, str(main), preset), kv_slots=2)
