"""The leaderboard of a run: its rows, and the loss module or the export of each."""

import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from lossearch.primitives.arguments import plain_value, refuse_unknown_arguments, require_flag, require_path
from lossearch.primitives.errors import UserError, WrongType, as_user_errors, describe, nearest, shown
from lossearch.results.plain_text import SHOWN, html_table
from lossearch.results.ranking.row import Row
from lossearch.results.records import BASELINE
from lossearch.results.storage.run_kinds import no_run_at

if TYPE_CHECKING:
    from lossearch.primitives.language.formula import Formula
    from lossearch.primitives.modules.torch_loss import FormulaLoss
    from lossearch.results.export.exportable import Exportable
    from lossearch.results.findings.tuned_forms import TunedForm
    from lossearch.results.findings.verdicts import Verdict
    from lossearch.results.ranking.counts import CandidateCounts
    from lossearch.results.records import Evaluation
    from lossearch.results.storage.columns import StoredRecords
    from lossearch.results.storage.fresh_seed_test import FreshSeedTest
    from lossearch.results.storage.store import Damage


@refuse_unknown_arguments
class Entry:
    """One loss of a leaderboard: the columns of its row as attributes, its formula, its loss module, its export.

    ``form`` is None for the loss as the search found it. Otherwise it holds the numbers that tuning chose, and what was
    measured with them. Formula, calibration, learning rate, loss and export are then those of the tuned form. The
    columns, such as ``fitness_mean``, stay those of the search.
    """

    def __init__(self, row: Row, run: str, board: "Leaderboard | None" = None, form: "TunedForm | None" = None) -> None:
        self.row = row
        self.board = board
        self.form = form
        self._run = run

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name in ("row", "board", "form"):  # copy and pickle ask before the attribute exists
            raise AttributeError(name)
        if not hasattr(self.row, name):
            known = [column.name for column in fields(self.row)] + [key for key in vars(Entry) if key[0] != "_"]
            raise AttributeError(f"An entry of a leaderboard has no attribute {shown(name)!r}{nearest(name, known)}")
        return getattr(self.row, name)

    def __repr__(self) -> str:
        embeddings = ", over embeddings" if self.row.over_embeddings else ""
        return f"<{self.row.loss_id} {self._formula_text!r}{embeddings}: {self._describe_worth()}>"

    def _describe_worth(self) -> str:
        """Return the verdict, the tuned value or the fitness of the loss, whichever says most."""
        if self.form is None:
            return "no fitness" if self.row.fitness_mean is None else f"fitness {self.row.fitness_mean:.4f}"
        rate = "unknown" if self.form.learning_rate is None else f"{self.form.learning_rate:g}"
        worth = "not judged" if self.form.verdict is None else self.form.verdict.verdict
        return f"tuned, learning rate {rate}, {worth}"

    def _repr_html_(self) -> str:
        columns = asdict(self.row) | {"takes": "embeddings" if self.row.over_embeddings else "logits"}
        if self.form is not None:
            verdicts = "; ".join(f"{line.scene}, {line.task}: {line.verdict}" for line in self.form.verdicts)
            columns = {
                "tuned formula": self.form.formula,
                "tuned learning rate": self.form.learning_rate,
                "tuned calibration": self.form.calibration,
                "verdicts": verdicts or "not judged",
                **columns,
            }
        return html_table(("column", "value"), columns.items())

    @property
    def _formula_text(self) -> str:
        return self.row.formula if self.form is None else self.form.formula

    @property
    def formula(self) -> "Formula":
        """Formula, with the tuned numbers in a tuned form."""
        from lossearch.primitives.language.parser import parse

        return parse(self._formula_text)

    @property
    def calibration(self) -> float | None:
        """Factor that gives the loss cross-entropy's first gradient size; None where none is known."""
        return self.row.calibration if self.form is None else self.form.calibration

    @property
    def learning_rate(self) -> float | None:
        """Learning rate that tuning chose; None for a loss that is not in its tuned form."""
        return None if self.form is None else self.form.learning_rate

    @property
    def verdicts(self) -> "Sequence[Verdict]":
        """Verdicts on this form of the loss; empty for a loss that is not in its judged form."""
        return () if self.form is None else self.form.verdicts

    def tuned(self) -> "Entry":
        """Return the loss with the numbers that were judged, or if it was not judged with those that tuning chose.

        The factor is the one that was measured with these numbers: in the verdict's own scene, or in the trainings
        that confirmed the numbers. On several tasks numbers, factor and learning rate are those of the first.
        Raises UserError for a loss that was not tuned.
        """
        entry = None if self.board is None else self.board.with_form(self.row)
        if entry is None:
            called = self.row.loss_id if self.row.rank is None else f"the loss of rank {self.row.rank}"
            where = "RUN" if self.board is None else str(self.board.path)
            raise UserError(
                f"Expected a loss that was tuned, got {called}, which was not. Tune more losses with 'lossearch tune "
                f"{where} --top N', or leave the tuned numbers out."
            )
        return entry

    def untuned(self) -> "Entry":
        """Return the loss with the numbers that the search found."""
        return Entry(self.row, self._run, self.board)

    def loss(
        self,
        *,
        num_classes: int | None = None,
        embedding_size: int | None = None,
        calibrated: bool = True,
        **options: Any,
    ) -> "FormulaLoss":
        """Return the loss as a torch module.

        ``calibrated`` multiplies the loss by ``calibration``, the factor that made its first gradient as large as
        cross-entropy's in the network of the run. There it trains at ``learning_rate`` if it is tuned, else at the
        rate of the search. In another network the learning rate has to be found anew: the factor does not make the
        loss train at the rate that suits cross-entropy there. Without ``calibrated`` the value is that of the formula.
        """
        from lossearch.primitives.modules.contract import number_between
        from lossearch.primitives.modules.options import MODULE_OPTIONS
        from lossearch.primitives.modules.torch_loss import loss_module

        factor = self.calibration if require_flag("calibrated", calibrated) else None
        if self.row.class_weights is not None:
            options.setdefault("class_weights", self.row.class_weights)
        unknown = sorted(options.keys() - MODULE_OPTIONS)
        if unknown:
            known = [*MODULE_OPTIONS, "num_classes", "embedding_size", "calibrated"]
            raise UserError(f"A loss of a run has no option {shown(unknown[0])!r}{nearest(unknown[0], known)}")
        with as_user_errors():
            scale = (factor or 1.0) * number_between("scale", options.pop("scale", 1.0))
            return loss_module(
                self.formula, num_classes=num_classes, embedding_size=embedding_size, scale=scale, **options
            )

    def export(self, path: str | Path, *, force: bool = False) -> Path:
        """Write the loss as a Python file that needs only torch, and return its path.

        A file of another loss is replaced. A file that holds anything else is replaced only with ``force``.
        ``lossearch.export`` has more formats, and a model card. Raises UserError for a path that cannot be written.
        """
        from lossearch.results.export.python_file import write_export
        from lossearch.results.export.replacing import require_replaceable

        path = require_path("path", path)
        is_of_run = self.board is not None and path.absolute().parent == self.board.path.absolute()
        require_replaceable(path, require_flag("force", force) or is_of_run)
        return write_export(path, self.exportable())

    def exportable(self) -> "Exportable":
        """Return the loss with names for its numbers and the facts that an export states."""
        from lossearch.results.export.exportable import of_row

        return of_row(self.row, self._run, self.trial, self.form)

    @property
    def trial(self) -> "FreshSeedTest | None":
        """Fresh-seed test of the loss; None if its run did not test it."""
        from lossearch.results.storage.fresh_seed_test import read_fresh_seed_test

        return None if self.board is None else read_fresh_seed_test(self.board.path / "log.jsonl", self.row.loss_id)

    def tested(self) -> str | None:
        """Say how the loss did where nothing chose it: its verdict on the test split, else its test under fresh seeds.

        None if it has neither. This is the figure to name first: the columns are those that the search chose by.
        """
        from lossearch.results.findings.tuned_forms import verdict_text

        if self.form is not None and self.form.verdict is not None:
            return verdict_text(self.form.verdict)
        trial = self.trial
        return None if trial is None or self.form is not None else trial.sentence(self.row.metric)


class UnknownLoss(UserError, KeyError):
    """A name or id that no loss of a run has."""

    __str__ = UserError.__str__


class UnknownRank(UserError, IndexError):
    """An index beyond the ranked losses of a run."""


class NotARun(UserError, FileNotFoundError):
    """A path that is not the directory of a run."""

    __str__ = UserError.__str__


def describe_left_out(damage: "Damage") -> str:
    """Say that a part of a run cannot be read, and what that costs."""
    return f"{damage.reason.rstrip('.')}. Its evaluations are left out."


def _warn_of(problems: Iterable[str]) -> None:
    """Warn of files that are left out, on behalf of a public method."""
    for problem in problems:
        warnings.warn(problem, stacklevel=4)


@refuse_unknown_arguments
class Leaderboard:
    """The ranked losses of a run as the search ranked them: ``board[0].formula``, ``board[0].export("first.py")``.

    ``best()`` is the loss to use: the judged one with its tuned numbers, once the run was tuned and judged.
    ``board["focal"]`` is a loss by its name, and ``board["3f9a"]`` one by the beginning of its id. ``rejected()`` are
    the losses without a rank. ``rows`` holds all.
    ``path`` is the directory of the run. Opening it ranks all losses; rows and evaluations are built when they are
    read. Parts that cannot be read cause a warning, are listed in ``damages`` and left out. Files that are no parts are
    left alone, and named in ``foreign`` and in a warning.
    Raises NotARun if the directory holds no run.
    """

    def __init__(self, path: str | Path) -> None:
        from lossearch.results.ranking.rows import Rows
        from lossearch.results.storage.store import EvaluationStore

        self.path = require_path("path", path, "the directory of a run")
        if not (self.path / "evaluations").is_dir():
            raise NotARun(no_run_at(self.path, "a folder named evaluations"))
        self._evaluations: StoredRecords[Evaluation]
        self.damages: list[Damage]
        store = EvaluationStore(self.path / "evaluations")
        self._evaluations, self.damages = store.open()
        for damage in self.damages:
            warnings.warn(describe_left_out(damage), stacklevel=3)
        self.foreign: str | None = store.describe_foreign()
        if self.foreign is not None:
            warnings.warn(self.foreign, stacklevel=3)
        self.rows: Rows = Rows(self._evaluations)

    def __reduce__(self) -> tuple[type, tuple[Path]]:
        return Leaderboard, (self.path,)  # another process reads it again

    def __fspath__(self) -> str:
        """Return the directory of the run: a leaderboard may stand where a run is expected."""
        return str(self.path)

    @cached_property
    def evaluations(self) -> "list[Evaluation]":
        """All evaluations without repetitions, in the order written."""
        return self._evaluations.records()

    @property
    def ranked(self) -> int:
        """Number of losses with a rank."""
        return self.rows.ranking.num_ranked

    @property
    def baseline(self) -> Row | None:
        """Row of cross-entropy; None if the run lacks it."""
        return next((row for row in self.rows.named() if row.name == BASELINE), None)

    def __len__(self) -> int:
        return self.ranked

    def __repr__(self) -> str:
        return f"<Leaderboard of {self.path}: {self.ranked} ranked losses, {len(self.rows) - self.ranked} others>"

    def _repr_html_(self) -> str:
        return leaderboard_html(self.rows, self.ranked, self.path.name)

    @overload
    def __getitem__(self, index: int | str) -> Entry: ...

    @overload
    def __getitem__(self, index: slice) -> list[Entry]: ...

    def __getitem__(self, index: int | str | slice) -> Entry | list[Entry]:
        if isinstance(index, str):
            return self._entry(self._find(index))
        try:
            places = range(self.ranked)[index]
        except TypeError:
            raise WrongType(
                f"Expected the place of a loss (0 is the best), a name, an id or a slice, got {describe(index)}."
            ) from None
        except IndexError:
            if not self.ranked:
                raise UnknownRank(f"{self.path}: expected a loss that was trained to the end, got none.") from None
            raise UnknownRank(
                f"{self.path}: expected a place from 0 to {self.ranked - 1}, one for each ranked loss, got "
                f"{describe(plain_value(index))}."
            ) from None
        if isinstance(places, int):
            return self._entry(self.rows[places])
        return [self._entry(self.rows[place]) for place in places]

    def __iter__(self) -> Iterator[Entry]:
        return (self._entry(row) for _, row in zip(range(self.ranked), self.rows, strict=False))

    def rejected(self) -> list[Entry]:
        """Return the losses without a rank, in the order of their birth; ``status`` and ``reason`` say why."""
        return [self._entry(row) for row in self.rows[self.ranked :]]

    def _find(self, wanted: str) -> Row:
        """Return the row of a loss by its name, its id or the beginning of its id. Raises UnknownLoss."""
        named = self.rows.named()
        matches = [row for row in named if row.name == wanted][:1]
        if not matches and wanted:
            matches = [row for row in self.rows if row.loss_id.startswith(wanted)]
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise UnknownLoss(
                f"Expected the id of one loss, got {shown(wanted)!r}, with which {len(matches)} ids begin, such as "
                f"{matches[0].loss_id} and {matches[1].loss_id}. Give more of it."
            )
        raise UnknownLoss(
            f"{self.path}: expected the name of a known loss of the run or the beginning of an id, got "
            f"{shown(wanted)!r}{nearest(wanted, (row.name for row in named if row.name is not None))}"
        )

    def best(self) -> Entry:
        """Return the loss to use: the best judged loss in its judged form, or rank 1 where no loss was judged.

        See ``judged`` for the order. ``form`` and ``verdicts`` of the entry say which it is. Raises UserError where no
        loss was trained to the end.
        """
        judged = self.judged()
        if not judged and not self.ranked:
            raise UserError(f"{self.path}: expected a loss that was trained to the end, got none{self.why_unranked()}.")
        return judged[0] if judged else self[0]

    def judged(self) -> list[Entry]:
        """Return the judged losses in their judged forms, best first.

        A loss that is better than every baseline on the search's own task comes first. Next is the order in which they
        were judged, best on the validation split first. A loss with a failed training comes last. A judged loss that is
        not on the leaderboard is left out, with a warning.
        """
        from lossearch.results.findings.tuned_forms import TunedForms

        forms = TunedForms(self.path)
        _warn_of(forms.problems())
        entries = []
        for formula, class_weights in forms.judged():
            row = self.find_row(formula, class_weights)
            if row is None:
                warnings.warn(
                    f"{self.path}: the judged loss {formula} with {class_weights} class weights is not on the "
                    "leaderboard, so it is left out.",
                    stacklevel=3,
                )
            else:
                entries.append(self._entry(row, forms.form_of((formula, class_weights))))
        return entries

    def tuned(self) -> list[Entry]:
        """Return the tuned losses of the search in their tuned forms, best on the validation split first."""
        from lossearch.results.findings.tuned_forms import TunedForms

        forms = TunedForms(self.path)
        _warn_of(forms.problems())
        rows = [self.find_row(*loss) for loss in forms.found()]
        entries = [self.with_form(row) for row in rows if row is not None]
        return [entry for entry in entries if entry is not None]

    def with_form(self, row: Row) -> Entry | None:
        """Return the loss of a row in its judged form, else in its tuned form; None if it was not tuned."""
        from lossearch.results.findings.tuned_forms import TunedForms, loss_key

        form = TunedForms(self.path).form_of(loss_key(row.formula, row.class_weights), row.name)
        return None if form is None else self._entry(row, form)

    def find_row(self, formula: str, class_weights: str) -> Row | None:
        """Return the row of a loss by the text of its formula and its class weights; None if there is none."""
        rows = self.rows.of_formula(formula)
        return next((row for row in rows if (row.class_weights or "learned") == class_weights), None)

    def _entry(self, row: Row, form: "TunedForm | None" = None) -> Entry:
        return Entry(row, self.path.resolve().name, self, form)

    def of_loss(self, loss_id: str) -> "list[Evaluation]":
        """Return the evaluations of a loss, in the order written."""
        return self._evaluations.records(self._evaluations.equals("loss_id", loss_id).nonzero()[0])

    def calibrations(self, loss_id: str) -> dict[str, float]:
        """Return the factor that gives a loss cross-entropy's first gradient size, by task."""
        return {
            evaluation.task: evaluation.calibration
            for evaluation in self.of_loss(loss_id)
            if evaluation.calibration is not None
        }

    def counts(self) -> dict[str, int]:
        """Count the losses of each status."""
        return self.rows.ranking.counts()

    def candidate_counts(self) -> "CandidateCounts":
        """Count the candidates of the search by what became of them."""
        return self.rows.ranking.candidate_counts()

    def why_unranked(self) -> str:
        """Return a clause that counts the candidates, as every output does, and gives the most frequent reason.

        It is empty where no loss was recorded. Numbers in a reason do not matter to its frequency.
        """
        rows = self.rows[self.ranked :]
        if not rows:
            return ""
        counts = {name: count for name, count in self.candidate_counts().named().items() if count and name != "trained"}
        reasons: dict[str, list[str]] = {}
        for row in rows:
            if row.reason and row.status != "duplicate":
                reasons.setdefault(re.sub(r"[-+]?\d[\d.e+-]*", "#", row.reason), []).append(row.reason)
        most = max(reasons.values(), key=len, default=[])
        reason = f". Most frequent reason, {len(most)} of {len(rows)}: {most[0].rstrip('.')}" if most else ""
        return f": {', '.join(f'{count} {status}' for status, count in sorted(counts.items()))}{reason}"

    def finished_at(self) -> list[str]:
        """Return the end of each training, sorted: UTC, as recorded."""
        times = self._evaluations.texts("finished_at")
        values = times.values()
        return sorted(values[code] for code in times.codes.tolist() if code >= 0 and values[code])

    def difference_noise(self) -> float | None:
        """Return the standard error of one loss's difference to cross-entropy; None if it is unknown."""
        return self.rows.ranking.difference_noise()

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return the rows as dictionaries."""
        return [asdict(row) for row in self.rows]

    def to_pandas(self) -> Any:
        """Return the rows as a pandas data frame."""
        from lossearch.results.storage.tables import to_pandas

        return to_pandas(Row, list(self.rows))

    def write(self) -> Path:
        """Write ``leaderboard.parquet`` into the directory of the run, and return its path."""
        from lossearch.results.storage.tables import write_records

        write_records(self.path / "leaderboard.parquet", Row, self.rows)
        return self.path / "leaderboard.parquet"


def leaderboard_html(rows: Sequence[Row], ranked: int, called: str) -> str:
    """Return the best rows of a leaderboard as an HTML table."""
    shown = [row for row in rows[:SHOWN] if row.rank is not None]
    metric = shown[0].metric if shown else "fitness"
    lines = [
        (
            f"{row.rank}{'*' if row.pareto else ''}",
            row.fitness_mean,
            row.difference_to_cross_entropy,
            row.complexity,
            row.name or f"{row.birth} g{row.generation}",
            "embeddings" if row.over_embeddings else "logits",
            row.formula,
        )
        for row in shown
    ]
    caption = f"{called}: the best {len(shown)} of {ranked} losses; * is on the Pareto front"
    return html_table(("rank", metric, "to cross-entropy", "size", "born", "takes", "formula"), lines, caption)
