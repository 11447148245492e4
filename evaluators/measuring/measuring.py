"""Measure every candidate of a trained cohort on a split, and write the measures as records."""

import math
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import torch

from lossearch.evaluators.cohort.cohort import Cohort
from lossearch.evaluators.cohort.outputs import CohortOutputs
from lossearch.evaluators.measuring.measures import compute_measures, confusion_matrix, correct_samples
from lossearch.evaluators.training.calibration import SAMPLES, gradient_size
from lossearch.evaluators.training.one_by_one import OneByOne
from lossearch.evaluators.training.outcome import NOT_FINITE, Outcome
from lossearch.evaluators.work import Candidate, Work, evaluation_id, fidelity_of
from lossearch.results.records import Measurement, digest


def measure_candidates(
    candidates: Sequence[Candidate],
    outcomes: Sequence[Outcome],
    trainer: Cohort | OneByOne,
    work: Work,
    seconds: Sequence[float],
) -> Iterator[Measurement]:
    """Measure every candidate under every seed on the split that the work names; the metric alone if it asks for that.

    ``seconds`` holds the time of one training of each candidate.
    """
    if work.metric_alone:
        yield from _record_fitness(candidates, outcomes, work, seconds)
        return
    measurer = _Measurer(work, CohortOutputs(trainer) if isinstance(trainer, Cohort) else trainer)
    metric = work.get_task().metric.name
    for place, (candidate, outcome) in enumerate(zip(candidates, outcomes, strict=True)):
        for seed_place, (seed, reason) in enumerate(zip(work.seeds, outcome.reasons, strict=True)):
            measured = None if reason is not None else measurer.measure(place, seed_place)
            if measured is None:
                yield not_measured(candidate, work, seed, reason or NOT_FINITE)
                continue
            values, details = measured
            for name, value in values.items():
                yield _record(
                    candidate,
                    work,
                    seed,
                    name,
                    value=value,
                    calibration=outcome.calibration,
                    seconds=seconds[place],
                    **(details if name == metric else {}),
                )


def not_measured(candidate: Candidate, work: Work, seed: int, reason: str) -> Measurement:
    """Record a training that was not finished, with the reason."""
    return _record(candidate, work, seed, work.get_task().metric.name, reason=reason)


def measurement_id(candidate: Candidate, work: Work, seed: int, measure: str) -> str:
    """Return the identity of a measure of one training: the same in every process and after every restart."""
    return digest(candidate.name, evaluation_id(candidate, work, seed), work.measured, measure)


def _record_fitness(
    candidates: Sequence[Candidate], outcomes: Sequence[Outcome], work: Work, seconds: Sequence[float]
) -> Iterator[Measurement]:
    """Record the metric on the validation split, which training has computed already."""
    assert work.measured == "validation"
    metric = work.get_task().metric.name
    for candidate, outcome, spent in zip(candidates, outcomes, seconds, strict=True):
        for seed, value, reason in zip(work.seeds, outcome.fitness, outcome.reasons, strict=True):
            if value is None:
                yield not_measured(candidate, work, seed, reason or NOT_FINITE)
            else:
                factor = outcome.calibration
                yield _record(candidate, work, seed, metric, value=value, calibration=factor, seconds=spent)


class _Measurer:
    """Measurer of trained networks on a split, and of the gradient at the embedding on some training samples."""

    def __init__(self, work: Work, trained: CohortOutputs | OneByOne) -> None:
        self._task, self._trained = work.get_task(), trained
        splits = self._task.load()
        count = max(1, SAMPLES // splits.train.targets_of_an_input)
        # At random, because the first samples may be of one class.
        rows = torch.randperm(len(splits.train), generator=torch.Generator().manual_seed(0))[:count]
        self._train_samples = splits.train.part(rows)
        self._split = self._task.load_test() if work.measured == "test" else splits.validation

    def measure(self, candidate: int, seed: int) -> tuple[dict[str, float], dict[str, tuple[int, ...]]] | None:
        """Return the measures of a candidate under a seed, and the details to record with the metric.

        Returns None if outputs are not finite.
        """
        metric, samples = self._task.metric.name, self._train_samples
        outputs = self._trained.outputs(candidate, seed, self._split)
        if not outputs.is_finite:
            return None
        values = compute_measures(metric, outputs, self._split)
        embeddings = self._trained.outputs(candidate, seed, samples).embeddings
        size = gradient_size(self._trained.attached_loss(candidate, seed), embeddings, samples.targets.flatten())
        if math.isfinite(size):
            values["gradient at the embedding"] = size
        confusion = confusion_matrix(outputs, self._split) if self._split.pairs is None else ()
        return values, {"confusion": confusion, "right": correct_samples(metric, outputs, self._split)}


def _record(candidate: Candidate, work: Work, seed: int, measure: str, **outcome: Any) -> Measurement:
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
