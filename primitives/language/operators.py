"""The operators of the language, each declared once: its name, its shapes, its meaning in sympy and in torch.

The parser's vocabulary, the typed set that evolution grows trees from, the forms in sympy and torch, and the tests are
all derived from :data:`OPERATORS`. Torch functions are given by name and found when they are first used: formulas are
read and written without torch, which takes seconds to import.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from lossearch.primitives.language.shapes import Shape
from lossearch.primitives.language.tensor_functions import tensor_function


@cache
def _torch() -> Any:
    """Import torch when numbers are first computed, and once: reading a text then imports nothing."""
    import torch

    return torch


@dataclass(frozen=True)
class Operator:
    """One operator.

    ``takes`` is the largest shape that an argument may have, ``gives`` the shape of the result. Where ``takes`` is
    None the operator is elementwise: its result has the largest shape among its arguments. ``function`` names its total
    torch function; it takes the arguments and then the terminals that ``reads`` names. ``algebra`` builds its meaning
    from the sympy module and the arguments; without one the operator is opaque to algebra. ``linear`` operators let a
    constant factor pass: op(c*x) = c*op(x).
    """

    name: str
    arity: int
    function: str
    summary: str
    algebra: Callable[..., Any] | None = None
    takes: Shape | None = None
    gives: Shape | None = None
    reads: tuple[str, ...] = ()
    symbol: str = ""
    linear: bool = False

    @cached_property
    def tensor(self) -> Callable[..., Any]:
        """The total torch function."""
        return tensor_function(self.function)

    @property
    def elementwise(self) -> bool:
        """True if the result has the shape of the largest argument."""
        return self.takes is None

    def result_shape(self, arguments: tuple[Shape, ...]) -> Shape:
        """Return the shape of the result for arguments of these shapes. Raises ValueError where one is too large."""
        if self.takes is None:
            return max(arguments)
        if max(arguments) > self.takes:
            raise ValueError(
                f"{self.name} takes a {self.takes} value at most, got {max(arguments)}; "
                "reduce it over the classes first, with sum_c, mean_c, max_c or at_target"
            )
        return self.gives if self.gives is not None else self.takes

    def of_numbers(self, *numbers: float, dtype: Any = None) -> float:
        """Compute the operator's value on numbers with its total torch function, in float64 or another ``dtype``."""
        torch = _torch()
        dtype = torch.float64 if dtype is None else dtype
        arguments: list[Any] = [torch.tensor(number, dtype=dtype, device="cpu") for number in numbers]
        if self.name == "pow":
            arguments[1] = numbers[1]  # only a Python number can be a whole exponent
        return float(self.tensor(*arguments))


_SCALAR, _SAMPLE, _CLASS = Shape

_ALL = (
    # infix
    Operator("add", 2, "operator.add", "x + y", lambda sp, x, y: x + y, symbol="+"),
    Operator("sub", 2, "operator.sub", "x - y", lambda sp, x, y: x - y, symbol="-"),
    Operator("mul", 2, "operator.mul", "x times y", lambda sp, x, y: x * y, symbol="*"),
    Operator("div", 2, "numerics.divide", "x divided by y, total at y = 0", lambda sp, x, y: x / y, symbol="/"),
    Operator("pow", 2, "numerics.power", "x to the power y", lambda sp, x, y: x**y, symbol="**"),
    Operator("neg", 1, "operator.neg", "minus x", lambda sp, x: -x, symbol="-"),
    # elementwise functions
    Operator("exp", 1, "numerics.exp", "e to the power x, bounded", lambda sp, x: sp.exp(x)),
    Operator("log", 1, "numerics.log", "natural logarithm, total at 0", lambda sp, x: sp.log(x)),
    Operator("log10", 1, "numerics.log10", "decimal logarithm, total at 0"),
    Operator("sqrt", 1, "numerics.sqrt", "square root, total at 0", lambda sp, x: sp.sqrt(x)),
    Operator("square", 1, "torch.square", "x squared", lambda sp, x: x**2),
    Operator("abs", 1, "torch.abs", "magnitude"),
    Operator("sign", 1, "torch.sign", "-1, 0 or 1"),
    Operator("floor", 1, "torch.floor", "largest whole number not above x"),
    Operator("sin", 1, "torch.sin", "sine", lambda sp, x: sp.sin(x)),
    Operator("cos", 1, "torch.cos", "cosine", lambda sp, x: sp.cos(x)),
    Operator("tanh", 1, "torch.tanh", "hyperbolic tangent", lambda sp, x: sp.tanh(x)),
    Operator("arctan", 1, "torch.arctan", "inverse tangent", lambda sp, x: sp.atan(x)),
    Operator("arccos", 1, "numerics.arccos", "inverse cosine in radians, total at +-1"),
    Operator("sigmoid", 1, "torch.sigmoid", "1 / (1 + exp(-x))"),
    Operator("softplus", 1, "torch.nn.functional.softplus", "log(1 + exp(x))"),
    Operator("relu", 1, "torch.relu", "the larger of x and 0"),
    Operator("erf", 1, "torch.erf", "error function", lambda sp, x: sp.erf(x)),
    Operator("minimum", 2, "numerics.minimum", "the smaller of two"),
    Operator("maximum", 2, "numerics.maximum", "the larger of two"),
    # over the classes
    Operator("sum_c", 1, "numerics.sum_c", "sum over classes", None, _CLASS, _SAMPLE, linear=True),
    Operator("mean_c", 1, "numerics.mean_c", "mean over classes", None, _CLASS, _SAMPLE, linear=True),
    Operator("max_c", 1, "numerics.max_c", "largest over classes", None, _CLASS, _SAMPLE),
    Operator("lse_c", 1, "numerics.lse_c", "log-sum-exp over classes", None, _CLASS, _SAMPLE),
    Operator(
        "at_target", 1, "numerics.at_target", "sum over classes of y*x", None, _CLASS, _SAMPLE, ("y",), linear=True
    ),
    Operator("ce", 1, "numerics.cross_entropy", "cross-entropy of the logits x", None, _CLASS, _SAMPLE, ("y",)),
    Operator("softmax_c", 1, "numerics.softmax_c", "softmax over classes", None, _CLASS, _CLASS),
    Operator("log_softmax_c", 1, "numerics.log_softmax_c", "log-softmax over classes", None, _CLASS, _CLASS),
    # over the batch, and the gradient
    Operator(
        "batch_mean", 1, "numerics.batch_mean", "mean over the batch", None, _SAMPLE, _SCALAR, ("counted",), linear=True
    ),
    Operator("detach", 1, "torch.detach", "x, held constant for the gradient", linear=True),
)

#: Every operator by name, infix ones included (``add``, ``sub``, ``mul``, ``div``, ``pow``, ``neg``).
OPERATORS: dict[str, Operator] = {operator.name: operator for operator in _ALL}

#: The operators that are written as a call, by name.
FUNCTIONS: dict[str, Operator] = {operator.name: operator for operator in _ALL if not operator.symbol}
