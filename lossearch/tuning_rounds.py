"""Tunes every loss of a comparison on one task, in rounds, all losses of a round in the same cohorts.

Invariant: every loss gets as many settings, the learning rate among them, under the same seeds, which are others than
those of the comparison; they are judged on the validation split alone.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from evaluators.work import Candidate, Work
from lossearch.comparison import Comparison, candidate_of
from lossearch.measured import Measured
from lossearch.seeds import read_seed
from lossearch.tuning import Tuner
from primitives.catalog import known_loss
from primitives.constants import tunable_constants
from primitives.loss import Hyperparameter
from results.records import digest, loss_id
from results.statistics import mean

#: The first seed by which settings are tuned; those of a comparison count from 0.
SEEDS_FROM = 2_000_000

#: Rounds in which settings are asked for: each learns from those before.
ROUNDS = 6

#: The learning rate is sought between the declared one over this and times this.
LEARNING_RATE_RANGE = 10.0

_RATE = "learning_rate"


def tuned_candidates(comparison: Comparison, task: str, trials: Measured, journal: Path) -> list[Candidate]:
    """Every loss of the comparison with the settings that were best on the task's validation split.

    What was tried stands in the ``journal`` afterwards, for Optuna: a study for each loss, called ``TASK: LOSS``.
    """
    fidelity = comparison.fidelity_of[task].model_copy(update={"seeds": comparison.tune_seeds})
    whole = Work(
        (),
        task,
        fidelity,
        comparison.seed,
        device=comparison.executor.device,
        data=comparison.data.get(task),
        measured="validation",
        unhurried=True,
        first_seed=SEEDS_FROM,
    )
    tuners = {
        text: Tuner(tunable(text, fidelity.learning_rate), comparison.tune, _seed(comparison, task, text))
        for text in comparison.all_losses()
    }
    for _ in range(ROUNDS):
        _round(tuners, math.ceil(comparison.tune / ROUNDS), whole, trials)
    for text, tuner in tuners.items():
        tuner.keep(journal, f"{task}: {text}")
    return [with_settings(text, tuner.best()) for text, tuner in tuners.items()]


def _round(tuners: Mapping[str, Tuner], count: int, whole: Work, trials: Measured) -> None:
    """Ask every loss's tuner for settings, train with all of them, and tell what they were worth."""
    asked = {text: [with_settings(text, each) for each in tuner.ask(count)] for text, tuner in tuners.items()}
    trials.complete([replace(whole, candidates=tuple(each for own in asked.values() for each in own))])
    for text, candidates in asked.items():
        tuners[text].tell([_worth(each, whole, trials) for each in candidates])


def _worth(candidate: Candidate, whole: Work, trials: Measured) -> float | None:
    """Mean of the metric over the seeds; None where a training failed."""
    values = [each.value for each in trials.of(candidate, whole) or []]
    finished = [each for each in values if each is not None]
    return mean(finished) if finished and len(finished) == len(values) else None


def tunable(text: str, learning_rate: float) -> list[Hyperparameter]:
    """What is tuned of a loss: the learning rate, and those of its hyper-parameters that were not given.

    Those of a formula are its numbers.
    """
    seed = read_seed(text)
    own = tunable_constants(seed.formula)[1] if seed.known is None else known_loss(seed.known).hyperparameters
    given = dict(seed.settings)
    rate = Hyperparameter(
        _RATE, learning_rate, learning_rate / LEARNING_RATE_RANGE, learning_rate * LEARNING_RATE_RANGE, log=True
    )
    return [rate, *(each for each in own if each.name not in given)]


def with_settings(text: str, settings: Mapping[str, float]) -> Candidate:
    """The candidate of a loss with these settings, under the name it has without them."""
    plain, seed = candidate_of(text), read_seed(text)
    own = {name: value for name, value in settings.items() if name != _RATE}
    rate = settings[_RATE]
    if not own:
        return replace(plain, learning_rate=rate)
    if seed.known is None:
        formula = tunable_constants(seed.formula)[0].bind(own)
    else:
        formula = known_loss(seed.known).bound(**dict(seed.settings), **own)
    return replace(
        plain,
        name=plain.called,
        loss_id=loss_id(str(formula), plain.class_weights),
        formula=str(formula),
        complexity=formula.size,
        learning_rate=rate,
    )


def _seed(comparison: Comparison, task: str, text: str) -> int:
    return int(digest("tuning", comparison.seed, task, text)[:8], 16)
