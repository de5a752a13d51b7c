"""How a run ends for the person who started it: an exit code and, where something is to be said, one sentence instead of a traceback."""

import sys
from collections.abc import Callable

from ..weights.errors import WeightsError
from .arguments import ArgumentsError
from .checkpoint import CheckpointError
from .interruption import INTERRUPTED, MAX_MINUTES, TERMINATED
from .trainer import Trainer

EXIT_CODES = {"": 0, MAX_MINUTES: 0, INTERRUPTED: 130, TERMINATED: 143}
GO_ON = "Run the same command again to go on."


def run(build: Callable[[], Trainer], *faults: type[Exception]) -> int:
    """Builds a trainer and trains. `faults` are further errors whose text is for the person. Returns the exit code."""
    try:
        trainer = build()
        reason = trainer.train()
    except (ArgumentsError, CheckpointError, WeightsError, FloatingPointError, *faults) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\nInterrupted at once. {GO_ON} It starts from the last checkpoint.", file=sys.stderr)
        return 130
    if trainer.accelerator.is_main_process:
        directory = trainer.arguments.output_dir
        if reason:
            print(f"Stopped by {reason}; saved at step {trainer.step} in {directory}. {GO_ON}", file=sys.stderr)
        else:
            print(f"Finished: {directory / 'report.html'}. Open the model with --model {directory}", file=sys.stderr)
    return EXIT_CODES[reason]
