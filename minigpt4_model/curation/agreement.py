"""How far people agree who judged the same items, and how fast they go.

Kappa is Cohen's (1960): agreement beyond what two people would have by chance, each with their own share of verdicts. It is told
twice: pass or drop, which decides what the data set holds, and all three verdicts.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from .project import Project
from .schema import DROP

_RECENT = 20  # decisions that a pace is taken from
_DAY_S = 24 * 3600


@dataclass(frozen=True)
class Agreement:
    """Two people's verdicts on the `items` that both judged. Shares are 0 to 1, kappas None where chance would agree always."""

    annotators: tuple[str, str]
    items: int
    passing: float
    passing_kappa: float | None
    verdicts: float
    verdicts_kappa: float | None


@dataclass(frozen=True)
class Pace:
    """An annotator's decisions in all and today, and the seconds that the last ones took each (None: there are none)."""

    decided: int
    today: int
    seconds: float | None


def agreements(project: Project) -> list[Agreement]:
    """One for each two people who judged an item both, in the order of their names. Disputes that were settled count as first judged."""
    judged: dict[int, dict[str, str]] = defaultdict(dict)
    rows = project.rows(
        "SELECT item_id, annotator, verdict FROM decisions WHERE settles = 0 AND undone_at IS NULL ORDER BY id"  # the last one stays
    )
    for row in rows:
        judged[row["item_id"]][row["annotator"]] = row["verdict"]
    pairs: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
    for verdicts in judged.values():
        for two in combinations(sorted(verdicts), 2):
            pairs[two].append((verdicts[two[0]], verdicts[two[1]]))
    return [_agreement(two, pairs[two]) for two in sorted(pairs)]


def _agreement(annotators: tuple[str, str], verdicts: list[tuple[str, str]]) -> Agreement:
    passing = [("drop" if one == DROP else "pass", "drop" if other == DROP else "pass") for one, other in verdicts]
    return Agreement(annotators, len(verdicts), share_agreed(passing), kappa(passing), share_agreed(verdicts), kappa(verdicts))


def share_agreed(pairs: Sequence[tuple[str, str]]) -> float:
    return sum(one == other for one, other in pairs) / len(pairs)


def kappa(pairs: Sequence[tuple[str, str]]) -> float | None:
    """Cohen's kappa, -1 to 1. None where both always said the same one thing: chance explains that as well."""
    one, other = Counter(pair[0] for pair in pairs), Counter(pair[1] for pair in pairs)
    chance = sum(one[said] * other[said] for said in one) / len(pairs) ** 2
    return None if chance == 1 else (share_agreed(pairs) - chance) / (1 - chance)


def pace(project: Project, annotator: str) -> Pace:
    recent = project.rows(
        "SELECT seconds FROM decisions WHERE annotator = ? AND undone_at IS NULL ORDER BY id DESC LIMIT ?", annotator, _RECENT
    )
    decided, today = project.row(
        "SELECT COUNT(DISTINCT item_id), COUNT(DISTINCT CASE WHEN added_at > ? THEN item_id END) FROM decisions "
        "WHERE annotator = ? AND undone_at IS NULL",
        time.time() - _DAY_S,
        annotator,
    )
    return Pace(decided, today, sum(row["seconds"] for row in recent) / len(recent) if recent else None)


def described(agreement: Agreement) -> str:
    """In a sentence."""
    one, other = agreement.annotators

    def told(share: float, value: float | None) -> str:
        return f"{share:.0%} (kappa {value:.2f})" if value is not None else f"{share:.0%}"

    return (
        f"{one} and {other} judged {agreement.items} items both: they agree on pass or drop for "
        f"{told(agreement.passing, agreement.passing_kappa)}, "
        f"on keep, edit or drop for {told(agreement.verdicts, agreement.verdicts_kappa)}."
    )
