"""Task: data, its split, its corruption and a metric, under one name; a fidelity brings the network."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lossearch.evaluators.data.splits import Split, Splits
from lossearch.evaluators.networks import DENSE, NETWORKS
from lossearch.evaluators.networks.layers import SMALLEST_IMAGE
from lossearch.evaluators.settings import TrainingSettings
from lossearch.evaluators.tasks.metrics import ACCURACY, Metric
from lossearch.primitives.errors import UserError, shown
from lossearch.primitives.language.formula import Formula
from lossearch.primitives.language.terminals import TERMINALS

_USUAL = TrainingSettings()


@dataclass(frozen=True)
class Task:
    """One task. ``load`` gives what a search may look at; ``load_test`` is for the last word alone."""

    name: str
    family: str
    summary: str
    classes: int
    shape: tuple[int, ...]  #: of one input
    load: Callable[[], Splits]
    load_test: Callable[[], Split]
    metric: Metric = ACCURACY
    dense: bool = False  #: whether every pixel has a class
    needs_download: bool = False
    gives: frozenset[str] = frozenset(TERMINALS)  #: what losses may look at: all but what it has not
    fidelity: TrainingSettings = _USUAL  #: the full training, where none is declared
    proxy: TrainingSettings | None = None  #: a search's training where none is declared; None: the full one
    data_from: str | None = None  #: the page or command that provides the data
    ignores_pixels: bool = False  #: whether some pixels have no class: their targets are negative

    @property
    def features(self) -> int:
        """Numbers in one input."""
        return math.prod(self.shape)

    def require_given(self, formula: Formula) -> Formula:
        """The formula; raises UserError where it looks at what the task cannot give."""
        missing = formula.names & (TERMINALS.keys() - self.gives)
        if missing:
            raise UserError(
                f"{shown(str(formula))} looks at {', '.join(sorted(missing))}, which the task {self.name} cannot give; "
                f"it gives {', '.join(name for name in TERMINALS if name in self.gives)}."
            )
        return formula

    def obstacle(self, fidelity: TrainingSettings) -> str | None:
        """Why the fidelity's network or augmentation does not suit the task's inputs, or None where they do."""
        if fidelity.shift and 2 * fidelity.shift > min(self.shape[1:], default=0):
            return f"fidelity: shift = {fidelity.shift} moves more than half of inputs of shape {list(self.shape)}"
        if (fidelity.network in DENSE) != self.dense:
            fitting = [name for name in NETWORKS if (name in DENSE) == self.dense]
            return (
                f"fidelity: network = {fidelity.network!r} gives {'each pixel' if self.dense is False else 'an input'} "
                f"one embedding, and the task {self.name} wants one for each {'pixel' if self.dense else 'input'}. "
                f"Use {' or '.join(fitting)}."
            )
        if self.dense and (fidelity.shift or fidelity.flip):
            return "fidelity: shift and flip move images and not the classes of their pixels. Use noise alone."
        return self._too_small_for(fidelity)

    def _too_small_for(self, fidelity: TrainingSettings) -> str | None:
        """What needs larger images than the task's inputs are, or None where nothing does."""
        needs = {name: SMALLEST_IMAGE for name in ("shift", "flip") if getattr(fidelity, name)}
        needs[f"network = {fidelity.network!r}"] = NETWORKS[fidelity.network].SMALLEST
        side = min(self.shape[1:]) if len(self.shape) == 3 else 0
        unmet = [name for name, pixels in needs.items() if pixels > side]
        if not unmet:
            return None
        fitting = [name for name, each in NETWORKS.items() if (name in DENSE) == self.dense and side >= each.SMALLEST]
        return (
            f"fidelity: {' and '.join(unmet)} need images of {max(needs.values())} pixels at least each way, and the "
            f"task {self.name} has inputs of shape {list(self.shape)}. Use network = {' or '.join(map(repr, fitting))}"
            f"{'' if side >= SMALLEST_IMAGE else ' without shift and flip'}."
        )

    def describe(self) -> dict[str, Any]:
        """The task as plain data, for JSON."""
        names = ("name", "family", "summary", "classes", "shape", "features", "dense", "needs_download", "data_from")
        return {name: getattr(self, name) for name in names} | {"metric": self.metric.name}
