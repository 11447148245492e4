"""Tune every loss of a comparison on one task, in rounds; all losses of a round share cohorts.

Invariant: every loss gets the same number of settings, the learning rate among them, under the same seeds. A comparison
uses other seeds. Settings are judged on the validation split alone.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lossearch.evaluators.work import Candidate, Work
from lossearch.results.records import digest
from lossearch.results.statistics.intervals import mean
from lossearch.runs import seed_ranges
from lossearch.runs.named_loss import RATE, tunable, with_settings
from lossearch.studies.comparison import Comparison
from lossearch.studies.measuring import MeasurementRunner
from lossearch.studies.tuner import Tuner

#: Rounds of settings: each learns from those before. Fewer if the learning rate is the only setting.
ROUNDS, ROUNDS_OF_A_RATE = 6, 2


@dataclass(frozen=True)
class Tuned:
    """A loss of a comparison with the settings that were best on a task's validation split."""

    loss: str  #: as the comparison names it
    candidate: Candidate
    settings: dict[str, float]
    value: float | None  #: mean of the metric under the seeds of tuning, or under further ones; None if it failed
    trials: int
    pruned: int


def tuned_losses(comparison: Comparison, task: str, trials: MeasurementRunner, journal: Path) -> list[Tuned]:
    """Tune every loss of the comparison on a task's validation split.

    Optuna and its dashboard can read all trials in the ``journal``: a study ``TASK: LOSS`` for each loss.
    """
    fidelity = comparison.fidelity_of[task].model_copy(update={"seeds": 1})
    work = comparison.work(
        task, fidelity=fidelity, measured="validation", metric_alone=True, first_seed=seed_ranges.TUNING
    )
    given = comparison.settings.get(task, {})
    tuners = {}
    for text in comparison.all_losses():
        settings = tunable(text, fidelity.learning_rate)
        sought = [setting for setting in settings if setting.name not in given.get(text, {})]
        tuners[text] = Tuner(sought, comparison.tune if sought else 1, _make_seed(comparison, task, text))
    rounds = ROUNDS if any(tuner.seeks_more_than(RATE) for tuner in tuners.values()) else ROUNDS_OF_A_RATE
    for _ in range(rounds):
        _run_round(tuners, comparison, work, trials, math.ceil(comparison.tune / rounds))
    for text, tuner in tuners.items():
        tuner.keep(journal, f"{task}: {text}")
    tuned = [_find_best(text, tuner, given.get(text, {})) for text, tuner in tuners.items()]
    return _confirm(tuned, comparison, work, trials) if comparison.confirm else tuned


def _run_round(
    tuners: Mapping[str, Tuner], comparison: Comparison, work: Work, trials: MeasurementRunner, max_settings: int
) -> None:
    """Ask every tuner for settings, train with all open ones under one seed after the other, and report the values."""
    given = comparison.settings.get(work.task, {})
    for tuner in tuners.values():
        tuner.ask(max_settings)
    for number in range(comparison.tune_seeds):
        under_seed = replace(work, first_seed=work.first_seed + number)
        candidates = {
            text: [with_settings(text, {**given.get(text, {}), **settings}) for settings in tuner.open_settings()]
            for text, tuner in tuners.items()
        }
        everyone = tuple(candidate for of_loss in candidates.values() for candidate in of_loss)
        trials.complete([replace(under_seed, candidates=everyone)])
        seeds_left = comparison.tune_seeds - 1 - number
        for text, of_loss in candidates.items():
            values = [_get_value(candidate, under_seed, trials) for candidate in of_loss]
            tuners[text].report(values, is_last=seeds_left == 0)
            num_pruned = len(of_loss) - len(tuners[text].open_settings())
            trials.leave_out(seeds_left * num_pruned, work.task)


def _find_best(text: str, tuner: Tuner, given: Mapping[str, float]) -> Tuned:
    best = tuner.best()
    settings = {**given, **best.settings}
    pruned = sum(trial.pruned for trial in tuner.trials)
    return Tuned(text, with_settings(text, settings), settings, best.value, len(tuner.trials), pruned)


def _confirm(tuned: Sequence[Tuned], comparison: Comparison, work: Work, trials: MeasurementRunner) -> list[Tuned]:
    """Replace the value of each loss by its mean under seeds that did not choose its settings.

    The best of many settings was lucky under its own seeds, more so with fewer seeds.
    """
    finished = tuple(loss.candidate for loss in tuned if loss.value is not None)
    fidelity = work.fidelity.model_copy(update={"seeds": comparison.confirm})
    first = work.first_seed + comparison.tune_seeds
    fresh = replace(work, candidates=finished, fidelity=fidelity, first_seed=first)
    trials.complete([fresh])
    trials.leave_out(comparison.confirm * (len(tuned) - len(finished)), work.task)
    return [
        loss if loss.value is None else replace(loss, value=_average(loss.candidate, fresh, trials)) for loss in tuned
    ]


def _average(candidate: Candidate, work: Work, trials: MeasurementRunner) -> float | None:
    """Average the metric over the seeds of the work; None if a training failed."""
    values = [record.value for record in trials.of(candidate, work) or ()]
    finished = [value for value in values if value is not None]
    return mean(finished) if finished and len(finished) == len(values) else None


def _get_value(candidate: Candidate, work: Work, trials: MeasurementRunner) -> float | None:
    """Return the metric under the one seed of the work; None if the training failed."""
    records = trials.of(candidate, work)
    return records[0].value if records else None


def _make_seed(comparison: Comparison, task: str, text: str) -> int:
    """Return the seed of the tuner of a loss on a task."""
    return int(digest("tuning", comparison.seed, task, text)[:8], 16)
