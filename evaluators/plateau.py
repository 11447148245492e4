"""Plateau: a learning rate that falls where the validation score no longer rises."""

from dataclasses import dataclass

import torch
from torch import Tensor

from lossearch.evaluators.fidelity import Fidelity


@dataclass
class Plateau:
    """What the learning rate is multiplied by, the best score so far, and how many epochs have passed since."""

    scale: float = 1.0
    best: float = -1.0
    waited: int = 0

    def look(self, score: float, fidelity: Fidelity) -> None:
        """Take in an epoch's score: lower the rate after more than ``patience`` epochs without a better one."""
        if score > self.best:
            self.best, self.waited = score, 0
            return
        self.waited += 1
        if self.waited > fidelity.patience:
            self.scale, self.waited = self.scale * fidelity.decay, 0

    def as_tensor(self) -> Tensor:
        """The state, [3], as exact as it is."""
        return torch.tensor([self.scale, self.best, float(self.waited)], dtype=torch.float64)

    @staticmethod
    def of(tensor: Tensor) -> "Plateau":
        """The plateau that has this state."""
        scale, best, waited = tensor.tolist()
        return Plateau(scale, best, int(waited))
