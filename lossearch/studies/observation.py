"""Observe the best losses of a run: train each once in full, and cross-entropy too, and keep the course."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from lossearch.evaluators.measuring.observing import ObservedTraining, observe_training
from lossearch.evaluators.training.outcome import TrainingFailed
from lossearch.evaluators.work import training_seed
from lossearch.primitives.errors import Argument, UserError, shown
from lossearch.primitives.language.parser import parse
from lossearch.results.findings.observation import (
    CoursePoint,
    EmbeddedPoint,
    GridPoint,
    Observation,
    ObservationForm,
    Picture,
)
from lossearch.results.findings.tuned_forms import TunedForm
from lossearch.results.leaderboard import Leaderboard
from lossearch.results.ranking.row import Row
from lossearch.results.report.contents import find_best
from lossearch.results.report.observed import find_tuned_form, folder_of_training
from lossearch.runs import seed_ranges
from lossearch.runs.directory import RunDirectory, named_data, require_writable
from lossearch.runs.experiment import Experiment, full_training
from lossearch.runs.session import require_data

_OWN_DATA = Argument("own_data")


def observe(run: Path, top: int, say: Callable[[str], None], own_data: bool = False) -> None:
    """Train the ``top`` losses of a run, the judged one and cross-entropy on its first task, unless that was done.

    A tuned loss is trained in its tuned form, with its tuned learning rate, and cross-entropy beside it likewise.
    ``say`` receives a message before each training. A run may come from a stranger: data that it names on this machine
    is read with ``own_data`` alone. Raises UserError and RunDirectoryError.
    """
    board = Leaderboard(run)
    if not board.ranked or top < 1:
        return
    unobserved = [pair for pair in _choose_trainings(board, top) if not _is_observed(run, *pair)]
    if not unobserved:
        return
    require_writable(run / "observation")
    if not own_data:
        _require_public(run)
    RunDirectory.require_data(run)
    experiment = RunDirectory.recorded(run)
    require_data(experiment, experiment.tasks[:1])
    for number, (row, form) in enumerate(unobserved, start=1):
        formula, rate = (row.formula, "") if form is None else (form.formula, f", learning rate {form.learning_rate:g}")
        say(f"Training {number} of {len(unobserved)}, to show how it goes: {row.name or formula}{rate}")
        with threadpool_limits(1):  # the problems are small, and threads would wait for each other
            _observe(row, form, experiment).write(folder_of_training(run, row, form))


def _choose_trainings(board: Leaderboard, top: int) -> list[tuple[Row, TunedForm | None]]:
    """Return the losses to train, each with its tuned form or None, and cross-entropy as the others are trained."""
    rows = [row for row in board.rows[:top] if row.rank is not None]
    best, baseline = find_best(board), board.baseline
    if best is not None and best.row not in rows:
        rows.append(best.row)
    trainings = [(row, find_tuned_form(board, row)) for row in rows]
    if baseline is not None:
        tuned = find_tuned_form(board, baseline)
        beside = dict.fromkeys(None if form is None else tuned for _, form in trainings)
        trainings += [(baseline, form) for form in beside if (baseline, form) not in trainings]
    return trainings


def _is_observed(run: Path, row: Row, form: TunedForm | None) -> bool:
    return (folder_of_training(run, row, form) / "form.parquet").exists()


def _require_public(run: Path) -> None:
    """Raise UserError if a run names data of this machine, and the report would show it."""
    try:
        named = named_data(run / RunDirectory.FILE).values()
    except FileNotFoundError:  # said where the declaration is read
        return
    if named:
        paths = ", ".join(shown(path, limit=1_000) for path in named)
        raise UserError(f"{run} names data on this machine, {paths}. To train on it and show it, add ", _OWN_DATA, ".")


def _observe(row: Row, tuned: TunedForm | None, experiment: Experiment) -> Observation:
    """Train a loss and return what was observed, or why its training failed."""
    name, formula = experiment.tasks[0], row.formula if tuned is None else tuned.formula
    task, fidelity = experiment.task_named(name), full_training(experiment, name).model_copy(update={"seeds": 1})
    if tuned is not None:
        fidelity = fidelity.model_copy(update={"learning_rate": tuned.learning_rate})
    work = experiment.work(name, fidelity=fidelity, measured="validation")
    seed = training_seed(work, seed_ranges.OBSERVATION)
    form = ObservationForm(
        loss_id=row.loss_id,
        formula=formula,
        class_weights=row.class_weights,
        task=name,
        metric=task.metric.name,
        fidelity=fidelity.label(),
        seed=seed,
        confusion=(),
    )
    try:
        training = observe_training(parse(formula), row.class_weights, task, fidelity, seed)
    except TrainingFailed as failure:
        return Observation(replace(form, reason=str(failure)), [], [], [], [])
    return Observation(
        replace(form, confusion=training.confusion),
        [CoursePoint(**asdict(point)) for point in training.course],
        list(_embed(training)),
        [
            *(GridPoint("value", *point) for point in training.values),
            *(GridPoint("ratio", *point) for point in training.ratios),
        ],
        _make_pictures(training),
    )


def _embed(training: ObservedTraining) -> Sequence[EmbeddedPoint]:
    """Embed samples in two dimensions by t-SNE; none if there are too few."""
    count = len(training.embeddings)
    if count < 10:
        return []
    perplexity = min(30.0, (count - 1) / 3)
    points = TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(training.embeddings.numpy())
    rows = zip(points.tolist(), training.targets.tolist(), training.predicted.tolist(), strict=True)
    return [EmbeddedPoint(x, y, target, predicted) for (x, y), target, predicted in rows]


def _make_pictures(training: ObservedTraining) -> list[Picture]:
    if training.images is None or training.maps is None:
        return []

    def numbers(values: torch.Tensor) -> tuple[float, ...]:
        return tuple(round(value, 4) for value in values.flatten().tolist())

    height, width = training.images.shape[1:]
    return [
        Picture(height, width, numbers(image), numbers(saliency))
        for image, saliency in zip(training.images, training.maps, strict=True)
    ]
