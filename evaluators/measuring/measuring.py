"""Measures everything of a trained cohort on a split, as records."""

import math
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import torch

from lossearch.evaluators.cohort.cohort import Cohort
from lossearch.evaluators.cohort.outputs import CohortOutputs
from lossearch.evaluators.measuring.measures import confusion_matrix, correct_samples, measures
from lossearch.evaluators.training.calibration import SAMPLES, gradient_size
from lossearch.evaluators.training.one_by_one import Measurable
from lossearch.evaluators.training.outcome import NOT_FINITE, Outcome
from lossearch.evaluators.work import Candidate, Work, evaluation_id, fidelity_of
from lossearch.results.records import Measurement, digest


def measurements(
    candidates: Sequence[Candidate],
    outcomes: Sequence[Outcome],
    cohort: Cohort | Measurable,
    work: Work,
    seconds: Sequence[float],
) -> Iterator[Measurement]:
    """Every measure of every candidate under every seed, on the split that the work names, or the metric alone.

    ``seconds`` are those of a training of each candidate.
    """
    if work.metric_alone:
        yield from _fitness(candidates, outcomes, work, seconds)
        return
    measuring = _Measuring(work, CohortOutputs(cohort) if isinstance(cohort, Cohort) else cohort)
    for place, (candidate, outcome) in enumerate(zip(candidates, outcomes, strict=True)):
        for number, (seed, reason) in enumerate(zip(work.seeds, outcome.reasons, strict=True)):
            found = None if reason is not None else measuring.of(place, number)
            if found is None:
                yield not_measured(candidate, work, seed, reason or NOT_FINITE)
                continue
            values, beside_metric = found
            for name, value in values.items():
                yield _measurement(
                    candidate,
                    work,
                    seed,
                    name,
                    value=value,
                    calibration=outcome.calibration,
                    seconds=seconds[place],
                    **(beside_metric if name == work.on.metric.name else {}),
                )


def _fitness(
    candidates: Sequence[Candidate], outcomes: Sequence[Outcome], work: Work, seconds: Sequence[float]
) -> Iterator[Measurement]:
    """The metric on the validation split, which training has found already."""
    assert work.measured == "validation"
    for candidate, outcome, spent in zip(candidates, outcomes, seconds, strict=True):
        for seed, value, reason in zip(work.seeds, outcome.fitness, outcome.reasons, strict=True):
            if value is None:
                yield not_measured(candidate, work, seed, reason or NOT_FINITE)
            else:
                name, factor = work.on.metric.name, outcome.calibration
                yield _measurement(candidate, work, seed, name, value=value, calibration=factor, seconds=spent)


class _Measuring:
    """Measures trained networks on a split, and the gradient at the embedding on some samples of training."""

    def __init__(self, work: Work, trained: CohortOutputs | Measurable) -> None:
        self._task, self._trained = work.on, trained
        train = self._task.load().train
        count = max(1, SAMPLES // train.targets_of_an_input)
        rows = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))[:count]  # not of one class
        self._split = self._task.load_test() if work.measured == "test" else self._task.load().validation
        self._trained_on = train.part(rows)

    def of(self, candidate: int, seed: int) -> tuple[dict[str, float], dict[str, tuple[int, ...]]] | None:
        """The measures of a candidate under a seed, and what is recorded beside the metric.

        None where outputs are not finite.
        """
        outputs, on = self._trained.outputs(candidate, seed, self._split), self._trained_on
        if not outputs.finite:
            return None
        values = measures(self._task.metric.name, outputs, self._split)
        embeddings = self._trained.outputs(candidate, seed, on).embeddings
        size = gradient_size(self._trained.attached(candidate, seed), embeddings, on.targets.flatten())
        values |= {"gradient at the embedding": size} if math.isfinite(size) else {}
        confusion = confusion_matrix(outputs, self._split) if self._split.pairs is None else ()
        return values, {"confusion": confusion, "right": correct_samples(self._task.metric.name, outputs, self._split)}


def not_measured(candidate: Candidate, work: Work, seed: int, reason: str) -> Measurement:
    """The record of a training that was not finished."""
    return _measurement(candidate, work, seed, work.on.metric.name, reason=reason)


def measurement_id(candidate: Candidate, work: Work, seed: int, measure: str) -> str:
    """Identifies a measure of one training: the same in every process and after every restart."""
    return digest(candidate.name, evaluation_id(candidate, work, seed), work.measured, measure)


def _measurement(candidate: Candidate, work: Work, seed: int, measure: str, **outcome: Any) -> Measurement:
    assert work.measured is not None
    fidelity = fidelity_of(candidate, work)
    return Measurement(
        measurement_id=measurement_id(candidate, work, seed, measure),
        task=work.task,
        loss=candidate.called,
        formula=candidate.formula,
        class_weights=candidate.class_weights,
        fidelity=fidelity.label(),
        seed=seed,
        split=work.measured,
        measure=measure,
        learning_rate=fidelity.learning_rate,
        finished_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        **{"value": None, **outcome},
    )
