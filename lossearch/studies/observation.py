"""Observes the best losses of a run: each is trained once in full, beside cross-entropy, and its course is kept."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from lossearch.evaluators.measuring.observing import Observed, observed
from lossearch.evaluators.training.outcome import TrainingFailed
from lossearch.evaluators.work import training_seed
from lossearch.primitives.language.parser import parse
from lossearch.results.findings.observation import (
    CoursePoint,
    EmbeddedPoint,
    GridPoint,
    Observation,
    ObservationForm,
    Picture,
    observation_folder,
)
from lossearch.results.leaderboard import Leaderboard
from lossearch.results.ranking.row import Row
from lossearch.runs import seed_ranges
from lossearch.runs.directory import RunDirectory
from lossearch.runs.experiment import Experiment, full_training
from lossearch.runs.session import require_data


def observe(run: Path, top: int, say: Callable[[str], None]) -> None:
    """Train the ``top`` losses of a run and cross-entropy on its first task, unless that was done before.

    ``say`` receives a message before each training. Raises UserError and RunDirectoryError.
    """
    experiment, board = RunDirectory.recorded(run), Leaderboard(run)
    rows = [row for row in board.rows[:top] if row.rank is not None]
    if not rows:
        return
    rows += [row for row in (board.baseline,) if row is not None and row not in rows]
    left = [row for row in rows if not (observation_folder(run, row.loss_id) / "form.parquet").exists()]
    require_data(experiment, experiment.tasks[:1])
    for number, row in enumerate(left, start=1):
        say(f"Training {number} of {len(left)}, to show how it goes: {row.name or row.formula}")
        with threadpool_limits(1):  # the problems are small, and threads would wait for each other
            _observe(row, experiment).write(observation_folder(run, row.loss_id))


def _observe(row: Row, experiment: Experiment) -> Observation:
    """Train a loss and return what was observed, or why its training failed."""
    name = experiment.tasks[0]
    task, fidelity = experiment.task_named(name), full_training(experiment, name).model_copy(update={"seeds": 1})
    work = experiment.work(name, fidelity=fidelity, measured="validation")
    seed = training_seed(work, seed_ranges.OBSERVATION)
    form = ObservationForm(
        loss_id=row.loss_id,
        formula=row.formula,
        class_weights=row.class_weights,
        task=name,
        metric=task.metric.name,
        fidelity=fidelity.label(),
        seed=seed,
        confusion=(),
    )
    try:
        seen = observed(parse(row.formula), row.class_weights, task, fidelity, seed)
    except TrainingFailed as failure:
        return Observation(replace(form, reason=str(failure)), [], [], [], [])
    return Observation(
        replace(form, confusion=seen.confusion),
        [CoursePoint(**asdict(point)) for point in seen.course],
        list(_embedded(seen)),
        [GridPoint(what, *each) for what in ("value", "ratio") for each in getattr(seen, f"{what}s")],
        _pictures(seen),
    )


def _embedded(seen: Observed) -> Sequence[EmbeddedPoint]:
    """Embeddings in two dimensions; none if they are too few for t-SNE."""
    count = len(seen.embeddings)
    if count < 10:
        return []
    perplexity = min(30.0, (count - 1) / 3)
    points = TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(seen.embeddings.numpy())
    rows = zip(points.tolist(), seen.targets.tolist(), seen.found.tolist(), strict=True)
    return [EmbeddedPoint(x, y, target, found) for (x, y), target, found in rows]


def _pictures(seen: Observed) -> list[Picture]:
    if seen.images is None or seen.maps is None:
        return []

    def numbers(values: torch.Tensor) -> tuple[float, ...]:
        return tuple(round(value, 4) for value in values.flatten().tolist())

    height, width = seen.images.shape[1:]
    return [
        Picture(height, width, numbers(image), numbers(saliency))
        for image, saliency in zip(seen.images, seen.maps, strict=True)
    ]
