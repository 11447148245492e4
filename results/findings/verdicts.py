"""Verdicts: what may be said of losses that a search found, beside every baseline and the best of a random search.

A loss is better than every baseline where it is better than each of them: the p-value of that claim is the largest of
theirs, with no correction for how many there are (the intersection-union test; Berger, Technometrics 1982). One that
failed under some seeds is beaten where it is under the others. A loss is worse
than a known loss where it is behind that which looked best on the validation split, or behind some other by p-values
that are corrected for how many there are. Over the losses that are judged, p-values are corrected by Holm. The seeds
are those of no search and no tuning.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from lossearch.results.records import Measurement
from lossearch.results.statistics.paired_tests import PairedTest, PairedValues, fewest_pairs, holm

Said = Literal[
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

#: Errors on the split that the best baseline must leave: fewer, all mended, are no evidence (sign test, 2/2**5 > .05).
FEWEST_ERRORS = 6


@dataclass(frozen=True)
class Verdict:
    """What may be said of one discovered loss in one scene: a task with a network, on the test split."""

    scene: str  #: own, second network or second task
    task: str  #: its name
    fidelity: str  #: the training: network, steps, batch size, learning rate
    measure: str  #: accuracy, verification accuracy or mean IoU, on the test split
    loss: str  #: as it was found
    rank: int | None  #: in the search's leaderboard
    formula: str  #: with the tuned numbers
    seeds: int  #: trainings of the loss that were finished
    mean: float | None  #: of the measure over the seeds; null where a training failed
    verdict: Said  #: what may be said
    why: str  #: the verdict in a sentence
    baselines: int  #: known losses that it was compared with, each tuned with the same budget
    closest: str | None  #: the baseline whose mean is highest
    closest_mean: float | None  #: its mean
    difference: float | None  #: mean of the paired differences to that baseline
    low: float | None  #: 95 % BCa interval over the seeds
    high: float | None  #: its other end
    low_on_other_samples: float | None  #: 95 % interval over seeds and samples; null where samples are not told
    high_on_other_samples: float | None  #: its other end
    p: float | None  #: that it is better than every baseline, corrected by Holm over the losses judged
    random_search: str | None  #: the best loss of a random search at the same budget, chosen on the validation split
    random_difference: float | None  #: mean of the paired differences to it
    random_low: float | None  #: 95 % BCa interval over the seeds
    random_high: float | None  #: its other end
    random_p: float | None  #: Wilcoxon's, two-sided
    chosen_from: int  #: candidates that were trained in the search that found it


@dataclass(frozen=True)
class Judged:
    """A discovered loss that is to be judged: its name in the measurements, and its rank."""

    loss: str
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
    validation_samples: int | None  #: of the split by which the losses were found; None where they are not counted


def verdicts(scene: SceneMeasurements) -> list[Verdict]:
    """The verdict of every loss that is to be judged, in their order."""
    values = PairedValues(scene.measurements)
    usable = [each for each in scene.baselines if values.mean(each) is not None]
    tests = [_tests(values, each.loss, usable) for each in scene.judged]
    claims = holm([_claim(own) for own in tests])
    behind = [_behind(own, scene.favourite) for own in tests]
    worse = holm([p for _, p in behind])
    judging = _Judging(scene, values, usable)
    return [
        judging.verdict(judged, own, claim, name if p < LEVEL else None)
        for judged, own, claim, (name, _), p in zip(scene.judged, tests, claims, behind, worse, strict=True)
    ]


def _tests(values: PairedValues, loss: str, baselines: Sequence[str]) -> dict[str, PairedTest]:
    """The test of a loss against each baseline; none where it failed or two seeds are not there."""
    found = {name: values.test(loss, name) for name in baselines}
    return {name: test for name, test in found.items() if test is not None and test.p_wilcoxon is not None}


def _claim(tests: Mapping[str, PairedTest]) -> float:
    """The p-value of being better than every baseline: the largest of them all, 1 where one is not behind."""
    return max((test.p_wilcoxon or 0.0 if test.difference > 0.0 else 1.0 for test in tests.values()), default=1.0)


def _behind(tests: Mapping[str, PairedTest], favourite: str) -> tuple[str | None, float]:
    """The baseline that a loss is behind by the smallest p-value, and that: of the favourite, or corrected for all."""
    found = {
        name: min(1.0, (test.p_wilcoxon or 0.0) * (1 if name == favourite else len(tests)))
        for name, test in tests.items()
        if test.high is not None and test.high < 0.0
    }
    best = min(found, key=lambda name: (found[name], tests[name].difference), default=None)
    return (None, 1.0) if best is None else (best, found[best])


@dataclass(frozen=True)
class _Judging:
    """One scene's verdicts, each from the tests of one loss."""

    scene: SceneMeasurements
    values: PairedValues
    baselines: Sequence[str]  #: those that did not fail

    def verdict(self, judged: Judged, tests: Mapping[str, PairedTest], claim: float, behind: str | None) -> Verdict:
        values, loss = self.values, judged.loss
        closest = max(self.baselines, key=lambda each: values.mean(each) or 0.0, default=None)
        test = tests.get(closest) if closest is not None else None
        said, why = self._said(loss, tests, claim, behind, closest)
        first = values.first(loss)
        random_test = None if self.scene.random_search is None else values.test(loss, self.scene.random_search)
        other = None if closest is None or test is None else values.two_way(loss, closest)
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
            verdict=said,
            why=why,
            baselines=len(self.baselines),
            closest=closest,
            closest_mean=None if closest is None else values.mean(closest),
            difference=None if test is None else test.difference,
            low=None if test is None else test.low,
            high=None if test is None else test.high,
            low_on_other_samples=None if other is None else other[0],
            high_on_other_samples=None if other is None else other[1],
            p=claim if tests else None,
            random_search=self.scene.random_search,
            random_difference=None if random_test is None else random_test.difference,
            random_low=None if random_test is None else random_test.low,
            random_high=None if random_test is None else random_test.high,
            random_p=None if random_test is None else random_test.p_wilcoxon,
            chosen_from=self.scene.chosen_from,
        )

    def _said(
        self, loss: str, tests: Mapping[str, PairedTest], claim: float, behind: str | None, closest: str | None
    ) -> tuple[Said, str]:
        """The verdict, and why."""
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
            ahead = sorted(tests, key=lambda name: tests[name].difference)  # those it is least ahead of first
            level = [name for name in ahead if (tests[name].low or 0.0) <= 0.0] or ahead[:1]
            return "no difference shown", f"not shown to be better than {_listed(level)}"
        unbeaten = [name for name in self._failed if not self._beaten(loss, name)]
        if unbeaten:
            return "no difference shown", (
                f"not shown to be better than {_listed(unbeaten)}, which failed, under the seeds that were finished"
            )
        return self._beyond_the_split(loss, tests)

    @cached_property
    def _failed(self) -> list[str]:
        """Baselines that failed under a seed, or never ran."""
        return [each for each in self.scene.baselines if each not in self.baselines]

    def _beaten(self, loss: str, failed: str) -> bool:
        """Whether a baseline that failed under some seeds is behind under the others; one without any is."""
        test = self.values.test_of_finished(loss, failed)
        return test is None or (test.low or 0.0) > 0.0

    def _beyond_the_split(self, loss: str, tests: Mapping[str, PairedTest]) -> tuple[Said, str]:
        """Better by the seeds: by the samples, too?"""
        samples, found_on = self.values.samples(loss), self.scene.validation_samples
        least = min(test.difference for test in tests.values())
        intervals = {name: self.values.two_way(loss, name) for name in tests}
        open_ones = [name for name, each in intervals.items() if each is not None and each[0] <= 0.0]
        if open_ones:
            return "split too small", (
                f"ahead of every baseline under these seeds, but the split has {samples} samples: on other ones it may "
                f"not be ahead of {_listed(open_ones)}"
            )
        if found_on is not None and least * found_on < 1.0:
            return "split too small", (
                f"ahead by {least:.4f}, but the validation split by which it was chosen has {found_on} samples: less "
                "than one of them"
            )
        why = f"better than each of {len(tests)} baselines"
        if self._failed:
            why += f"; {_listed(self._failed)} failed"
        if samples is None:
            why += "; by the seeds alone, since what other samples would say cannot be told of this metric"
        return "better than every baseline", why


def _listed(names: Sequence[str]) -> str:
    """Up to three names, and how many more there are."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
