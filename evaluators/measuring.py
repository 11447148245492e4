"""Measures everything of a trained cohort on a split, as records."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from evaluators.cohort import Cohort
from evaluators.measures import measures
from evaluators.one_by_one import OneByOne
from evaluators.outcome import Outcome
from evaluators.tasks import known_task
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
    assert work.measured is not None
    task = known_task(work.task)
    split = task.load_test() if work.measured == "test" else task.load().validation
    for place, (candidate, outcome) in enumerate(zip(candidates, outcomes, strict=True)):
        for seed, reason in enumerate(outcome.reasons):
            found: dict[str, float | None] = {task.metric.name: None}
            if reason is None:
                found = dict(measures(task.metric.name, cohort.outputs(place, seed, split), split))
            for name, value in found.items():
                yield Measurement(
                    measurement_id=digest(evaluation_id(candidate, work, seed), work.measured, name),
                    task=work.task,
                    loss=candidate.name or candidate.formula,
                    formula=candidate.formula,
                    class_weights=candidate.class_weights,
                    fidelity=fidelity_of(candidate, work).label(),
                    seed=seed,
                    split=work.measured,
                    measure=name,
                    value=value,
                    reason=reason,
                    calibration=outcome.calibration,
                    learning_rate=fidelity_of(candidate, work).learning_rate,
                    seconds=seconds,
                    finished_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
                )
