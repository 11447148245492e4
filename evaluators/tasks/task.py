"""Task: data divided into parts, its corruption and a metric, under one name. Training settings add the network."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_args

from lossearch.evaluators.data.splits import Split, Splits
from lossearch.evaluators.device import choose_device
from lossearch.evaluators.networks import DENSE, SMALLEST_IMAGE, Network
from lossearch.evaluators.settings import TrainingSettings
from lossearch.evaluators.tasks.metrics import ACCURACY, Metric
from lossearch.primitives.errors import UserError, shown
from lossearch.primitives.language.formula import Formula
from lossearch.primitives.language.terminals import TERMINALS

#: Default training on images.
IMAGE_TRAINING = TrainingSettings(network="resnet", learning_rate=0.1, steps=400)

#: Default training on a user's images without a GPU: a resnet would take ten times as long.
CPU_IMAGE_TRAINING = TrainingSettings(network="cnn", learning_rate=0.1, steps=200)

#: Default training if every pixel has a class.
PIXEL_TRAINING = TrainingSettings(network="dense", batch_size=16, hidden=16, learning_rate=0.3, steps=400)

_DEFAULT_TRAINING = TrainingSettings()


def image_training() -> TrainingSettings:
    """Return the default training on a user's images: what this machine's device trains in good time."""
    return IMAGE_TRAINING if choose_device("auto").type == "cuda" else CPU_IMAGE_TRAINING


@dataclass(frozen=True)
class Task:
    """A task. ``load`` returns the parts that a search may use, ``load_test`` the part for the final test."""

    name: str
    family: str
    summary: str
    classes: int
    shape: tuple[int, ...]  #: of one input
    load: Callable[[], Splits]
    load_test: Callable[[], Split]
    metric: Metric = ACCURACY
    dense: bool = False  #: True if every pixel has a class
    needs_download: bool = False
    gives: frozenset[str] = frozenset(TERMINALS)  #: names of the tensors that a loss may use on this task
    fidelity: TrainingSettings = _DEFAULT_TRAINING  #: the full training, unless an experiment declares one
    proxy: TrainingSettings | None = None  #: the training in a search, unless declared; None: the full training
    data_from: str | None = None  #: the page or command that provides the data
    ignores_pixels: bool = False  #: True if some pixels have no class: their targets are negative

    @property
    def features(self) -> int:
        """Number of values in one input."""
        return math.prod(self.shape)

    def require_given(self, formula: Formula) -> Formula:
        """Return the formula. Raises UserError if it uses a tensor that the task cannot give."""
        missing = formula.names & (TERMINALS.keys() - self.gives)
        if missing:
            raise UserError(
                f"{shown(str(formula))} looks at {', '.join(sorted(missing))}, which the task {self.name} cannot give; "
                f"it gives {', '.join(name for name in TERMINALS if name in self.gives)}."
            )
        return formula

    def obstacle(self, fidelity: TrainingSettings) -> str | None:
        """Return why a network or augmentation does not suit the inputs of the task, or None if all do."""
        if fidelity.shift and 2 * fidelity.shift > min(self.shape[1:], default=0):
            return f"fidelity: shift = {fidelity.shift} moves more than half of inputs of shape {list(self.shape)}"
        if (fidelity.network in DENSE) != self.dense:
            fitting = [name for name in get_args(Network) if (name in DENSE) == self.dense]
            return (
                f"fidelity: network = {fidelity.network!r} gives one embedding for each "
                f"{'input' if self.dense else 'pixel'}, and the task {self.name} wants one for each "
                f"{'pixel' if self.dense else 'input'}. Use {' or '.join(fitting)}."
            )
        if self.dense and (fidelity.shift or fidelity.flip):
            return "fidelity: shift and flip move images but not the classes of their pixels. Use only noise."
        return self._size_obstacle(fidelity)

    def _size_obstacle(self, fidelity: TrainingSettings) -> str | None:
        """Name the settings that need larger images than the inputs of the task; None if there are none."""
        from lossearch.evaluators.networks.registry import NETWORKS  # imports torch, which takes seconds

        needs = {name: SMALLEST_IMAGE for name in ("shift", "flip") if getattr(fidelity, name)}
        needs[f"network = {fidelity.network!r}"] = NETWORKS[fidelity.network].SMALLEST
        side = min(self.shape[1:]) if len(self.shape) == 3 else 0
        unmet = [name for name, pixels in needs.items() if pixels > side]
        if not unmet:
            return None
        fitting = [
            name for name, network in NETWORKS.items() if (name in DENSE) == self.dense and side >= network.SMALLEST
        ]
        return (
            f"fidelity: {' and '.join(unmet)} {'needs' if len(unmet) == 1 else 'need'} images of at least "
            f"{max(needs.values())} pixels each way, and the task {self.name} has inputs of shape "
            f"{list(self.shape)}. Use network = {' or '.join(map(repr, fitting))}"
            f"{'' if side >= SMALLEST_IMAGE else ' without shift and flip'}."
        )

    def describe(self) -> dict[str, Any]:
        """Return the task as plain data, for JSON."""
        names = ("name", "family", "summary", "classes", "shape", "features", "dense", "needs_download", "data_from")
        return {name: getattr(self, name) for name in names} | {"metric": self.metric.name}
