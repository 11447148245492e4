"""Measures everything of a trained cohort on a split, as records."""

import math
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import torch

from evaluators.cohort import Cohort
from evaluators.gradient_size import SAMPLES, gradient_size
from evaluators.measures import confusion_matrix, measures
from evaluators.one_by_one import OneByOne
from evaluators.outcome import NOT_FINITE, Outcome
from evaluators.work import Candidate, Work, evaluation_id, fidelity_of
from results.records import Measurement, digest


def measurements(
    candidates: Sequence[Candidate],
    outcomes: Sequence[Outcome],
    cohort: Cohort | OneByOne,
    work: Work,
    seconds: float,
) -> Iterator[Measurement]:
    """Every measure of every candidate under every seed, on the split that the work names."""
    task = work.on
    split = task.load_test() if work.measured == "test" else task.load().validation
    train = task.load().train
    trained_on = train.part(torch.arange(min(len(train), max(1, SAMPLES // train.targets_of_an_input))))
    for place, (candidate, outcome) in enumerate(zip(candidates, outcomes, strict=True)):
        for number, (seed, reason) in enumerate(zip(work.seeds, outcome.reasons, strict=True)):
            if reason is not None:
                yield not_measured(candidate, work, seed, reason)
                continue
            outputs = cohort.outputs(place, number, split)
            if not outputs.finite:
                yield not_measured(candidate, work, seed, NOT_FINITE)
                continue
            found = measures(task.metric.name, outputs, split)
            pull = gradient_size(
                cohort.attached(place, number),
                cohort.outputs(place, number, trained_on).embeddings,
                trained_on.targets.flatten(),
            )
            found |= {"gradient at the embedding": pull} if math.isfinite(pull) else {}
            for name, value in found.items():
                of_metric = name == task.metric.name and split.pairs is None
                yield _measurement(
                    candidate,
                    work,
                    seed,
                    name,
                    value=value,
                    calibration=outcome.calibration,
                    seconds=seconds,
                    confusion=confusion_matrix(outputs, split) if of_metric else (),
                )


def not_measured(candidate: Candidate, work: Work, seed: int, reason: str) -> Measurement:
    """The record of a training that was not finished."""
    return _measurement(candidate, work, seed, work.on.metric.name, reason=reason)


def measurement_id(candidate: Candidate, work: Work, seed: int, measure: str) -> str:
    """Identifies a measure of one training: the same in every process and after every restart."""
    return digest(evaluation_id(candidate, work, seed), work.measured, measure)


def _measurement(candidate: Candidate, work: Work, seed: int, measure: str, **outcome: object) -> Measurement:
    assert work.measured is not None
    fidelity = fidelity_of(candidate, work)
    return Measurement(
        measurement_id=measurement_id(candidate, work, seed, measure),
        task=work.task,
        loss=candidate.name or candidate.formula,
        formula=candidate.formula,
        class_weights=candidate.class_weights,
        fidelity=fidelity.label(),
        seed=seed,
        split=work.measured,
        measure=measure,
        learning_rate=fidelity.learning_rate,
        finished_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        **{"value": None, **outcome},  # type: ignore[arg-type]
    )
