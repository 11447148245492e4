"""What a run tells of one loss: its row, its trainings, where it comes from, what was said of it since."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lossearch.primitives.catalog import CATALOG
from lossearch.primitives.errors import UserError, shown
from lossearch.primitives.language.formula import Formula, latex
from lossearch.primitives.language.parser import parse
from lossearch.results.findings.curves import CurvePoint, Drawn, curves
from lossearch.results.findings.explanation import Explanation, folder_of, read_explanation
from lossearch.results.findings.observation import Observation, observation_folder, read_observation
from lossearch.results.findings.tuned_losses import TunedLoss, read_tuned
from lossearch.results.findings.verdict_table import read_verdicts
from lossearch.results.findings.verdicts import Verdict
from lossearch.results.leaderboard import Leaderboard
from lossearch.results.ranking.row import Row
from lossearch.results.records import BASELINE, Evaluation
from lossearch.results.storage.fresh_seed_test import FreshSeedTest, read_fresh_seed_test
from lossearch.results.storage.tables import DamagedFile, NewerFile

#: A known loss that every loss is drawn beside, with cross-entropy.
DRAWN_BESIDE = "focal"

#: Classes and size of the embedding that curves are drawn with.
CLASSES, EMBEDDING_SIZE = 10, 64

#: What is raised for a file that cannot be read.
UNREADABLE = (DamagedFile, NewerFile, UserError, OSError)


@dataclass(frozen=True)
class Ancestor:
    """A loss that another comes from, or that one itself."""

    row: Row
    gained: float | None  #: fitness beyond that of its better parent


@dataclass(frozen=True)
class Since:
    """What was found of a run's losses after the search, as far as it can be read."""

    tuned: list[TunedLoss]
    verdicts: list[Verdict]
    missing: list[str]


@dataclass(frozen=True)
class LossFacts:
    """All that a run tells of one loss."""

    row: Row
    latex: str
    evaluations: list[Evaluation]
    ancestors: list[Ancestor]  #: itself first, then from the youngest to the oldest
    curves: list[CurvePoint]  #: its own and those of cross-entropy and focal loss
    trial: FreshSeedTest | None
    explanation: Explanation | None
    observation: Observation | None
    tuned: list[TunedLoss]
    verdicts: list[Verdict]
    missing: list[str] = field(default_factory=list)  #: what is not there, and how it is had


def found_loss(board: Leaderboard, wanted: str) -> Row:
    """The row of a rank, of a loss id or the beginning of one, or of a known loss's name.

    Raises UserError where none or several are meant.
    """
    if re.fullmatch(r"[1-9]\d{0,8}", wanted) and int(wanted) <= board.ranked:
        return board.rows[int(wanted) - 1]
    found = [row for row in board.rows if row.name == wanted or row.loss_id.startswith(wanted)]
    exact = [row for row in found if wanted in (row.name, row.loss_id)]
    if len(exact) == 1 or len(found) == 1:
        return (exact or found)[0]
    if not found:
        raise UserError(
            f"{board.path}: expected a rank up to {board.ranked}, the id of a loss or a known loss of the run, "
            f"got {shown(wanted)!r}. lossearch leaderboard --json lists ids."
        )
    raise UserError(f"{board.path}: expected one loss, got {shown(wanted)!r}, with which {len(found)} ids begin.")


def since(path: Path) -> Since:
    """What tuning and judging found in a run's directory."""
    missing: list[str] = []
    tuned, verdicts = [], []
    try:
        table = read_verdicts(path / "verdict")
        if table is None:
            missing.append("No verdict: lossearch tune and lossearch compare on this run say what may be claimed.")
        else:
            verdicts = table.lines
    except UNREADABLE as error:
        missing.append(f"Verdicts cannot be read: {error}")
    try:
        tuned = read_tuned(path / "tuning") if (path / "tuning").is_dir() else []
    except UNREADABLE as error:
        missing.append(f"Tuned settings cannot be read: {error}")
    return Since(tuned, verdicts, missing)


def loss_facts(board: Leaderboard, row: Row, family: "Family | None" = None, known: Since | None = None) -> LossFacts:
    """All that a run tells of a loss. Raises UserError where its formula is none."""
    formula = parse(row.formula)
    told = since(board.path) if known is None else known
    missing = list(told.missing) if known is None else []
    explanation = _explanation(board.path, row, missing)
    return LossFacts(
        row=row,
        latex=latex(formula),
        evaluations=board.of_loss(row.loss_id),
        ancestors=(Family(board.rows) if family is None else family).ancestors(row),
        curves=_curves(formula, row, missing),
        trial=read_fresh_seed_test(board.path / "log.jsonl", row.loss_id),
        explanation=explanation,
        observation=observation_of(board.path, row.loss_id, missing),
        tuned=[each for each in told.tuned if row.rank is not None and each.rank == row.rank and each.kind == "found"],
        verdicts=[each for each in told.verdicts if row.rank is not None and each.rank == row.rank],
        missing=missing,
    )


class Family:
    """The losses of a run by their ids, and who comes from whom."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = {row.loss_id: row for row in rows}

    def ancestors(self, row: Row) -> list[Ancestor]:
        """A loss and all that it comes from, itself first, then the youngest first."""
        seen, waiting = {row.loss_id: row}, [row]
        while waiting:
            for parent in self._parents(waiting.pop()):
                if parent.loss_id not in seen:
                    seen[parent.loss_id] = parent
                    waiting.append(parent)
        older = sorted(list(seen.values())[1:], key=lambda each: (-each.generation, each.loss_id))
        return [Ancestor(each, self._gained(each)) for each in (row, *older)]

    def _parents(self, row: Row) -> list[Row]:
        return [self._rows[each] for each in row.parents if each in self._rows]

    def _gained(self, row: Row) -> float | None:
        known = [each.fitness_mean for each in self._parents(row) if each.fitness_mean is not None]
        return None if row.fitness_mean is None or not known else row.fitness_mean - max(known)


def observation_of(path: Path, loss_id: str, missing: list[str]) -> Observation | None:
    """What was seen of a training of a loss; what cannot be read is missing."""
    try:
        return read_observation(observation_folder(path, loss_id))
    except UNREADABLE as error:
        missing.append(f"What was seen of {loss_id} cannot be read: {error}")
        return None


def _explanation(path: Path, row: Row, missing: list[str]) -> Explanation | None:
    called = f"rank {row.rank}" if row.rank is not None else row.loss_id
    try:
        found = read_explanation(folder_of(path, row.loss_id))
    except UNREADABLE as error:
        missing.append(f"The explanation of {called} cannot be read: {error}")
        return None
    if found is None and row.rank is not None and row.name is None:
        command = f"lossearch explain {path} --rank {row.rank}"
        missing.append(f"Not explained: {command} trains it without its parts, and on wrong labels.")
    return found


def drawn_curves(loss: Drawn, classes: int = CLASSES, embedding_size: int = EMBEDDING_SIZE) -> list[CurvePoint]:
    """The curves of a loss, cross-entropy's and focal loss's. Raises ValueError or RuntimeError for what has none."""
    beside = [Drawn(name, CATALOG[name].bound(), 1.0) for name in (BASELINE, DRAWN_BESIDE) if name != loss.name]
    return curves([loss, *beside], classes, embedding_size)


def _curves(formula: Formula, row: Row, missing: list[str]) -> list[CurvePoint]:
    try:
        return drawn_curves(Drawn(row.name or row.formula, formula, row.calibration or 1.0))
    except (ValueError, RuntimeError) as error:
        missing.append(f"{row.loss_id} cannot be drawn: {error}")
        return []
