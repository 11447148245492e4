"""Trial: how a run's best loss did under fresh seeds, beside cross-entropy, as the run's log keeps it."""

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lossearch.results.run_log import logged_events
from lossearch.results.statistics import interval_of_mean, shows_a_difference, standard_error


@dataclass(frozen=True)
class Trial:
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


def read_trial(log: Path, loss_id: str) -> Trial | None:
    """The last trial of a loss that a run's log tells of; None where there is none that makes sense."""
    found = None
    for event in logged_events(log):
        if event.get("best") == loss_id and _is_trial(event.get("trial")):
            found = Trial(**event["trial"])
    return found


def _is_trial(facts: Any) -> bool:
    """Whether these are the numbers of a trial: a log may be a stranger's."""
    if not isinstance(facts, dict) or facts.keys() != Trial.__dataclass_fields__.keys():
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
