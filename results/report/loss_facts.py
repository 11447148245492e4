"""Facts about one loss of a run: its row, trainings, ancestors and curves, and later findings."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lossearch.primitives.catalog import CATALOG
from lossearch.primitives.errors import UserError, shown, similar
from lossearch.primitives.language.formula import Formula, latex
from lossearch.primitives.language.parser import parse
from lossearch.results.findings.curves import CurvePoint, Drawn, curves
from lossearch.results.findings.explanation import Explanation, folder_of, read_explanation
from lossearch.results.findings.observation import Observation
from lossearch.results.findings.tuned_forms import TunedForm, key_of, loss_key
from lossearch.results.findings.tuned_losses import TunedLoss, read_tuned
from lossearch.results.findings.verdict_table import read_verdicts
from lossearch.results.findings.verdicts import Verdict
from lossearch.results.leaderboard import Leaderboard
from lossearch.results.ranking.row import Row
from lossearch.results.records import BASELINE, Evaluation
from lossearch.results.report.observed import UNREADABLE, find_tuned_form, read_training
from lossearch.results.storage.fresh_seed_test import FreshSeedTest, read_fresh_seed_test

#: Known loss that is drawn beside every loss, together with cross-entropy.
DRAWN_BESIDE = "focal"

#: Number of classes and embedding size that curves are drawn with.
CLASSES, EMBEDDING_SIZE = 10, 64


@dataclass(frozen=True)
class Ancestor:
    """A loss that another one descends from, or that loss itself."""

    row: Row
    gained: float | None  #: fitness minus that of the better parent


@dataclass(frozen=True)
class LaterFindings:
    """Findings of tuning and judging about the losses of a run, after the search."""

    tuned: list[TunedLoss]
    verdicts: list[Verdict]
    missing: list[str]  #: sentences on what is missing, and how to get it


@dataclass(frozen=True)
class LossFacts:
    """Everything that a run holds about one loss."""

    row: Row
    latex: str
    evaluations: list[Evaluation]
    ancestors: list[Ancestor]  #: the loss itself first, then from the youngest to the oldest
    curves: list[CurvePoint]  #: of the loss, of cross-entropy and of focal loss
    trial: FreshSeedTest | None
    explanation: Explanation | None
    observation: Observation | None
    tuned: list[TunedLoss]
    verdicts: list[Verdict]
    missing: list[str] = field(default_factory=list)  #: sentences on what is missing, and how to get it
    form: TunedForm | None = None  #: tuned numbers that formula, LaTeX and curves have; None for those of the search
    observed_form: TunedForm | None = None  #: tuned numbers of the observed training; None for those of the search
    is_tuned: bool = False  #: True if the loss has tuned numbers to train with

    @property
    def formula(self) -> str:
        """Text of the formula that is shown."""
        return self.row.formula if self.form is None else self.form.formula

    @property
    def trained_formula(self) -> str:
        """Text of the formula whose training was observed."""
        return self.row.formula if self.observed_form is None else self.observed_form.formula

    @property
    def trained_as(self) -> str:
        """Words after "One training" that say with which numbers; empty for a loss that was not tuned."""
        if self.observed_form is None:
            return " of the form that the search found" if self.is_tuned or self.form is not None else ""
        rate = f" with its tuned learning rate of {self.observed_form.learning_rate:g}"
        return rate if self.trained_formula == self.formula else f" of its tuned form {self.trained_formula}{rate}"


def find_loss(board: Leaderboard, wanted: str) -> Row:
    """Find a row by its rank, by its loss id or the beginning of one, or by the name of a known loss.

    Raises UserError where no loss or several losses match.
    """
    if re.fullmatch(r"[1-9]\d{0,8}", wanted) and int(wanted) <= board.ranked:
        return board.rows[int(wanted) - 1]
    matches = [row for row in board.rows if row.name == wanted or row.loss_id.startswith(wanted)]
    exact = [row for row in matches if wanted in (row.name, row.loss_id)]
    if len(exact) == 1 or len(matches) == 1:
        return (exact or matches)[0]
    if not matches:
        named = similar(wanted, (row.name for row in board.rows.named() if row.name is not None))
        rank = f"a rank up to {board.ranked}, the id" if board.ranked else "the id (no loss has a rank)"
        raise UserError(
            f"{board.path}: expected {rank} of a loss or a known loss of the run, "
            f"got {shown(wanted)!r}{named or '. lossearch leaderboard --json lists ids.'}"
        )
    raise UserError(f"{board.path}: expected one loss, got {shown(wanted)!r}, with which {len(matches)} ids begin.")


def read_later_findings(path: Path) -> LaterFindings:
    """Read the findings of tuning and judging from a run's directory. An unreadable file is reported as missing."""
    missing: list[str] = []
    tuned, verdicts = [], []
    try:
        table = read_verdicts(path / "verdict")
        if table is None:
            missing.append("No verdict: run lossearch tune and lossearch compare on this run to judge its losses.")
        else:
            verdicts = table.lines
    except UNREADABLE as error:
        missing.append(f"Verdicts cannot be read: {error}")
    try:
        tuned = read_tuned(path / "tuning") if (path / "tuning").is_dir() else []
    except UNREADABLE as error:
        missing.append(f"Tuned settings cannot be read: {error}")
    return LaterFindings(tuned, verdicts, missing)


def loss_facts(
    board: Leaderboard,
    row: Row,
    family: "Family | None" = None,
    later: LaterFindings | None = None,
    form: TunedForm | None = None,
) -> LossFacts:
    """Gather everything that a run holds about a loss. Raises UserError where its text is no formula.

    ``family`` and ``later`` can be given where they are already known, for several losses of one run. ``form`` are the
    tuned numbers to show the loss with.
    """
    formula = parse(row.formula if form is None else form.formula)
    missing: list[str] = []
    if later is None:
        later = read_later_findings(board.path)
        missing += later.missing
    explanation = _read_explanation(board.path, row, missing)
    tuned_form = find_tuned_form(board, row)
    observation, observed_form = read_training(board.path, row, tuned_form, missing)
    identity = loss_key(row.formula, row.class_weights)  # ranks change when a search goes on
    return LossFacts(
        row=row,
        latex=latex(formula),
        evaluations=board.of_loss(row.loss_id),
        ancestors=(Family(board.rows) if family is None else family).ancestors(row),
        curves=_draw_curves(formula, row, row.calibration if form is None else form.calibration, missing),
        trial=read_fresh_seed_test(board.path / "log.jsonl", row.loss_id),
        explanation=explanation,
        observation=observation,
        tuned=[loss for loss in later.tuned if loss.kind == "found" and key_of(loss.loss) == identity],
        verdicts=[verdict for verdict in later.verdicts if key_of(verdict.loss) == identity],
        missing=missing,
        form=form,
        observed_form=observed_form,
        is_tuned=tuned_form is not None,
    )


class Family:
    """The losses of a run by their ids, with their parents."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = {row.loss_id: row for row in rows}

    def ancestors(self, row: Row) -> list[Ancestor]:
        """Return a loss and all of its ancestors: itself first, then from the youngest to the oldest."""
        reached, waiting = {row.loss_id: row}, [row]
        while waiting:
            for parent in self._parents(waiting.pop()):
                if parent.loss_id not in reached:
                    reached[parent.loss_id] = parent
                    waiting.append(parent)
        older = sorted(list(reached.values())[1:], key=lambda older_row: (-older_row.generation, older_row.loss_id))
        return [Ancestor(member, self._gain(member)) for member in (row, *older)]

    def _parents(self, row: Row) -> list[Row]:
        return [self._rows[parent] for parent in row.parents if parent in self._rows]

    def _gain(self, row: Row) -> float | None:
        known = [parent.fitness_mean for parent in self._parents(row) if parent.fitness_mean is not None]
        return None if row.fitness_mean is None or not known else row.fitness_mean - max(known)


def drawn_curves(loss: Drawn, classes: int = CLASSES, embedding_size: int = EMBEDDING_SIZE) -> list[CurvePoint]:
    """Compute the curves of a loss, of cross-entropy and of focal loss.

    Raises ValueError or RuntimeError for a loss that cannot be drawn.
    """
    beside = [Drawn(name, CATALOG[name].bound(), 1.0) for name in (BASELINE, DRAWN_BESIDE) if name != loss.name]
    return curves([loss, *beside], classes, embedding_size)


def _read_explanation(path: Path, row: Row, missing: list[str]) -> Explanation | None:
    called = f"rank {row.rank}" if row.rank is not None else row.loss_id
    try:
        explanation = read_explanation(folder_of(path, row.loss_id))
    except UNREADABLE as error:
        missing.append(f"The explanation of {called} cannot be read: {error}")
        return None
    if explanation is None and row.rank is not None and row.name is None:
        command = f"lossearch explain {path} --rank {row.rank}"
        missing.append(f"Not explained: {command} trains it without each of its parts, and on wrong labels.")
    return explanation


def _draw_curves(formula: Formula, row: Row, factor: float | None, missing: list[str]) -> list[CurvePoint]:
    try:
        return drawn_curves(Drawn(row.name or str(formula), formula, factor or 1.0))
    except (ValueError, RuntimeError) as error:
        missing.append(f"{row.loss_id} cannot be drawn: {error}")
        return []
