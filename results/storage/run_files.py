"""The log of a run as data: a line was perhaps cut off, and may be a stranger's."""

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lossearch.primitives.errors import nearest
from lossearch.results.statistics.intervals import interval_of_mean, shows_a_difference, standard_error


def logged_events(log: Path) -> Iterator[dict[str, Any]]:
    """The events of ``log.jsonl``, in their order; lines that are none are left out, and none are in no file."""
    if not log.exists():
        return
    with open(log, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                event = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(event, dict):
                yield event


# --- The path of a run that somebody gave: what to say where there is none.


def no_run_at(path: Path, lacks: str) -> str:
    """That a path is no run's directory: it is none at all, and which are near, or what it ``lacks``."""
    expected = f"{path}: expected the directory of a run"
    if path.is_dir():
        return f"{expected}, with {lacks} in it"
    if path.exists():
        return f"{expected}, got a file"
    beside = path.parent.iterdir() if path.parent.is_dir() else ()
    near = nearest(path.name, (each.name for each in beside if each.is_dir()))
    return f"{expected}, got no such directory{near if 'did you mean' in near else ''}"


# --- Trial: how a run's best loss did under fresh seeds, beside cross-entropy, as the run's log keeps it.


@dataclass(frozen=True)
class FreshSeedTest:
    """What the exported loss and cross-entropy reach under fresh seeds, paired; None where a training failed."""

    fitness: float | None
    cross_entropy: float | None
    difference: float | None
    difference_std: float | None
    seeds: int

    def facts(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)

    def sentence(self, metric: str = "accuracy") -> str:
        """The result in one line, with its interval."""
        if self.fitness is None or self.cross_entropy is None or self.difference is None:
            return f"a training failed, after {self.seeds} fresh seeds that did not"
        error = standard_error(self.difference_std or 0.0, self.seeds)
        low, high = interval_of_mean(self.difference, error, self.seeds)
        shown = "" if shows_a_difference(self.difference, error) else "; no difference is shown"
        return (
            f"{metric} {self.fitness:.4f}, cross-entropy {self.cross_entropy:.4f}, difference {self.difference:+.4f} "
            f"with a standard error of {error:.4f}, 95 % interval {low:+.4f} to {high:+.4f}, under {self.seeds} fresh "
            f"seeds{shown}"
        )


def read_trial(log: Path, loss_id: str) -> FreshSeedTest | None:
    """The last trial of a loss that a run's log tells of; None where there is none that makes sense."""
    found = None
    for event in logged_events(log):
        if event.get("best") == loss_id and _is_trial(event.get("trial")):
            found = FreshSeedTest(**event["trial"])
    return found


def _is_trial(facts: Any) -> bool:
    """Whether these are the numbers of a trial: a log may be a stranger's."""
    if not isinstance(facts, dict) or facts.keys() != FreshSeedTest.__dataclass_fields__.keys():
        return False
    seeds, measured = facts["seeds"], [facts[name] for name in facts if name != "seeds"]
    if type(seeds) is not int or not 0 <= seeds < 1_000_000:
        return False
    if all(each is None for each in measured):  # a training failed
        return True
    if seeds < 2 or not all(type(each) is float and math.isfinite(each) for each in measured):
        return False
    fitness, cross_entropy = facts["fitness"], facts["cross_entropy"]
    in_range = 0.0 <= fitness <= 1.0 and 0.0 <= cross_entropy <= 1.0 and facts["difference_std"] >= 0.0
    return in_range and math.isclose(facts["difference"], fitness - cross_entropy, abs_tol=1e-9)
