"""Plots: each figure of the report on its own, as a plotly figure.

A notebook shows them; ``figure.write_html("a.html")`` writes one that can be zoomed, ``figure.write_image("a.svg")``
(or ``.png``, ``.pdf``) a picture, with the extra ``lossearch[plot]`` and a Chrome or Chromium.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypeVar

from lossearch.primitives.errors import UserError
from lossearch.results.findings.curves import Drawn
from lossearch.results.findings.observation import Observation, observation_folder, read_observation
from lossearch.results.leaderboard import Entry, Leaderboard
from lossearch.results.ranking.row import Row
from lossearch.results.report import run_figures, training_figures
from lossearch.results.report.contents import Generation, generations_of
from lossearch.results.report.drawing import Figure
from lossearch.results.report.loss_facts import CLASSES, EMBEDDING_SIZE, Family, drawn_curves
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


Kind = TypeVar("Kind")


def pareto(run: str | Path | Leaderboard, top: int = 3) -> Figure:
    """Fitness against size of every loss, the Pareto front, the known losses and the ``top`` ones.

    Raises NotARun, and UserError where no loss was trained to the end.
    """
    board = _board(run)
    _require_ranked(board)
    return run_figures.pareto(list(board.rows), board.rows[: min(top, board.ranked)])


def progress(run: str | Path | Leaderboard) -> Figure:
    """The best fitness so far and the median of what was born, generation by generation, beside cross-entropy's.

    Raises NotARun, and UserError where no generation has ended.
    """
    board = _board(run)
    found, baseline = _generations(board), board.baseline
    return run_figures.progress(found, board.rows[0].metric, None if baseline is None else baseline.fitness_mean)


def outcomes(run: str | Path | Leaderboard) -> Figure:
    """What became of the losses that were born, generation by generation. Raises what ``progress`` does."""
    return run_figures.outcomes(_generations(_board(run)))


def family(run: str | Path | Leaderboard, rank: int = 1) -> Figure:
    """A loss of a run and those that it comes from: generation against fitness.

    Raises NotARun, and UserError for a rank that there is not.
    """
    board = _board(run)
    row = _ranked(board, rank)
    return run_figures.family(Family(board.rows).ancestors(row), row.metric)


def curve(
    loss: str | Entry,
    what: Literal["value", "slope"] = "slope",
    line: Literal["target", "other"] = "target",
    *,
    classes: int = CLASSES,
    embedding_size: int = EMBEDDING_SIZE,
) -> Figure:
    """The value or the slope of a loss beside cross-entropy and focal loss.

    ``loss`` is a known one's name, a formula, or a row of a leaderboard. Along ``target`` the probability of the target
    varies (over embeddings, the angle to its class weight), along ``other`` that of one other class. Raises UserError
    for what is no loss.
    """
    if isinstance(loss, Entry):
        drawn = Drawn(loss.row.name or loss.row.formula, loss.formula, loss.row.calibration or 1.0)
    else:
        seed = named_loss(loss)
        drawn = Drawn(seed.name or loss, seed.formula, 1.0)
    return run_figures.curve(drawn_curves(drawn, classes, embedding_size), line, what)


def course(
    run: str | Path | Leaderboard, rank: int = 1, what: Literal["fitness", "loss", "gradient"] = "fitness"
) -> Figure:
    """How one training of a loss went, step by step, beside cross-entropy's where that was seen.

    This and the figures below are of a training that ``lossearch report`` makes and keeps in the run's directory.
    Raises NotARun, and UserError for a rank that there is not, or that was not seen in training.
    """
    board = _board(run)
    row, seen = _seen(board, rank)
    both = {row.name or row.formula: seen}
    baseline = board.baseline
    if baseline is not None and baseline.loss_id != row.loss_id:
        beside = read_observation(observation_folder(board.path, baseline.loss_id))
        if beside is not None and beside.form.reason is None:
            both[baseline.name or baseline.formula] = beside
    return training_figures.course(both, what)


def confusion(run: str | Path | Leaderboard, rank: int = 1) -> Figure:
    """Counts of true and of found classes on the validation split. Raises what ``course`` does."""
    row, seen = _seen(_board(run), rank)
    return training_figures.confusion(_there(seen.form.confusion, row, "a confusion matrix"))


def embeddings(run: str | Path | Leaderboard, rank: int = 1) -> Figure:
    """Embeddings of the validation split in two dimensions, by t-SNE. Raises what ``course`` does."""
    row, seen = _seen(_board(run), rank)
    return training_figures.embedded(_there(seen.embedded, row, "embeddings"), row.name or row.formula)


def landscape(run: str | Path | Leaderboard, rank: int = 1, what: Literal["value", "ratio"] = "value") -> Figure:
    """The loss around the trained weights, or the ratio of its Hessian's extreme eigenvalues there.

    Raises what ``course`` does.
    """
    row, seen = _seen(_board(run), rank)
    points = [each for each in seen.grid if each.what == what]
    return training_figures.landscape(_there(points, row, "a landscape"), what)


def class_maps(run: str | Path | Leaderboard, rank: int = 1) -> Figure:
    """Images, and below each where the network looks (Grad-CAM). Raises what ``course`` does."""
    row, seen = _seen(_board(run), rank)
    return training_figures.class_maps(_there(seen.pictures, row, "class maps, which are of images alone"))


def _seen(board: Leaderboard, rank: int) -> tuple[Row, Observation]:
    """The row of a rank, and what was seen of its training."""
    row = _ranked(board, rank)
    seen = read_observation(observation_folder(board.path, row.loss_id))
    if seen is None:
        raise UserError(
            f"{board.path}: rank {rank} was not seen in training yet. lossearch report trains the best ones."
        )
    if seen.form.reason is not None:
        raise UserError(f"{board.path}: rank {rank} was not seen in training: {seen.form.reason}")
    return row, seen


def _there(found: Sequence[Kind], row: Row, what: str) -> Sequence[Kind]:
    if not found:
        raise UserError(f"Rank {row.rank}: its training shows no {what.removeprefix('a ')}.")
    return found


def _ranked(board: Leaderboard, rank: int) -> Row:
    _require_ranked(board)
    if not 1 <= rank <= board.ranked:
        raise UserError(f"Expected a rank from 1 to {board.ranked}, got {rank}.")
    return board.rows[rank - 1]


def _board(run: str | Path | Leaderboard) -> Leaderboard:
    return run if isinstance(run, Leaderboard) else Leaderboard(run)


def _require_ranked(board: Leaderboard) -> None:
    if not board.ranked:
        raise UserError(f"{board.path}: expected a loss that was trained to the end, got none yet.")


def _generations(board: Leaderboard) -> list[Generation]:
    found = generations_of(board.path, list(board.rows))
    if not found:
        raise UserError(f"{board.path}: expected a generation that has ended, got none yet.")
    return found
