"""Tunes every loss of a comparison on one task, in rounds, all losses of a round in the same cohorts.

Invariant: every loss gets as many settings, the learning rate among them, under the same seeds, which are others than
those of the comparison; they are judged on the validation split alone.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lossearch.evaluators.work import Candidate, Work
from lossearch.results.records import digest
from lossearch.results.statistics.intervals import mean
from lossearch.runs.named_loss import RATE, tunable, with_settings
from lossearch.studies.comparison import Comparison
from lossearch.studies.measuring import MeasurementRunner
from lossearch.studies.tuner import Tuner

#: The first seed by which settings are tuned; those of a comparison count from 0.
SEEDS_FROM = 2_000_000

#: Rounds in which settings are asked for: each learns from those before. Fewer where the learning rate alone is sought.
ROUNDS, ROUNDS_OF_A_RATE = 6, 2


@dataclass(frozen=True)
class Tuned:
    """A loss of a comparison with the settings that were best on a task's validation split."""

    loss: str  #: as it is named in the comparison
    candidate: Candidate
    settings: dict[str, float]
    value: float | None  #: mean of the metric under the seeds of tuning, or under further ones; None where it failed
    trials: int
    pruned: int


def tuned_losses(comparison: Comparison, task: str, trials: MeasurementRunner, journal: Path) -> list[Tuned]:
    """Every loss of the comparison with the settings that were best on the task's validation split.

    What was tried stands in the ``journal`` afterwards, for Optuna: a study for each loss, called ``TASK: LOSS``.
    """
    fidelity = comparison.fidelity_of[task].model_copy(update={"seeds": 1})
    whole = Work(
        (),
        task,
        fidelity,
        comparison.seed,
        device=comparison.executor.device,
        data=comparison.data.get(task),
        measured="validation",
        metric_alone=True,
        unhurried=True,
        first_seed=SEEDS_FROM,
    )
    given = comparison.settings.get(task, {})
    tuners = {}
    for text in comparison.all_losses():
        own = tunable(text, fidelity.learning_rate)
        sought = [each for each in own if each.name not in given.get(text, {})]
        tuners[text] = Tuner(sought, comparison.tune if sought else 1, _seed(comparison, task, text))
    rounds = ROUNDS if any(tuner.seeks_more_than(RATE) for tuner in tuners.values()) else ROUNDS_OF_A_RATE
    for _ in range(rounds):
        _round(tuners, comparison, whole, trials, math.ceil(comparison.tune / rounds))
    for text, tuner in tuners.items():
        tuner.keep(journal, f"{task}: {text}")
    tuned = [_tuned(text, tuner, given.get(text, {})) for text, tuner in tuners.items()]
    return _confirmed(tuned, comparison, whole, trials) if comparison.confirm else tuned


def _tuned(text: str, tuner: Tuner, given: Mapping[str, float]) -> Tuned:
    best = tuner.best()
    settings = {**given, **best.settings}
    pruned = sum(each.pruned for each in tuner.tried)
    return Tuned(text, with_settings(text, settings), settings, best.value, len(tuner.tried), pruned)


def _confirmed(tuned: Sequence[Tuned], comparison: Comparison, whole: Work, trials: MeasurementRunner) -> list[Tuned]:
    """The losses with what their settings are worth under seeds by which these were not chosen.

    The best of many settings was lucky under its own seeds, the more so the fewer they were.
    """
    finished = tuple(each.candidate for each in tuned if each.value is not None)
    fidelity = whole.fidelity.model_copy(update={"seeds": comparison.confirm})
    first = whole.first_seed + comparison.tune_seeds
    work = replace(whole, candidates=finished, fidelity=fidelity, first_seed=first)
    trials.complete([work])
    trials.leave_out(comparison.confirm * (len(tuned) - len(finished)), whole.task)
    return [each if each.value is None else replace(each, value=_mean(each.candidate, work, trials)) for each in tuned]


def _mean(candidate: Candidate, work: Work, trials: MeasurementRunner) -> float | None:
    """The mean of the metric over the work's seeds; None where a training failed."""
    values = [each.value for each in trials.of(candidate, work) or ()]
    told = [each for each in values if each is not None]
    return mean(told) if told and len(told) == len(values) else None


def _round(
    tuners: Mapping[str, Tuner], comparison: Comparison, whole: Work, trials: MeasurementRunner, wanted: int
) -> None:
    """Ask every loss's tuner for settings, train with all that are open under one seed after the other, and tell."""
    given = comparison.settings.get(whole.task, {})
    for tuner in tuners.values():
        tuner.ask(wanted)
    for number in range(comparison.tune_seeds):
        work = replace(whole, first_seed=whole.first_seed + number)
        asked = {
            text: [with_settings(text, {**given.get(text, {}), **each}) for each in tuner.open()]
            for text, tuner in tuners.items()
        }
        trials.complete([replace(work, candidates=tuple(each for own in asked.values() for each in own))])
        left = comparison.tune_seeds - 1 - number
        for text, candidates in asked.items():
            values = [_worth(each, work, trials) for each in candidates]
            tuners[text].tell(values, last=left == 0)
            trials.leave_out(left * (len(candidates) - len(tuners[text].open())), whole.task)


def _worth(candidate: Candidate, work: Work, trials: MeasurementRunner) -> float | None:
    """The metric under the work's one seed; None where the training failed."""
    found = trials.of(candidate, work)
    return found[0].value if found else None


def _seed(comparison: Comparison, task: str, text: str) -> int:
    return int(digest("tuning", comparison.seed, task, text)[:8], 16)
