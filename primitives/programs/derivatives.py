"""Derivatives: the vector-Jacobian product of each function that a program calls, for programs without autograd.

A rule takes the gradient g of the result, the result r and the arguments. It gives the gradient of one argument in the
shape of the result, and :func:`reduce_to` sums that to the argument's shape. Rules agree with autograd, also at edges
and ties. A function without rules is differentiated by autograd itself.
"""

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lossearch.primitives.language import numerics

#: A function from the gradient of the result, the result, and the arguments to the gradient of one argument.
Rule = Callable[..., Tensor]


def clamped_above(x: Tensor, bound: Tensor) -> Tensor:
    """Return the smaller of a value and a number. At a tie the value has the gradient, as in ``x.clamp(max=bound)``."""
    return torch.minimum(x, bound)


def clamped_below(x: Tensor, bound: Tensor) -> Tensor:
    """Return the larger of a value and a number. At a tie the value has the gradient, as in ``x.clamp(min=bound)``."""
    return torch.maximum(x, bound)


def _inside_exp(g: Tensor, result: Tensor, x: Tensor) -> Tensor:
    return g * torch.where(x <= (354.0 if x.dtype == torch.float64 else 44.0), result, 0.0)


def _log(g: Tensor, result: Tensor, x: Tensor) -> Tensor:
    floor = numerics.smallest_positive(x)
    return torch.where(x >= floor, g / x.clamp(min=floor), 0.0)


def _sqrt(g: Tensor, result: Tensor, x: Tensor) -> Tensor:
    return torch.where(x >= numerics.smallest_positive(x), g / (2.0 * result), 0.0)


def _arccos(g: Tensor, result: Tensor, x: Tensor) -> Tensor:
    edge = 1.0 - 4.0 * torch.finfo(x.dtype).eps
    inside = x.clamp(-edge, edge)
    return torch.where(inside == x, -g * torch.rsqrt((1.0 - inside) * (1.0 + inside)), 0.0)


def _numerator(g: Tensor, result: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Return g / y; 0 where the quotient is constant."""
    floor = numerics.smallest_positive(y)
    return torch.where(y.abs() < floor, 0.0, g / torch.where(y.abs() < floor, floor, y))


def _denominator(g: Tensor, result: Tensor, x: Tensor, y: Tensor) -> Tensor:
    return -result * _numerator(g, result, x, y)


def _smaller(g: Tensor, result: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Return g where x is the smaller, half of it at a tie."""
    return g * ((x < y).to(g.dtype) + 0.5 * (x == y).to(g.dtype))


def _larger(g: Tensor, result: Tensor, x: Tensor, y: Tensor) -> Tensor:
    return _smaller(g, result, y, x)


def _softplus(g: Tensor, result: Tensor, x: Tensor) -> Tensor:
    return torch.where(x > 20.0, g, g * torch.sigmoid(x))  # torch's softplus is x beyond 20


def _largest(g: Tensor, result: Tensor, x: Tensor) -> Tensor:
    """Return g at the largest; ties share it."""
    is_largest = (x == result).to(g.dtype)
    return g * is_largest / is_largest.sum(1, keepdim=True)


def _softmax(g: Tensor, result: Tensor, x: Tensor) -> Tensor:
    product = g * result
    return product - result * product.sum(1, keepdim=True)


def _log_softmax(g: Tensor, result: Tensor, x: Tensor) -> Tensor:
    return g - result.exp() * g.sum(1, keepdim=True)


def _cross_entropy(g: Tensor, result: Tensor, x: Tensor, target: Tensor) -> Tensor:
    return g * (torch.softmax(x, 1) * target.sum(1, keepdim=True) - target)


def _log_at_target(g: Tensor, result: Tensor, log_probability: Tensor, target: Tensor) -> Tensor:
    return g * torch.where(target > 0, target * torch.exp(log_probability - result), 0.0)


def _put_from(g: Tensor, result: Tensor, x: Tensor, index: Tensor) -> Tensor:
    """Return g at the target class, 0 elsewhere."""
    return torch.zeros_like(x).scatter(1, index, g)


def _elsewhere(g: Tensor, result: Tensor, x: Tensor, index: Tensor, value: Any) -> Tensor:
    return g.scatter(1, index, 0.0)


def _at_index(g: Tensor, result: Tensor, x: Tensor, index: Tensor, value: Any) -> Tensor:
    return g.gather(1, index)


#: A rule for each argument of a function, in order; None where an argument has no gradient.
RULES: dict[Callable[..., Any], tuple[Rule | None, ...]] = {
    operator.add: (lambda g, r, x, y: g, lambda g, r, x, y: g),
    operator.sub: (lambda g, r, x, y: g, lambda g, r, x, y: -g),
    operator.mul: (lambda g, r, x, y: g * y, lambda g, r, x, y: g * x),
    operator.neg: (lambda g, r, x: -g,),
    operator.truediv: (lambda g, r, x, y: g / y, lambda g, r, x, y: -g * r / y),
    numerics.divide: (_numerator, _denominator),
    numerics.exp: (_inside_exp,),
    numerics.log: (_log,),
    numerics.log10: (lambda g, r, x: _log(g, r, x) / math.log(10.0),),
    numerics.sqrt: (_sqrt,),
    torch.square: (lambda g, r, x: 2.0 * g * x,),
    torch.abs: (lambda g, r, x: g * torch.sign(x),),
    torch.sign: (None,),
    torch.floor: (None,),
    torch.detach: (None,),
    torch.sin: (lambda g, r, x: g * torch.cos(x),),
    torch.cos: (lambda g, r, x: -g * torch.sin(x),),
    torch.tanh: (lambda g, r, x: g * (1.0 - r * r),),
    torch.arctan: (lambda g, r, x: g / (1.0 + x * x),),
    numerics.arccos: (_arccos,),
    torch.sigmoid: (lambda g, r, x: g * r * (1.0 - r),),
    F.softplus: (_softplus,),
    torch.relu: (lambda g, r, x: g * (x > 0.0),),
    torch.erf: (lambda g, r, x: g * torch.exp(-x * x) * (2.0 / math.sqrt(math.pi)),),
    torch.minimum: (_smaller, lambda g, r, x, y: _smaller(g, r, y, x)),
    torch.maximum: (_larger, lambda g, r, x, y: _larger(g, r, y, x)),
    clamped_above: (lambda g, r, x, bound: g * (x <= bound), None),
    clamped_below: (lambda g, r, x, bound: g * (x >= bound), None),
    numerics.sum_c: (lambda g, r, x: g.expand_as(x),),
    numerics.mean_c: (lambda g, r, x: (g / x.shape[1]).expand_as(x),),
    numerics.max_c: (_largest,),
    numerics.lse_c: (lambda g, r, x: g * torch.exp(x - r),),
    numerics.softmax_c: (_softmax,),
    numerics.log_softmax_c: (_log_softmax,),
    numerics.at_target: (lambda g, r, x, target: g * target, None),
    numerics.log_at_target: (_log_at_target, None),
    numerics.cross_entropy: (_cross_entropy, None),
    numerics.take_target: (_put_from, None),
    numerics.over_classes: (lambda g, r, x, like: g, None),
    numerics.put_at_target: (_elsewhere, None, _at_index),
    numerics.add_at_target: (lambda g, r, x, index, value: g, None, _at_index),
}


def rules_for(function: Callable[..., Any], arguments: int) -> Sequence[Rule | None]:
    """Return a rule for each of a function's arguments, None where one has no gradient."""

    def by_autograd(place: int) -> Rule:
        wanted = [place == other for other in range(arguments)]

        def rule(g: Tensor, result: Tensor, *values: Any) -> Tensor:
            gradient = _differentiate(function, g, values, wanted)[place]
            return torch.zeros_like(values[place]) if gradient is None else gradient

        return rule

    return RULES.get(function) or [by_autograd(place) for place in range(arguments)]


def gradients(
    function: Callable[..., Any], g: Tensor, result: Tensor, arguments: Sequence[Any], wanted: Sequence[bool]
) -> list[Tensor | None]:
    """Compute the gradient of each argument that is wanted, in the argument's shape.

    It is None for the other arguments, and for one that the result does not depend on.
    """
    rules = RULES.get(function)
    if rules is None:
        return _differentiate(function, g, arguments, wanted)
    results: list[Tensor | None] = []
    for rule, argument, is_wanted in zip(rules, arguments, wanted, strict=True):
        gradient = rule(g, result, *arguments) if rule is not None and is_wanted else None
        results.append(None if gradient is None else reduce_to(gradient, argument.shape))
    return results


def reduce_to(gradient: Tensor, shape: torch.Size) -> Tensor:
    """Sum a gradient over the dimensions along which its argument, of this shape, was broadcast."""
    if gradient.shape == shape:
        return gradient
    broadcast = [dim for dim, (size, wanted) in enumerate(zip(gradient.shape, shape, strict=True)) if size != wanted]
    return gradient.sum(broadcast, keepdim=True)


def _differentiate(
    function: Callable[..., Any], g: Tensor, arguments: Sequence[Any], wanted: Sequence[bool]
) -> list[Tensor | None]:
    with torch.enable_grad():
        leaves = [
            argument.detach().requires_grad_() if is_wanted else argument
            for argument, is_wanted in zip(arguments, wanted, strict=True)
        ]
        result = function(*leaves)
        inputs = [leaf for leaf, is_wanted in zip(leaves, wanted, strict=True) if is_wanted]
        computed = iter(torch.autograd.grad(result, inputs, g, allow_unused=True))
    return [next(computed) if is_wanted else None for is_wanted in wanted]
