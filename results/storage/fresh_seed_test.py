"""The fresh-seed test of a run: its best loss beside cross-entropy under seeds that the search did not use.

The run's log keeps it. A log may come from a stranger, so its numbers are checked.
"""

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lossearch.results.statistics.intervals import (
    contains_zero,
    interval_of_mean,
    interval_text,
    lacks_interval,
    standard_error,
)
from lossearch.results.storage.run_files import logged_events


@dataclass(frozen=True)
class FreshSeedTest:
    """Mean metric of the exported loss and of cross-entropy, paired by fresh seeds; None if a training failed."""

    fitness: float | None  #: of the exported loss, in [0, 1]
    cross_entropy: float | None  #: of cross-entropy, in [0, 1]
    difference: float | None  #: fitness less that of cross-entropy
    difference_std: float | None  #: standard deviation of the differences over the seeds
    seeds: int  #: number of seeds

    def facts(self) -> dict[str, Any]:
        """Return the numbers as plain data."""
        return asdict(self)

    def sentence(self, metric: str = "accuracy") -> str:
        """Describe the result in one line, with the interval that decides if a difference is shown."""
        if self.fitness is None or self.cross_entropy is None or self.difference is None:
            return f"a training failed, after {self.seeds} fresh seeds that did not"
        text = f"{metric} {self.fitness:.4f}, cross-entropy {self.cross_entropy:.4f}, difference {self.difference:+.4f}"
        interval = self.interval
        if interval is None:
            equal = "; no difference is shown" if self.difference == 0.0 else ""
            return f"{text}, under {self.seeds} fresh seeds ({lacks_interval(self.seeds)}){equal}"
        error = standard_error(self.difference_std or 0.0, self.seeds)
        doubt = "; no difference is shown" if contains_zero(*interval) else ""
        return (
            f"{text} with a standard error of {error:.4f}, 95 % interval {interval_text(*interval)}, under "
            f"{self.seeds} fresh seeds{doubt}"
        )

    @property
    def interval(self) -> tuple[float, float] | None:
        """Student's 95 % interval of the difference; None for fewer than three seeds or equal differences."""
        return None if self.difference is None else interval_of_mean(self.difference, self.difference_std, self.seeds)


def read_fresh_seed_test(log: Path, loss_id: str) -> FreshSeedTest | None:
    """Read the last fresh-seed test of a loss from a run's log; None if there is no valid one."""
    test = None
    for event in logged_events(log, key="trial"):
        if event.get("best") == loss_id and _is_valid(event.get("trial")):
            test = FreshSeedTest(**event["trial"])
    return test


def _is_valid(facts: Any) -> bool:
    """Return True if data of a log are the numbers of a fresh-seed test."""
    if not isinstance(facts, dict) or facts.keys() != FreshSeedTest.__dataclass_fields__.keys():
        return False
    seeds, numbers = facts["seeds"], [facts[name] for name in facts if name != "seeds"]
    if type(seeds) is not int or not 0 <= seeds < 1_000_000:
        return False
    if all(number is None for number in numbers):  # a training failed
        return True
    if seeds < 2 or not all(type(number) is float and math.isfinite(number) for number in numbers):
        return False
    fitness, cross_entropy = facts["fitness"], facts["cross_entropy"]
    in_range = 0.0 <= fitness <= 1.0 and 0.0 <= cross_entropy <= 1.0 and facts["difference_std"] >= 0.0
    return in_range and math.isclose(facts["difference"], fitness - cross_entropy, abs_tol=1e-9)
