"""Task: data, its split, its corruption, a network and a metric, under one name."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from evaluators.splits import Split, Splits


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
    metric: str = "accuracy"
    network: str = "mlp"
    needs_download: bool = False

    @property
    def features(self) -> int:
        """Numbers in one input."""
        return math.prod(self.shape)

    def describe(self) -> dict[str, Any]:
        """The task as plain data, for JSON."""
        names = ("name", "family", "summary", "classes", "features", "metric", "network", "needs_download")
        return {name: getattr(self, name) for name in names}
