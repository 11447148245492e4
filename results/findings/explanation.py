"""Explanation: what is known of why a loss is worth what it is, as Parquet files in a directory of its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from lossearch.results.findings.comparison import Line
from lossearch.results.findings.curves import CurvePoint
from lossearch.results.storage.tables import read_folder, write_folder

#: What may be said of a part: of one that moves no weight, or whose rest does not train, without training it.
PartVerdict = Literal[
    "matters", "better without", "no difference shown", "too few seeds", "moves no weight", "does not train", "failed"
]
PartKind = Literal["term", "factor", "simplified"]


@dataclass(frozen=True)
class Form:
    """The loss itself, and the known loss that it trains most like."""

    loss_id: str
    called: str  #: its name, or its canonical formula where it has none
    formula: str  #: as it was found or given
    canonical: str
    latex: str  #: of the canonical formula
    class_weights: str | None  #: learned, pedcc or sub_centers; null for a loss over logits
    task: str  #: or several, with plus signs between them
    seeds: int  #: of every comparison below
    factor: float | None  #: that curves were multiplied by, so that first gradients are as large as cross-entropy's
    rejected: str | None  #: why the search's screening would reject it
    nearest: str | None  #: known loss, at its default settings
    cosine: float | None  #: of the gradients of both on the probe, in [-1, 1]
    parts: int  #: terms or factors that can be left out


@dataclass(frozen=True)
class PartEffect:
    """What becomes of the loss without one of its parts; ``simplified``, without all that were not shown to matter.

    The simplified loss is compared under other seeds than those by which its parts were chosen.
    """

    task: str
    measure: str
    part: str  #: with its sign or stroke; several with commas between them
    kind: PartKind
    formula: str | None  #: canonical, of what is left; null where nothing is
    verdict: PartVerdict
    seeds: int = 0  #: trainings of it that were finished
    whole: float | None = None  #: mean of the measure of the whole loss under the same seeds
    mean: float | None = None
    difference: float | None = None  #: of what is left to the whole: mean of the paired differences
    low: float | None = None  #: 95 % BCa interval of the difference
    high: float | None = None
    p_corrected: float | None = None  #: Wilcoxon's, two-sided, by Holm over the parts of a task
    reason: str | None = None  #: why it was not trained, or failed

    def __post_init__(self) -> None:
        if self.kind not in get_args(PartKind) or self.verdict not in get_args(PartVerdict):
            raise ValueError(f"Expected a known kind and verdict, got {self.kind!r} and {self.verdict!r}.")


@dataclass(frozen=True)
class Explanation:
    """All of it: the form, the points of curves, the effects of parts, and lines of losses on tasks."""

    form: Form
    points: Sequence[CurvePoint]
    parts: Sequence[PartEffect]
    behaviour: Sequence[Line]  #: the loss and others on clean, wrong and few labels, beside cross-entropy

    def write(self, path: Path) -> None:
        """Replace the files of a directory."""
        write_folder(path, self.form, _FILES, self)


_FILES: dict[str, type] = {"points": CurvePoint, "parts": PartEffect, "behaviour": Line}


def folder_of(run: Path, loss_id: str) -> Path:
    """Where the explanation of a run's loss is kept."""
    return run / "explanation" / loss_id


def read_explanation(path: Path) -> Explanation | None:
    """The explanation in a directory; None where there is none. Raises DamagedFile."""
    found = read_folder(path, Form, _FILES)
    return None if found is None else Explanation(**found)
