"""Verdicts on losses that a search found, beside every baseline and the best of a random search.

Every loss is judged under fresh seeds: those of no search and no tuning.

- Each difference has the interval of the sign-flip test, which holds for all losses judged together. It decides.
- A loss is better than every baseline if every interval lies above 0, with no correction for the number of baselines
  (the intersection-union test; Berger, Technometrics 1982).
- A baseline that failed under some seeds is beaten if it is beaten under the others.
- A loss is worse than a known loss if the interval of the difference to the favourite, the baseline that was best on
  the validation split, lies below 0. To be behind another baseline may be chance, since there are many: that interval
  is widened for their number.
- The difference that is reported is the one that decided.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from lossearch.results.findings.table_text import PairedDifference
from lossearch.results.records import Measurement
from lossearch.results.statistics.paired_tests import PairedTest, fewest_pairs
from lossearch.results.statistics.paired_values import PairedValues

Outcome = Literal[
    "better than every baseline",
    "no difference shown",
    "worse than a known loss",
    "too few seeds",
    "split too small",
    "saturated",
    "failed",
    "baselines failed",
]

#: Fewest errors that the best baseline must leave on the split. To mend fewer is no evidence (sign test, 2/2**5 > .05).
FEWEST_ERRORS = 6


@dataclass(frozen=True)
class Verdict(PairedDifference):
    """The verdict on one discovered loss in one scene: a task with a network, on the test split."""

    scene: str  #: own, second network or second task
    task: str  #: name of the task
    fidelity: str  #: the training: network, steps, batch size, learning rate
    measure: str  #: accuracy, verification accuracy or mean IoU, on the test split
    loss: str  #: formula as the search found it
    rank: int | None  #: rank in the search's leaderboard
    formula: str  #: formula with the tuned numbers
    seeds: int  #: number of finished trainings of the loss
    mean: float | None  #: mean of the measure over the seeds; null where a training failed
    verdict: Outcome  #: the verdict
    why: str  #: reason for the verdict
    baselines: int  #: number of known losses that it was compared with, each tuned with the same budget
    closest: str | None  #: the baseline whose difference decided the verdict: usually the one with the highest mean
    closest_mean: float | None  #: mean of that baseline
    difference: float | None  #: mean of the paired differences to that baseline
    low: float | None  #: lower end of its interval over the seeds, 95 % for all losses judged together
    high: float | None  #: upper end of that interval
    low_on_other_samples: float | None  #: lower end of the 95 % interval over seeds and samples; null without samples
    high_on_other_samples: float | None  #: upper end of that interval
    p: float | None  #: two-sided p of that difference by the sign-flip test, multiplied by the number of losses judged
    random_search: str | None  #: best loss of a random search at the same budget, chosen on the validation split
    random_difference: float | None  #: mean of the paired differences to that loss
    random_low: float | None  #: lower end of its interval over the seeds, 95 % for all losses judged together
    random_high: float | None  #: upper end of that interval
    random_p: float | None  #: two-sided p of that difference, multiplied by the number of losses judged
    chosen_from: int  #: number of candidates trained in the search that found it


@dataclass(frozen=True)
class Judged:
    """A discovered loss to judge."""

    loss: str  #: its name in the measurements
    rank: int | None


@dataclass(frozen=True)
class SceneMeasurements:
    """Measurements of one task with one network, and who is who among the losses there."""

    name: str
    measurements: Sequence[Measurement]
    judged: Sequence[Judged]
    baselines: Sequence[str]
    favourite: str  #: the baseline that was best on the validation split of the search's task
    random_search: str | None
    chosen_from: int
    validation_samples: int | None  #: size of the split that chose the losses; None where samples are not counted


def verdicts(scene: SceneMeasurements) -> list[Verdict]:
    """Judge every loss of the scene. The verdicts keep the order of ``judged``."""
    values = PairedValues(scene.measurements)
    judge = _Judge(scene, values, [baseline for baseline in scene.baselines if values.mean(baseline) is not None])
    return [judge.verdict(judged) for judged in scene.judged]


@dataclass(frozen=True)
class _Decision:
    """A verdict, and the comparison that decided it."""

    outcome: Outcome
    why: str
    closest: str | None = None
    test: PairedTest | None = None


@dataclass(frozen=True)
class _Judge:
    """Judges the losses of one scene, each from its tests."""

    scene: SceneMeasurements
    values: PairedValues
    baselines: Sequence[str]  #: the baselines that did not fail

    def verdict(self, judged: Judged) -> Verdict:
        """Judge one loss."""
        values, loss = self.values, judged.loss
        decision = self._decide(loss)
        closest, test = decision.closest, decision.test
        first = values.first(loss)
        random_test = None if self.scene.random_search is None else self._test(loss, self.scene.random_search)
        with_samples = None if closest is None or test is None else values.two_way(loss, closest)
        return Verdict(
            scene=self.scene.name,
            task=first.task,
            fidelity=first.fidelity,
            measure=values.metric,
            loss=loss,
            rank=judged.rank,
            formula=first.formula,
            seeds=values.seeds(loss),
            mean=values.mean(loss),
            verdict=decision.outcome,
            why=decision.why,
            baselines=len(self.baselines),
            closest=closest,
            closest_mean=None if closest is None else values.mean(closest),
            difference=None if test is None else test.difference,
            low=None if test is None else test.low,
            high=None if test is None else test.high,
            low_on_other_samples=None if with_samples is None else with_samples[0],
            high_on_other_samples=None if with_samples is None else with_samples[1],
            p=None if test is None else test.p,
            random_search=self.scene.random_search,
            random_difference=None if random_test is None else random_test.difference,
            random_low=None if random_test is None else random_test.low,
            random_high=None if random_test is None else random_test.high,
            random_p=None if random_test is None else random_test.p,
            chosen_from=self.scene.chosen_from,
        )

    def _test(self, loss: str, other: str, baselines: int = 1) -> PairedTest | None:
        """Test a loss against another, as one of the losses judged, and of so many baselines."""
        return self.values.test(loss, other, len(self.scene.judged) * baselines)

    def _decide(self, loss: str) -> _Decision:
        best = max(self.baselines, key=lambda name: self.values.mean(name) or 0.0, default=None)
        tests = {name: test for name in self.baselines if (test := self._test(loss, name)) is not None}
        if self.values.mean(loss) is None:
            return _Decision("failed", self.values.reason(loss) or "not every training was finished", best)
        if best is None:
            return _Decision("baselines failed", "no baseline was trained to the end under every seed")
        least, seeds = fewest_pairs(len(self.scene.judged)), self.values.seeds(loss)
        if seeds < least or any(test.pairs < least for test in tests.values()) or not tests:
            count = len(self.scene.judged)
            judged = "one loss" if count == 1 else f"{count} losses"
            why = f"{seeds} {'seed' if seeds == 1 else 'seeds'}; to judge {judged} takes {least}"
            return _Decision("too few seeds", why, best, tests.get(best))
        leads = sorted(tests, key=lambda name: tests[name].low or 0.0)  # the hardest to beat first
        behind = [name for name in leads if tests[name].verdict == "worse"]
        level = [name for name in leads if tests[name].verdict == "no difference shown"]
        return (
            self._decide_worse(loss, tests, behind)
            or self._decide_saturated(loss, best, tests)
            or self._decide_level(loss, best, tests, behind, level)
            or self._decide_beyond_the_seeds(loss, tests, leads[0])
        )

    def _decide_worse(self, loss: str, tests: Mapping[str, PairedTest], behind: Sequence[str]) -> _Decision | None:
        if self.scene.favourite in behind:
            favourite = self.scene.favourite
            return _Decision("worse than a known loss", f"worse than {favourite}", favourite, tests[favourite])
        for name in behind:
            test = self._test(loss, name, len(tests))
            if test is not None and test.verdict == "worse":
                return _Decision("worse than a known loss", f"worse than {name}", name, test)
        return None

    def _decide_saturated(self, loss: str, best: str, tests: Mapping[str, PairedTest]) -> _Decision | None:
        samples, mean = self.values.samples(best), self.values.mean(best) or 0.0
        errors = None if samples is None else (1.0 - mean) * samples
        if errors is None or errors >= FEWEST_ERRORS:
            return None
        why = f"{best} leaves {errors:.1f} errors on {samples} samples: nothing is left to win"
        return _Decision("saturated", why, best, tests.get(best))

    def _decide_level(
        self, loss: str, best: str, tests: Mapping[str, PairedTest], behind: Sequence[str], level: Sequence[str]
    ) -> _Decision | None:
        """Decide where some baseline is not beaten: by that with the highest mean, if it is one of them."""
        unbeaten = sorted([*behind, *level], key=lambda name: tests[name].difference)
        if unbeaten:
            closest = best if best in unbeaten else (level or unbeaten)[0]
            test, why = tests[closest], f"not shown to be better than {_first_names(unbeaten)}"
            if closest in behind:
                test = self._test(loss, closest, len(tests)) or test
                why += f"; to be behind one of {len(tests)} may be chance"
            return _Decision("no difference shown", why, closest, test)
        failed = [name for name in self._failed_baselines if not self._beats_failed(loss, name)]
        if not failed:
            return None
        why = f"not shown to be better than {_first_names(failed)}, which failed, under the seeds that were finished"
        of_finished = self.values.test_of_finished(loss, failed[0], len(self.scene.judged))
        return _Decision("no difference shown", why, failed[0], of_finished)

    @cached_property
    def _failed_baselines(self) -> list[str]:
        """Baselines that failed under a seed, or never ran."""
        return [name for name in self.scene.baselines if name not in self.baselines]

    def _beats_failed(self, loss: str, failed: str) -> bool:
        """Return True if a baseline that failed is behind under the seeds it finished, or finished none."""
        test = self.values.test_of_finished(loss, failed, len(self.scene.judged))
        return test is None or test.verdict == "better"

    def _decide_beyond_the_seeds(self, loss: str, tests: Mapping[str, PairedTest], closest: str) -> _Decision:
        """Judge a loss that is better by the seeds: would it be better on other samples, too?"""
        outcome, why = self._outcome_beyond_the_seeds(loss, tests)
        return _Decision(outcome, why, closest, tests[closest])

    def _outcome_beyond_the_seeds(self, loss: str, tests: Mapping[str, PairedTest]) -> tuple[Outcome, str]:
        samples, num_validation = self.values.samples(loss), self.scene.validation_samples
        least = min(test.difference for test in tests.values())
        intervals = {name: self.values.two_way(loss, name) for name in tests}
        uncertain = [name for name, interval in intervals.items() if interval is not None and interval[0] <= 0.0]
        if uncertain:
            return "split too small", (
                f"ahead of every baseline under these seeds, but the split has {samples} samples: on other ones it may "
                f"not be ahead of {_first_names(uncertain)}"
            )
        if num_validation is not None and least * num_validation < 1.0:
            return "split too small", (
                f"ahead by {least:.4f}, but the validation split by which it was chosen has {num_validation} samples: "
                "less than one of them"
            )
        why = f"better than each of {len(tests)} baselines"
        if self._failed_baselines:
            why += f"; {_first_names(self._failed_baselines)} failed"
        if samples is None:
            why += "; by the seeds alone, since what other samples would say cannot be told of this metric"
        return "better than every baseline", why


def _first_names(names: Sequence[str]) -> str:
    """Return up to three names and the number of further ones."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
