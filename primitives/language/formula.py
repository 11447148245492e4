"""Formula: the typed expression tree of a loss, and its text.

Invariant: a formula is immutable and well-typed from its construction on, and ``parse(str(f)) == f``.
A negative number is a :class:`Number`, never the negation of one, so that every text has one tree.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from lossearch.primitives.errors import UserError
from lossearch.primitives.language.operators import FUNCTIONS, OPERATORS
from lossearch.primitives.language.shapes import Shape
from lossearch.primitives.language.terminals import TERMINALS

#: Bounds on a formula that comes from outside.
MAX_NODES = 400
MAX_DEPTH = 64
MAX_LITERAL = 1e12
MAX_EXPONENT = 64.0
MAX_DEGREE = 4_096.0  # product of the exponents of powers within powers

# How tightly an operator binds, weakest first; the same order as Python's.
_SUM, _PRODUCT, _UNARY, _POWER, _ATOM = range(1, 6)
_PRECEDENCE = {"add": _SUM, "sub": _SUM, "mul": _PRODUCT, "div": _PRODUCT, "neg": _UNARY, "pow": _POWER}


class FormulaError(UserError):
    """A formula that the language does not allow."""


class Formula(ABC):
    """A typed expression tree; one of :class:`Number`, :class:`Name` and :class:`Call`."""

    arguments: tuple["Formula", ...] = ()

    @property
    @abstractmethod
    def shape(self) -> Shape:
        """Shape of the value."""

    @cached_property
    def size(self) -> int:
        """Number of nodes: the complexity of the formula."""
        return 1 + sum(argument.size for argument in self.arguments)

    @cached_property
    def depth(self) -> int:
        """Number of levels below this one."""
        return 1 + max((argument.depth for argument in self.arguments), default=-1)

    @cached_property
    def names(self) -> frozenset[str]:
        """Terminals and hyper-parameters that the formula looks at."""
        return frozenset().union(*(argument.names for argument in self.arguments))

    @property
    def constant(self) -> float | None:
        """The value of a formula of numbers, pi and elementwise operators alone; None for every other."""
        return None

    @property
    def degree(self) -> float:
        """Product of the constant exponents along the deepest powers within powers; 1 without a power."""
        return 1.0

    @property
    def hyperparameters(self) -> frozenset[str]:
        """Names that are no terminals of the language."""
        return self.names - TERMINALS.keys()

    @property
    def looks_at_embeddings(self) -> bool:
        """Whether the formula needs embeddings and class weights, and not logits alone."""
        return any(TERMINALS[name].looks_at_embeddings for name in self.names - self.hyperparameters)

    def walk(self) -> Iterator["Formula"]:
        """This node and all below it, in prefix order."""
        yield self
        for argument in self.arguments:
            yield from argument.walk()

    def bind(self, values: Mapping[str, float]) -> "Formula":
        """The formula with each named hyper-parameter replaced by its value."""
        return self

    def _repr_latex_(self) -> str:
        """What a notebook shows."""

        return f"${latex(self)}$"

    def __str__(self) -> str:
        return _text(self)[0]


@dataclass(frozen=True)
class Number(Formula):
    """A finite constant."""

    value: float

    def __post_init__(self) -> None:
        value = float(self.value)
        if not math.isfinite(value) or abs(value) > MAX_LITERAL:
            raise FormulaError(f"Expected a number of magnitude at most {MAX_LITERAL:g}, got {self.value!r:.30}.")
        object.__setattr__(self, "value", value + 0.0)  # -0.0 becomes 0.0

    @property
    def constant(self) -> float | None:
        return self.value

    @property
    def shape(self) -> Shape:
        return Shape.SCALAR

    __str__ = Formula.__str__


@dataclass(frozen=True)
class Name(Formula):
    """A terminal, or a hyper-parameter where no terminal has the name."""

    name: str

    @property
    def shape(self) -> Shape:
        return TERMINALS[self.name].shape if self.name in TERMINALS else Shape.SCALAR

    @property
    def constant(self) -> float | None:
        return math.pi if self.name == "pi" else None

    @cached_property
    def names(self) -> frozenset[str]:
        return frozenset({self.name})

    def bind(self, values: Mapping[str, float]) -> Formula:
        return Number(values[self.name]) if self.name in values and self.name not in TERMINALS else self

    __str__ = Formula.__str__


@dataclass(frozen=True)
class Call(Formula):
    """An operator applied to its arguments. Build it with :func:`call`."""

    operator: str
    arguments: tuple[Formula, ...]
    _shape: Shape = field(init=False, repr=False, compare=False)
    _degree: float = field(init=False, repr=False, compare=False)
    _constant: float | None = field(init=False, repr=False, compare=False)
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        operator = OPERATORS[self.operator]
        if len(self.arguments) != operator.arity:
            raise FormulaError(f"{self.operator} takes {operator.arity} argument(s), got {len(self.arguments)}.")
        try:
            shape = operator.result_shape(tuple(argument.shape for argument in self.arguments))
        except ValueError as error:
            raise FormulaError(str(error)) from None
        exponent = self.arguments[1].constant if self.operator == "pow" else None
        if exponent is not None and abs(exponent) > MAX_EXPONENT:
            raise FormulaError(f"Expected an exponent between +-{MAX_EXPONENT:g}, got {exponent:g}.")
        degree = max(argument.degree for argument in self.arguments)
        degree *= max(1.0, abs(exponent)) if exponent is not None else 2.0 if self.operator == "square" else 1.0
        if degree > MAX_DEGREE:
            raise FormulaError(f"Expected powers within powers up to a degree of {MAX_DEGREE:g}, got {degree:g}.")
        object.__setattr__(self, "_degree", degree)
        object.__setattr__(self, "_shape", shape)
        object.__setattr__(self, "_constant", self._of_numbers())
        object.__setattr__(self, "_hash", hash((self.operator, self.arguments)))

    def _of_numbers(self) -> float | None:
        """The value where every argument is a number, in bounds; None where one is not."""
        operator = OPERATORS[self.operator]
        numbers = [argument.constant for argument in self.arguments if argument.constant is not None]
        if not operator.elementwise or len(numbers) < operator.arity:
            return None
        return Number(operator.of_numbers(*numbers)).value

    def __hash__(self) -> int:
        return self._hash

    def __reduce__(self) -> tuple[type, tuple[object, ...]]:
        return Call, (self.operator, self.arguments)  # strings hash otherwise in another process

    @property
    def degree(self) -> float:
        return self._degree

    @property
    def shape(self) -> Shape:
        return self._shape

    @property
    def constant(self) -> float | None:
        return self._constant

    def bind(self, values: Mapping[str, float]) -> Formula:
        return call(self.operator, *(argument.bind(values) for argument in self.arguments))

    __str__ = Formula.__str__


def call(operator: str, *arguments: Formula) -> Formula:
    """The operator applied to the arguments; minus a number is a number.

    Raises FormulaError where the number of arguments or their shapes are not the operator's.
    """
    if operator == "neg" and len(arguments) == 1 and isinstance(arguments[0], Number):
        return Number(-arguments[0].value)
    return Call(operator, tuple(arguments))


def number_text(value: float) -> str:
    """Shortest text that reads back as the same number; whole numbers without a point."""
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)


def _text(formula: Formula) -> tuple[str, int]:
    """Text of a formula, and how tightly its outermost operator binds."""
    if isinstance(formula, Number):
        return number_text(formula.value), _ATOM if formula.value >= 0 else _UNARY
    if isinstance(formula, Name):
        return formula.name, _ATOM
    assert isinstance(formula, Call)
    if formula.operator in FUNCTIONS:
        return f"{formula.operator}({', '.join(map(str, formula.arguments))})", _ATOM
    symbol, precedence = OPERATORS[formula.operator].symbol, _PRECEDENCE[formula.operator]
    if formula.operator == "neg":
        return f"-{_enclosed(formula.arguments[0], _UNARY)}", precedence
    left, right = formula.arguments
    if formula.operator == "pow":  # binds to the right; its exponent may carry a minus
        return f"{_enclosed(left, _ATOM)}**{_enclosed(right, _UNARY)}", precedence
    left_text, right_text = _enclosed(left, precedence), _enclosed(right, precedence + 1)
    if right_text.startswith("-"):
        right_text = f"({right_text})"
    return f"{left_text}{symbol}{right_text}" if precedence == _PRODUCT else f"{left_text} {symbol} {right_text}", (
        precedence
    )


def _enclosed(formula: Formula, at_least: int) -> str:
    """Text of an operand, in parentheses where it binds less tightly than ``at_least``."""
    text, precedence = _text(formula)
    return text if precedence >= at_least else f"({text})"


# --- LaTeX of a formula: its own tree in mathematical notation, nothing rewritten.

_latex_SUM, _latex_PRODUCT, _latex_UNARY, _latex_POWER, _latex_ATOM = range(1, 6)


_NAMES = {"pi": r"\pi", "cosine": r"\cos\theta", "dist2": r"d^{2}", "num_classes": "C"}


_FUNCTIONS = {
    "exp": r"\exp",
    "log": r"\ln",
    "log10": r"\log_{10}",
    "sin": r"\sin",
    "cos": r"\cos",
    "tanh": r"\tanh",
    "arctan": r"\arctan",
    "arccos": r"\arccos",
    "minimum": r"\min",
    "maximum": r"\max",
    "sigmoid": r"\sigma",
    "ce": r"\mathrm{CE}",
}


_GREEK = frozenset({"alpha", "beta", "gamma", "delta", "lam", "mu", "sigma", "tau"})


def latex(formula: Formula) -> str:
    """The formula in LaTeX: what its text says, in the same order."""
    return _latex(formula)[0]


def _latex(formula: Formula) -> tuple[str, int]:
    """LaTeX of a formula, and how tightly its outermost operator binds."""
    if isinstance(formula, Number):
        return number_text(formula.value), _latex_ATOM if formula.value >= 0 else _latex_UNARY
    if isinstance(formula, Name):
        return _name(formula.name), _latex_ATOM
    assert isinstance(formula, Call)
    if formula.operator in _WRITTEN:
        return _WRITTEN[formula.operator](*formula.arguments)
    function = _FUNCTIONS.get(formula.operator, rf"\operatorname{{{_escaped(formula.operator)}}}")
    arguments = ", ".join(latex(argument) for argument in formula.arguments)
    return rf"{function}\left({arguments}\right)", _latex_ATOM


def _name(name: str) -> str:
    if name in _NAMES:
        return _NAMES[name]
    if name in _GREEK:
        return {"lam": r"\lambda"}.get(name, rf"\{name}")
    return name if len(name) == 1 else rf"\mathrm{{{_escaped(name)}}}"


def _escaped(name: str) -> str:
    return name.replace("_", r"\_")


def _latex_enclosed(formula: Formula, at_least: int) -> str:
    text, binds = _latex(formula)
    return text if binds >= at_least else rf"\left({text}\right)"


def _right(formula: Formula, at_least: int) -> str:
    """A right operand, in parentheses also where it begins with a minus."""
    text = _latex_enclosed(formula, at_least)
    return rf"\left({text}\right)" if text.startswith("-") else text


_WRITTEN: dict[str, Callable[..., tuple[str, int]]] = {
    "add": lambda x, y: (f"{_latex_enclosed(x, _latex_SUM)} + {_right(y, _latex_PRODUCT)}", _latex_SUM),
    "sub": lambda x, y: (f"{_latex_enclosed(x, _latex_SUM)} - {_right(y, _latex_PRODUCT)}", _latex_SUM),
    "mul": lambda x, y: (rf"{_latex_enclosed(x, _latex_PRODUCT)} \cdot {_right(y, _latex_UNARY)}", _latex_PRODUCT),
    "div": lambda x, y: (rf"\frac{{{latex(x)}}}{{{latex(y)}}}", _latex_UNARY),
    "neg": lambda x: (f"-{_latex_enclosed(x, _latex_UNARY)}", _latex_UNARY),
    "pow": lambda x, y: (f"{{{_latex_enclosed(x, _latex_ATOM)}}}^{{{latex(y)}}}", _latex_POWER),
    "square": lambda x: (f"{{{_latex_enclosed(x, _latex_ATOM)}}}^{{2}}", _latex_POWER),
    "sqrt": lambda x: (rf"\sqrt{{{latex(x)}}}", _latex_ATOM),
    "abs": lambda x: (rf"\left|{latex(x)}\right|", _latex_ATOM),
    "floor": lambda x: (rf"\left\lfloor {latex(x)} \right\rfloor", _latex_ATOM),
    "sum_c": lambda x: (rf"\sum_{{c}} {_latex_enclosed(x, _latex_PRODUCT)}", _latex_PRODUCT),
    "at_target": lambda x: (rf"\left[{latex(x)}\right]_{{y}}", _latex_ATOM),
}
