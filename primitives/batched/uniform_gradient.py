"""Uniform gradient: values and gradients of many formulas on a batch so small that calls cost more than arithmetic.

All inputs and results are rows of one buffer, [rows, classes, samples], even numbers and values that do not vary over
the classes or the samples. So one call computes a function for all rows whose arguments are there. Rows of one formula
never touch those of another, so that non-finite values do not spread.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lossearch.primitives.batched.joint_program import REDUCTIONS
from lossearch.primitives.batched.rows import Source, add_up, read_rows
from lossearch.primitives.batched.uniform_plan import UniformCall, UniformPlan
from lossearch.primitives.language import numerics
from lossearch.primitives.language.formula import Formula
from lossearch.primitives.programs.derivatives import Rule, rules_for


@dataclass
class _PlacedCall:
    """A planned call, with the places where it reads and writes."""

    function: Callable[..., Any]
    arguments: list[Source]
    result: Tensor
    gradient: list[Source]
    reduces: bool
    contributions: list[tuple[Rule, Tensor, bool]]  #: to an argument's gradient: rule, place, is it widened?


class UniformGradient:
    """Values of formulas, and gradients of their means, for targets that are distributions.

    Call ``prepare`` with the numbers of classes and samples. Then ``run`` takes the features that formulas look at,
    [formulas, classes, samples] each (``norm``: 1 in the place of classes), and returns the gradient for each in the
    same shape. ``values`` returns the values for the same features.
    """

    def __init__(self, formulas: Sequence[Formula], dtype: torch.dtype = torch.float32) -> None:
        self._plan = UniformPlan(formulas)
        self._dtype = dtype
        self._shape = 0, 0  # classes, samples
        #: The formulas that look at each feature.
        self.used = self._plan.users
        self._users = {name: torch.tensor(users) for name, users in self.used.items()}

    def prepare(self, classes: int, samples: int) -> None:
        """Allocate buffers for a batch, unless they are there already."""
        if self._shape == (classes, samples):
            return
        self._shape = classes, samples
        self._values = torch.zeros(self._plan.rows_of_values, classes, samples, dtype=self._dtype)
        for row, number in self._plan.numbers.items():
            self._values[row] = number
        self._contributed = torch.zeros(self._plan.rows_of_contributions, classes, samples, dtype=self._dtype)
        # The gradient of the mean. A value is the same for each class, so the first class is enough.
        self._contributed[self._plan.starts, 0] = 1.0 / samples
        self._placed = [self._place_call(call) for call in self._plan.calls]

    def _place_call(self, call: UniformCall) -> _PlacedCall:
        is_mean = call.function is numerics.batch_mean
        rules = [_differentiate_mean] if is_mean else rules_for(call.function, len(call.arguments))
        return _PlacedCall(
            _average_samples if is_mean else call.function,
            [rows.of(self._values) for rows in call.arguments],
            self._values[call.result],
            [rows.of(self._contributed) for rows in call.gradient],
            call.function in REDUCTIONS,
            [
                (rule, self._contributed[rows], widened)
                for rule, rows, widened in zip(rules, call.to, call.widened, strict=True)
                if rule is not None and rows is not None
            ],
        )

    @torch.no_grad()
    def run(self, features: Mapping[str, Tensor], shared: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Compute the gradient for each feature that formulas look at, in the feature's shape.

        ``shared`` has the inputs that are the same for all formulas: ``y`` [1, classes, samples],
        ``prior`` [1, classes, 1], ``num_classes`` and ``progress`` [1, 1, 1].
        """
        for name, rows in self._plan.shared.items():
            self._values[rows] = shared[name]
        for name, rows in self._plan.features.items():
            self._values[rows] = features[name].index_select(0, self._users[name])
        kept = []
        for call in self._placed:
            arguments = [read_rows(source) for source in call.arguments]
            result = call.function(*arguments)
            call.result.copy_(result)
            kept.append((arguments, result))
        for call, (arguments, result) in zip(reversed(self._placed), reversed(kept), strict=True):
            if call.gradient:
                _contribute(call, arguments, result)
        return {name: self._feature_gradient(name, features[name]) for name in self._plan.features}

    def values(self) -> Tensor:
        """Return the values [formulas, samples] of the last run."""
        return self._values[self._plan.results, 0]

    def _feature_gradient(self, name: str, feature: Tensor) -> Tensor:
        gradient = torch.zeros_like(feature)
        terms = self._plan.gradients[name]
        if terms:
            total = add_up([rows.of(self._contributed) for rows in terms])
            gradient[self._users[name]] = total if feature.shape[1] > 1 else total[:, :1]
        return gradient


def _contribute(call: _PlacedCall, arguments: Sequence[Tensor], result: Tensor) -> None:
    """Write the contributions of a call to its arguments' gradients.

    A gradient that is the same for every class is kept at the first class, and zeros at the others.
    """
    g = add_up(call.gradient)
    if call.reduces:
        g = g[:, :1]
    for rule, target, widened in call.contributions:
        gradient = rule(g, result, *arguments)
        if widened:
            target[:, 0] = gradient.sum(1)
        else:
            target.copy_(gradient)


def _average_samples(x: Tensor) -> Tensor:
    """Return the mean over the samples, repeated for each of them."""
    return x.mean(2, keepdim=True).expand_as(x)


def _differentiate_mean(g: Tensor, result: Tensor, x: Tensor) -> Tensor:
    return _average_samples(g)
