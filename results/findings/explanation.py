"""Explanation of a loss, as Parquet files in one directory: its form, curves, parts and behaviour."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from lossearch.results.findings.comparison import Line
from lossearch.results.findings.curves import CurvePoint
from lossearch.results.findings.table_text import PairedDifference
from lossearch.results.storage.run_files import plain_name
from lossearch.results.storage.tables import read_folder, write_folder

#: Verdicts on a part. "moves no weight" and "does not train" are known without training the rest.
PartVerdict = Literal[
    "matters", "better without", "no difference shown", "too few seeds", "moves no weight", "does not train", "failed"
]
PartKind = Literal["term", "factor", "simplified"]


@dataclass(frozen=True)
class Form:
    """The loss itself, and the known loss whose gradients are most similar."""

    loss_id: str
    called: str  #: its name, or its canonical formula where it has none
    formula: str  #: as found by the search, or as given
    canonical: str
    latex: str  #: of the canonical formula
    class_weights: str | None  #: learned, pedcc or sub_centers; null for a loss over logits
    task: str  #: name of the task; several names are joined by plus signs
    seeds: int  #: number of seeds of each comparison below
    factor: float | None  #: factor of the curves that makes the first gradient as large as cross-entropy's
    rejected: str | None  #: why the screening of the search would reject it; null if it passes
    nearest: str | None  #: nearest known loss, at its default settings
    cosine: float | None  #: cosine of the two gradients on the probe, in [-1, 1]
    parts: int  #: number of terms and factors that can be left out


@dataclass(frozen=True)
class PartEffect(PairedDifference):
    """The effect of leaving out one part of a loss. ``simplified`` leaves out every part not shown to matter.

    The simplified loss is compared under other seeds than those that chose its parts.
    """

    task: str
    measure: str
    part: str  #: with its sign or division stroke; several parts are joined by commas
    kind: PartKind
    formula: str | None  #: canonical formula of the rest; null where nothing is left
    verdict: PartVerdict
    seeds: int = 0  #: number of finished trainings
    whole: float | None = None  #: mean of the measure for the whole loss under the same seeds
    mean: float | None = None  #: mean of the measure for the rest
    difference: float | None = None  #: mean of the paired differences, rest minus whole
    low: float | None = None  #: lower end of the interval of the difference, 95 % for all parts of a task together
    high: float | None = None  #: its upper end
    p_corrected: float | None = None  #: two-sided p of the sign-flip test, multiplied by the number of parts of a task
    reason: str | None = None  #: why the rest was not trained, or failed

    def __post_init__(self) -> None:
        if self.kind not in get_args(PartKind) or self.verdict not in get_args(PartVerdict):
            raise ValueError(f"Expected a known kind and verdict, got {self.kind!r} and {self.verdict!r}.")


@dataclass(frozen=True)
class Explanation:
    """The whole explanation of one loss."""

    form: Form
    points: Sequence[CurvePoint]
    parts: Sequence[PartEffect]
    behaviour: Sequence[Line]  #: the loss and others on clean, wrong and few labels, beside cross-entropy

    def write(self, path: Path) -> None:
        """Write the files of the explanation, replacing those in the directory."""
        write_folder(path, self.form, _FILES, self)


_FILES: dict[str, type] = {"points": CurvePoint, "parts": PartEffect, "behaviour": Line}


def folder_of(run: Path, loss_id: str) -> Path:
    """Return the directory that keeps the explanation of a run's loss. Raises ForeignFile for an id that is none."""
    return run / "explanation" / plain_name(loss_id)


def read_explanation(path: Path) -> Explanation | None:
    """Read the explanation in a directory; None where there is none. Raises DamagedFile."""
    parts = read_folder(path, Form, _FILES)
    return None if parts is None else Explanation(**parts)
