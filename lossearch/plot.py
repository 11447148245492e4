"""Plots: each figure of the report on its own, as a plotly figure.

A notebook shows the figures. ``figure.write_html("a.html")`` writes one that can be zoomed. ``figure.write_image(
"a.svg")`` (or ``.png``, ``.pdf``) writes a picture; it needs the extra ``lossearch[plot]`` and a Chrome or Chromium.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypeVar, get_args

from lossearch.primitives.arguments import (
    refuse_unknown_arguments,
    require_choice,
    require_count,
    require_text,
    require_whole,
)
from lossearch.primitives.errors import UserError
from lossearch.results.findings.curves import Drawn
from lossearch.results.findings.observation import Observation, read_observation
from lossearch.results.findings.tuned_forms import TunedForm
from lossearch.results.leaderboard import Entry, Leaderboard
from lossearch.results.ranking.row import Row
from lossearch.results.report import run_figures, training_figures
from lossearch.results.report.contents import Generation, read_generations
from lossearch.results.report.drawing import Figure
from lossearch.results.report.loss_facts import CLASSES, EMBEDDING_SIZE, Family, drawn_curves
from lossearch.results.report.observed import find_tuned_form, folder_of_training
from lossearch.runs.named_loss import named_loss

__all__ = [
    "class_maps",
    "confusion",
    "course",
    "curve",
    "embeddings",
    "family",
    "landscape",
    "outcomes",
    "pareto",
    "progress",
]

Item = TypeVar("Item")

#: What a curve, a course and a landscape can show, and the line along which a curve is drawn.
Drawing = Literal["value", "slope"]
Line = Literal["target", "other"]
Course = Literal["fitness", "loss", "gradient"]
Ground = Literal["value", "ratio"]


@refuse_unknown_arguments
def pareto(run: str | Path | Leaderboard, top: int = 3) -> Figure:
    """Draw fitness against size of the losses, with the Pareto front, the known losses and the ``top`` losses.

    Raises NotARun, and UserError if no loss was trained to the end.
    """
    top = require_count("top", top, 0)
    board = _read_board(run)
    _require_ranked(board)
    return run_figures.pareto(list(board.rows), board.rows[: min(top, board.ranked)])


@refuse_unknown_arguments
def progress(run: str | Path | Leaderboard) -> Figure:
    """Draw the best fitness so far and the median of each generation's losses, beside cross-entropy's fitness.

    Raises NotARun, and UserError if no generation has ended.
    """
    board = _read_board(run)
    generations, baseline = _list_generations(board), board.baseline
    baseline_fitness = None if baseline is None else baseline.fitness_mean
    return run_figures.progress(generations, board.rows[0].metric, baseline_fitness)


@refuse_unknown_arguments
def outcomes(run: str | Path | Leaderboard) -> Figure:
    """Draw the outcomes of the losses born in each generation. Raises the same errors as ``progress``."""
    return run_figures.outcomes(_list_generations(_read_board(run)))


@refuse_unknown_arguments
def family(run: str | Path | Leaderboard, rank: int = 1) -> Figure:
    """Draw a loss of a run and its ancestors: generation against fitness.

    Raises NotARun, and UserError for an unknown rank.
    """
    board = _read_board(run)
    row = _find_row(board, rank)
    return run_figures.family(Family(board.rows).ancestors(row), row.metric)


@refuse_unknown_arguments
def curve(
    loss: str | Entry,
    what: Drawing = "slope",
    line: Line = "target",
    *,
    classes: int = CLASSES,
    embedding_size: int = EMBEDDING_SIZE,
) -> Figure:
    """Draw the value or the slope of a loss beside cross-entropy and focal loss.

    ``loss`` is the name of a known loss, a formula, or an entry of a leaderboard. Along ``target`` the probability of
    the target varies, or over embeddings the angle to its class weight. Along ``other`` it is that of one other class.
    Raises UserError for an unknown loss.
    """
    require_choice("what", what, get_args(Drawing))
    require_choice("line", line, get_args(Line))
    classes, embedding_size = require_count("classes", classes, 2), require_count("embedding_size", embedding_size, 2)
    if isinstance(loss, Entry):
        drawn = Drawn(loss.row.name or loss.row.formula, loss.formula, loss.calibration or 1.0)
    else:
        known = named_loss(require_text("loss", loss, "a name, a formula or an entry of a leaderboard"))
        drawn = Drawn(known.name or loss, known.formula, 1.0)
    return run_figures.curve(drawn_curves(drawn, classes, embedding_size), line, what)


@refuse_unknown_arguments
def course(run: str | Path | Leaderboard, rank: int = 1, what: Course = "fitness") -> Figure:
    """Draw one training of a loss step by step, beside cross-entropy's if that was observed.

    This figure and those below show a training that ``lossearch report`` makes and keeps in the run's directory.
    A tuned loss is trained in its tuned form, with its tuned learning rate.
    Raises NotARun, and UserError for an unknown rank, or one whose training was not observed.
    """
    require_choice("what", what, get_args(Course))
    board = _read_board(run)
    row, observation = _read_observed(board, rank)
    both = {_name_trained(row, observation): observation}
    baseline = board.baseline
    if baseline is not None and baseline.loss_id != row.loss_id:
        tuned = find_tuned_form(board, row)
        is_tuned = tuned is not None and _read_training(board, row, tuned) is not None
        form = find_tuned_form(board, baseline) if is_tuned else None
        of_baseline = _read_training(board, baseline, form) or _read_training(board, baseline, None)
        if of_baseline is not None and of_baseline.form.reason is None:
            both[baseline.name or baseline.formula] = of_baseline
    return training_figures.course(both, what)


@refuse_unknown_arguments
def confusion(run: str | Path | Leaderboard, rank: int = 1) -> Figure:
    """Draw the confusion matrix of the validation split. Raises the same errors as ``course``."""
    row, observation = _read_observed(_read_board(run), rank)
    return training_figures.confusion(_require(observation.form.confusion, row, "confusion matrix"))


@refuse_unknown_arguments
def embeddings(run: str | Path | Leaderboard, rank: int = 1) -> Figure:
    """Draw embeddings of the validation split in two dimensions, by t-SNE. Raises the same errors as ``course``."""
    row, observation = _read_observed(_read_board(run), rank)
    points = _require(observation.embedded, row, "embeddings")
    return training_figures.embedded(points, _name_trained(row, observation))


@refuse_unknown_arguments
def landscape(run: str | Path | Leaderboard, rank: int = 1, what: Ground = "value") -> Figure:
    """Draw the loss around the trained weights, or the ratio of its Hessian's extreme eigenvalues there.

    Raises the same errors as ``course``.
    """
    require_choice("what", what, get_args(Ground))
    row, observation = _read_observed(_read_board(run), rank)
    points = [point for point in observation.grid if point.what == what]
    return training_figures.landscape(_require(points, row, "landscape"), what)


@refuse_unknown_arguments
def class_maps(run: str | Path | Leaderboard, rank: int = 1) -> Figure:
    """Draw images, and below each where the network looks (Grad-CAM). Raises the same errors as ``course``."""
    row, observation = _read_observed(_read_board(run), rank)
    return training_figures.class_maps(_require(observation.pictures, row, "class maps, which need images"))


def _read_observed(board: Leaderboard, rank: int) -> tuple[Row, Observation]:
    """Return the row of a rank and the observation of its training."""
    row = _find_row(board, rank)
    observation = _read_training(board, row, find_tuned_form(board, row)) or _read_training(board, row, None)
    if observation is None:
        raise UserError(
            f"{board.path}: the training of rank {rank} was not observed yet. lossearch report trains the best losses."
        )
    if observation.form.reason is not None:
        raise UserError(f"{board.path}: the training of rank {rank} failed: {observation.form.reason}")
    return row, observation


def _read_training(board: Leaderboard, row: Row, form: TunedForm | None) -> Observation | None:
    return read_observation(folder_of_training(board.path, row, form))


def _name_trained(row: Row, observation: Observation) -> str:
    return row.name or observation.form.formula


def _require(items: Sequence[Item], row: Row, what: str) -> Sequence[Item]:
    """Return the items, or raise UserError if there are none. ``what`` names them in the message."""
    if not items:
        raise UserError(f"Rank {row.rank}: its training shows no {what}.")
    return items


def _find_row(board: Leaderboard, rank: int) -> Row:
    _require_ranked(board)
    rank = require_whole("rank", rank)
    if not 1 <= rank <= board.ranked:
        raise UserError(f"Expected a rank from 1 to {board.ranked}, got {rank}.")
    return board.rows[rank - 1]


def _read_board(run: str | Path | Leaderboard) -> Leaderboard:
    return run if isinstance(run, Leaderboard) else Leaderboard(run)


def _require_ranked(board: Leaderboard) -> None:
    if not board.ranked:
        raise UserError(f"{board.path}: expected a loss that was trained to the end, got none yet.")


def _list_generations(board: Leaderboard) -> list[Generation]:
    generations = read_generations(board.path, list(board.rows))
    if not generations:
        raise UserError(f"{board.path}: expected a generation that has ended, got none yet.")
    return generations
