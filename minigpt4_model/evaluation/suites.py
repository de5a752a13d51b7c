"""Which tasks make a suite: one table. To add a task to the pocket suite, add a line to `pocket_tasks`."""

from collections.abc import Callable, Sequence
from pathlib import Path

from .items import EvaluationError, Task


def pocket_tasks() -> list[Task]:
    """What the project measures of the pocket model, on pictures it was not trained on."""
    from .tasks.hallucination import descriptions, yardstick
    from .tasks.naming import naming_held_out_files, naming_style
    from .tasks.no_picture import no_picture
    from .tasks.photographs import photographs
    from .tasks.scenes import colours, counting, follow_ups, left_or_right, two_objects
    from .tasks.several_pictures import compared
    from .tasks.sketches import page_sketches
    from .tasks.yes_no import yes_no

    return [
        naming_style("openmoji", "openmoji (style never seen)", common_only=True, least=0.30, aim=0.55),
        naming_style("emojione", "emojione (style never seen, full colour)", common_only=False, least=0.50, aim=0.75),
        naming_held_out_files(),
        photographs(),
        two_objects(),
        left_or_right(),
        counting(),
        colours(),
        follow_ups(),
        yes_no(),
        page_sketches(),
        compared(),
        no_picture(),
        descriptions(),
        yardstick(),
    ]


def _pocket(annotations: Sequence[Path], images: Path | None) -> list[Task]:
    return pocket_tasks()


def _coco(annotations: Sequence[Path], images: Path | None) -> list[Task]:
    from .tasks.coco import coco_captions

    return [coco_captions(annotations, images)]


def _vqav2(annotations: Sequence[Path], images: Path | None) -> list[Task]:
    from .tasks.vqa import vqav2

    return [vqav2(annotations, images)]


def _gqa(annotations: Sequence[Path], images: Path | None) -> list[Task]:
    from .tasks.gqa import gqa

    return [gqa(annotations, images)]


def _pope(annotations: Sequence[Path], images: Path | None) -> list[Task]:
    from .tasks.pope import pope

    return pope(annotations, images)


SUITES: dict[str, Callable[[Sequence[Path], Path | None], list[Task]]] = {
    "pocket": _pocket, "coco": _coco, "vqav2": _vqav2, "gqa": _gqa, "pope": _pope,
}  # fmt: skip


def build_tasks(suite: str, annotations: Sequence[Path] = (), images: Path | None = None, only: Sequence[str] = ()) -> list[Task]:
    """The tasks of a suite, or of a file of questions, `only` those named. Raises `EvaluationError`."""
    if suite in SUITES:
        tasks = SUITES[suite](annotations, images)
    elif suite.endswith(".jsonl") or Path(suite).is_file():
        from .tasks.own_file import read_tasks

        tasks = read_tasks(Path(suite))
    else:
        raise EvaluationError(f"--suite {suite}: there is no such suite or file. Choose one of {', '.join(SUITES)} or give a FILE.jsonl.")
    names = [task.name for task in tasks]
    unknown = [name for name in only if name not in names]
    if unknown:
        raise EvaluationError(f"--tasks {' '.join(unknown)}: the suite has no such task. There are: {', '.join(names)}.")
    return [task for task in tasks if not only or task.name in only]
