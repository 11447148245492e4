"""Descent: steps of gradient descent with momentum or of Adam on the tensors of a cohort, as torch.optim takes them.

Invariant: a step works element by element, in place, and looks at no value on the host.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from lossearch.evaluators.fidelity import Fidelity

#: Decay of Adam's second moment, and what keeps its quotient finite (Kingma and Ba, ICLR 2015; torch's defaults).
BETA2, EPSILON = 0.999, 1e-8


def moments(optimizer: str) -> int:
    """How many tensors an optimiser keeps for each parameter: the velocity, or Adam's two moments."""
    return 2 if optimizer == "adam" else 1


def descend(parameter: Tensor, kept: Sequence[Tensor], rate: Tensor, position: Tensor, fidelity: Fidelity) -> None:
    """Move a parameter along its gradient, which is then gone; ``kept`` are its velocity or moments, updated.

    ``rate`` broadcasts over the parameter; ``position`` [1] counts the steps before this one.
    """
    gradient = parameter.grad
    if gradient is None:
        return
    if fidelity.weight_decay:
        gradient.add_(parameter, alpha=fidelity.weight_decay)
    if fidelity.optimizer == "sgd":
        (velocity,) = kept
        velocity.mul_(fidelity.momentum).add_(gradient)
        parameter.addcmul_(velocity, rate, value=-1.0)
    else:
        first, second = kept
        first.lerp_(gradient, 1.0 - fidelity.momentum)
        second.mul_(BETA2).addcmul_(gradient, gradient, value=1.0 - BETA2)
        step = position + 1
        size = (second / (1.0 - torch.pow(BETA2, step))).sqrt_().add_(EPSILON)
        parameter.addcmul_(first / size, rate / (1.0 - torch.pow(fidelity.momentum, step)), value=-1.0)
    parameter.grad = None
