"""Verdicts on losses that a search found, beside every baseline and the best of a random search.

Every loss is judged under fresh seeds: those of no search and no tuning.

- A loss is better than every baseline if it is better than each of them. The p-value of that claim is the largest of
  theirs, with no correction for their number (the intersection-union test; Berger, Technometrics 1982).
- A baseline that failed under some seeds is beaten if it is beaten under the others.
- A loss is worse than a known loss if it is behind the one that looked best on the validation split. It is also worse
  if it is behind another one by p-values that are corrected for the number of baselines.
- Over the losses that are judged, p-values are corrected by Holm.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from lossearch.results.findings.table_text import WordedDifference
from lossearch.results.records import Measurement
from lossearch.results.statistics.paired_tests import PairedTest, fewest_pairs, holm
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

LEVEL = 0.05

#: Fewest errors that the best baseline must leave on the split. To mend fewer is no evidence (sign test, 2/2**5 > .05).
FEWEST_ERRORS = 6


@dataclass(frozen=True)
class Verdict(WordedDifference):
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
    closest: str | None  #: the baseline with the highest mean
    closest_mean: float | None  #: mean of that baseline
    difference: float | None  #: mean of the paired differences to that baseline
    low: float | None  #: lower end of the 95 % BCa interval over the seeds
    high: float | None  #: upper end of that interval
    low_on_other_samples: float | None  #: lower end of the 95 % interval over seeds and samples; null without samples
    high_on_other_samples: float | None  #: upper end of that interval
    p: float | None  #: p-value of being better than every baseline, corrected by Holm over the losses judged
    random_search: str | None  #: best loss of a random search at the same budget, chosen on the validation split
    random_difference: float | None  #: mean of the paired differences to that loss
    random_low: float | None  #: lower end of the 95 % BCa interval over the seeds
    random_high: float | None  #: upper end of that interval
    random_p: float | None  #: two-sided Wilcoxon p of that difference
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
    usable = [baseline for baseline in scene.baselines if values.mean(baseline) is not None]
    tests = [_test_against_each(values, judged.loss, usable) for judged in scene.judged]
    claims = holm([_claim(by_baseline) for by_baseline in tests])
    deficits = [_largest_deficit(by_baseline, scene.favourite) for by_baseline in tests]
    deficit_claims = holm([p for _, p in deficits])
    judge = _Judge(scene, values, usable)
    return [
        judge.verdict(judged, by_baseline, claim, baseline if p < LEVEL else None)
        for judged, by_baseline, claim, (baseline, _), p in zip(
            scene.judged, tests, claims, deficits, deficit_claims, strict=True
        )
    ]


def _test_against_each(values: PairedValues, loss: str, baselines: Sequence[str]) -> dict[str, PairedTest]:
    """Test a loss against each baseline. A pair without two common seeds, or with a failure, has no test."""
    tests = {baseline: values.test(loss, baseline) for baseline in baselines}
    return {name: test for name, test in tests.items() if test is not None and test.p_wilcoxon is not None}


def _claim(tests: Mapping[str, PairedTest]) -> float:
    """Return the p-value of being better than every baseline: the largest of all, and 1 if one is not behind."""
    return max((test.p_wilcoxon or 0.0 if test.difference > 0.0 else 1.0 for test in tests.values()), default=1.0)


def _largest_deficit(tests: Mapping[str, PairedTest], favourite: str) -> tuple[str | None, float]:
    """Return the baseline that is ahead of the loss with the smallest p-value, and that p-value.

    The p-value of the favourite is not corrected. Those of the others are corrected for the number of baselines.
    """
    p_values = {
        name: min(1.0, (test.p_wilcoxon or 0.0) * (1 if name == favourite else len(tests)))
        for name, test in tests.items()
        if test.high is not None and test.high < 0.0
    }
    best = min(p_values, key=lambda name: (p_values[name], tests[name].difference), default=None)
    return (None, 1.0) if best is None else (best, p_values[best])


@dataclass(frozen=True)
class _Judge:
    """Judges the losses of one scene, each from its tests."""

    scene: SceneMeasurements
    values: PairedValues
    baselines: Sequence[str]  #: the baselines that did not fail

    def verdict(self, judged: Judged, tests: Mapping[str, PairedTest], claim: float, behind: str | None) -> Verdict:
        """Judge one loss. ``behind`` is a baseline that it is significantly worse than."""
        values, loss = self.values, judged.loss
        closest = max(self.baselines, key=lambda name: values.mean(name) or 0.0, default=None)
        test = tests.get(closest) if closest is not None else None
        outcome, why = self._outcome(loss, tests, claim, behind, closest)
        first = values.first(loss)
        random_test = None if self.scene.random_search is None else values.test(loss, self.scene.random_search)
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
            verdict=outcome,
            why=why,
            baselines=len(self.baselines),
            closest=closest,
            closest_mean=None if closest is None else values.mean(closest),
            difference=None if test is None else test.difference,
            low=None if test is None else test.low,
            high=None if test is None else test.high,
            low_on_other_samples=None if with_samples is None else with_samples[0],
            high_on_other_samples=None if with_samples is None else with_samples[1],
            p=claim if tests else None,
            random_search=self.scene.random_search,
            random_difference=None if random_test is None else random_test.difference,
            random_low=None if random_test is None else random_test.low,
            random_high=None if random_test is None else random_test.high,
            random_p=None if random_test is None else random_test.p_wilcoxon,
            chosen_from=self.scene.chosen_from,
        )

    def _outcome(
        self, loss: str, tests: Mapping[str, PairedTest], claim: float, behind: str | None, closest: str | None
    ) -> tuple[Outcome, str]:
        """Return the outcome and the reason for it."""
        if self.values.mean(loss) is None:
            return "failed", self.values.reason(loss) or "not every training was finished"
        if closest is None:
            return "baselines failed", "no baseline was trained to the end under every seed"
        least = fewest_pairs(len(self.scene.judged))
        if self.values.seeds(loss) < least or not tests:
            return "too few seeds", f"{self.values.seeds(loss)} seeds; it takes {least} for so many losses"
        if behind is not None:
            return "worse than a known loss", f"worse than {behind}"
        samples, mean = self.values.samples(closest), self.values.mean(closest) or 0.0
        errors = None if samples is None else (1.0 - mean) * samples
        if errors is not None and errors < FEWEST_ERRORS:
            return "saturated", f"{closest} leaves {errors:.1f} errors on {samples} samples: nothing is left to win"
        if claim >= LEVEL or any((test.low or 0.0) <= 0.0 for test in tests.values()):
            by_lead = sorted(tests, key=lambda name: tests[name].difference)  # smallest lead first
            level = [name for name in by_lead if (tests[name].low or 0.0) <= 0.0] or by_lead[:1]
            return "no difference shown", f"not shown to be better than {_first_names(level)}"
        unbeaten = [name for name in self._failed_baselines if not self._beats_failed(loss, name)]
        if unbeaten:
            return "no difference shown", (
                f"not shown to be better than {_first_names(unbeaten)}, which failed, under the seeds that were "
                "finished"
            )
        return self._outcome_beyond_the_split(loss, tests)

    @cached_property
    def _failed_baselines(self) -> list[str]:
        """Baselines that failed under a seed, or never ran."""
        return [name for name in self.scene.baselines if name not in self.baselines]

    def _beats_failed(self, loss: str, failed: str) -> bool:
        """Return True if a baseline that failed is behind under the seeds it finished, or finished none."""
        test = self.values.test_of_finished(loss, failed)
        return test is None or (test.low or 0.0) > 0.0

    def _outcome_beyond_the_split(self, loss: str, tests: Mapping[str, PairedTest]) -> tuple[Outcome, str]:
        """Judge a loss that is better by the seeds: would it be better on other samples, too?"""
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
