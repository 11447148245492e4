"""Formula: the typed expression tree of a loss, and how it is written as text and in LaTeX.

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


class FormulaError(UserError):
    """A formula that the language does not allow."""


class Formula(ABC):
    """A typed expression tree: a :class:`Number`, a :class:`Name` or a :class:`Call`."""

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
        """Number of levels below this node."""
        return 1 + max((argument.depth for argument in self.arguments), default=-1)

    @cached_property
    def names(self) -> frozenset[str]:
        """Terminals and hyper-parameters in the formula."""
        return frozenset().union(*(argument.names for argument in self.arguments))

    @property
    def constant(self) -> float | None:
        """Value of a formula of numbers, pi and elementwise operators; None for every other formula."""
        return None

    @property
    def degree(self) -> float:
        """Product of the constant exponents of powers within powers, at its largest; 1 without a power."""
        return 1.0

    @property
    def hyperparameters(self) -> frozenset[str]:
        """Names that are not terminals of the language."""
        return self.names - TERMINALS.keys()

    @property
    def looks_at_embeddings(self) -> bool:
        """True if the formula needs embeddings and class weights; False if logits are enough."""
        return any(TERMINALS[name].looks_at_embeddings for name in self.names - self.hyperparameters)

    def walk(self) -> Iterator["Formula"]:
        """Yield this node and all nodes below it, in prefix order."""
        yield self
        for argument in self.arguments:
            yield from argument.walk()

    def bind(self, values: Mapping[str, float]) -> "Formula":
        """Replace each named hyper-parameter by its value."""
        return self

    def _repr_latex_(self) -> str:
        """Return LaTeX for a notebook."""
        return f"${latex(self)}$"

    def __repr__(self) -> str:
        return f"Formula({str(self)!r})"

    def __str__(self) -> str:
        return _write(self, _TEXT)[0]


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
    __repr__ = Formula.__repr__


@dataclass(frozen=True)
class Name(Formula):
    """A terminal, or a hyper-parameter if no terminal has the name."""

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
    __repr__ = Formula.__repr__


@dataclass(frozen=True)
class Call(Formula):
    """An operator applied to its arguments. Build one with :func:`call`."""

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
        object.__setattr__(self, "_constant", self._compute_constant())
        object.__setattr__(self, "_hash", hash((self.operator, self.arguments)))

    def _compute_constant(self) -> float | None:
        """Compute the value if every argument is a number, else None. Raises FormulaError out of bounds."""
        operator = OPERATORS[self.operator]
        numbers = [argument.constant for argument in self.arguments if argument.constant is not None]
        if not operator.elementwise or len(numbers) < operator.arity:
            return None
        return Number(operator.of_numbers(*numbers)).value

    def __hash__(self) -> int:
        return self._hash

    def __reduce__(self) -> tuple[type, tuple[object, ...]]:
        return Call, (self.operator, self.arguments)  # another process hashes strings otherwise

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
    __repr__ = Formula.__repr__


def call(operator: str, *arguments: Formula) -> Formula:
    """Apply an operator to arguments. Minus a number is a number.

    Raises FormulaError where the operator takes another number of arguments or other shapes.
    """
    if operator == "neg" and len(arguments) == 1 and isinstance(arguments[0], Number):
        return Number(-arguments[0].value)
    return Call(operator, tuple(arguments))


def number_text(value: float) -> str:
    """Return the shortest text that reads back as the same number; whole numbers have no point."""
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)


def latex(formula: Formula) -> str:
    """Write the formula in LaTeX, term by term as its text has it."""
    return _write(formula, _LATEX)[0]


# Printing.

# How tightly a written formula holds together, loosest first, in the order of Python's operators. A sum over classes
# takes in all factors that follow it.
_ANY, _SUM, _OVER_CLASSES, _PRODUCT, _UNARY, _POWER, _ATOM = range(7)


@dataclass(frozen=True)
class _Notation:
    """How the call of an operator is written.

    ``template`` has a ``%s`` for each argument. An argument that holds together less tightly than ``arguments`` asks
    for is put in parentheses, and with ``signless_end`` also a last one that begins with a minus.
    """

    template: str
    arguments: tuple[int, ...]
    binding: int = _ATOM
    signless_end: bool = False


@dataclass(frozen=True)
class _Style:
    """A way of writing formulas: the notation of each operator, numbers, names, and parentheses.

    ``number`` and ``name`` return the text and how tightly it holds together.
    """

    notations: Mapping[str, _Notation]
    number: Callable[[float], tuple[str, int]]
    name: Callable[[str], tuple[str, int]]
    parentheses: str


def _write(formula: Formula, style: _Style) -> tuple[str, int]:
    """Write the formula in a style. Returns the text and how tightly it holds together."""
    if isinstance(formula, Number):
        return style.number(formula.value)
    if isinstance(formula, Name):
        return style.name(formula.name)
    assert isinstance(formula, Call)
    notation = style.notations[formula.operator]
    texts: list[str] = []
    for argument, least_binding in zip(formula.arguments, notation.arguments, strict=True):
        text, binding = _write(argument, style)
        begins_with_minus = notation.signless_end and text[0] == "-" and len(texts) == len(formula.arguments) - 1
        texts.append(style.parentheses % text if binding < least_binding or begins_with_minus else text)
    return notation.template % tuple(texts), notation.binding


def _function_notation(operator: str, opening: str, closing: str) -> _Notation:
    """Return the notation of a call with commas between its arguments."""
    arity = FUNCTIONS[operator].arity
    return _Notation(opening + ", ".join(["%s"] * arity) + closing, (_ANY,) * arity)


_SUMS = {
    "add": _Notation("%s + %s", (_SUM, _PRODUCT), _SUM, signless_end=True),
    "sub": _Notation("%s - %s", (_SUM, _PRODUCT), _SUM, signless_end=True),
    "neg": _Notation("-%s", (_UNARY,), _UNARY),
}


def _text_number(value: float) -> tuple[str, int]:
    return number_text(value), _ATOM if value >= 0 else _UNARY


def _text_name(name: str) -> tuple[str, int]:
    return name, _ATOM


_TEXT = _Style(
    {name: _function_notation(name, f"{name}(", ")") for name in FUNCTIONS}
    | _SUMS
    | {
        "mul": _Notation("%s*%s", (_PRODUCT, _UNARY), _PRODUCT, signless_end=True),
        "div": _Notation("%s/%s", (_PRODUCT, _UNARY), _PRODUCT, signless_end=True),
        "pow": _Notation("%s**%s", (_ATOM, _UNARY), _POWER),  # binds to the right; its exponent may carry a minus
    },
    number=_text_number,
    name=_text_name,
    parentheses="(%s)",
)

# Functions of a class have its index below them, so that no identifier of the code stands in a typeset formula.
_LATEX_FUNCTIONS = {
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
    "relu": r"\operatorname{ReLU}",
    "ce": r"\mathrm{CE}",
    "mean_c": r"\operatorname{mean}_{c}",
    "max_c": r"\max_{c}",
    "lse_c": r"\operatorname{LSE}_{c}",
    "softmax_c": r"\operatorname{softmax}",
    "log_softmax_c": r"\operatorname{logsoftmax}",
    "batch_mean": r"\operatorname{mean}_{\mathrm{batch}}",
}

# Terminals, with how tightly they hold together: a power of one may need parentheses.
_LATEX_NAMES = {
    "pi": (r"\pi", _ATOM),
    "cosine": (r"\cos\theta", _UNARY),
    "dist2": ("d^{2}", _POWER),
    "norm": (r"\left\|e\right\|", _ATOM),
    "weight_norm": (r"\left\|w\right\|", _ATOM),
    "num_classes": ("C", _ATOM),
}

# Words of hyper-parameters that are written as Greek letters.
_GREEK = {name: rf"\{name}" for name in ("alpha", "beta", "gamma", "delta", "mu", "sigma", "tau")} | {"lam": r"\lambda"}


def _latex_number(value: float) -> tuple[str, int]:
    """Write a number, with a power of ten where its text has an exponent."""
    text, binding = _text_number(value)
    mantissa, has_exponent, exponent = text.partition("e")
    if not has_exponent:
        return text, binding
    power = f"10^{{{int(exponent)}}}"
    if mantissa in ("1", "-1"):
        return mantissa[:-1] + power, _POWER if value > 0 else _UNARY
    return rf"{mantissa} \cdot {power}", _PRODUCT


def _latex_name(name: str) -> tuple[str, int]:
    """Write a name: words after the first one stand below it."""
    if name in _LATEX_NAMES:
        return _LATEX_NAMES[name]
    first, *others = [_latex_word(word) for word in name.split("_") if word]
    below = ",".join(others)
    return (f"{first}_{{{below}}}" if below else first), _ATOM


def _latex_word(word: str) -> str:
    return _GREEK.get(word) or (word if len(word) == 1 or word.isdigit() else rf"\mathrm{{{word}}}")


def _latex_function(name: str) -> str:
    return _LATEX_FUNCTIONS.get(name) or rf"\operatorname{{{name}}}"


_LATEX = _Style(
    {name: _function_notation(name, rf"{_latex_function(name)}\left(", r"\right)") for name in FUNCTIONS}
    | _SUMS
    | {
        "add": _Notation("%s + %s", (_SUM, _OVER_CLASSES), _SUM, signless_end=True),
        "sub": _Notation("%s - %s", (_SUM, _OVER_CLASSES), _SUM, signless_end=True),
        "mul": _Notation(r"%s \cdot %s", (_PRODUCT, _UNARY), _PRODUCT, signless_end=True),
        "div": _Notation(r"\frac{%s}{%s}", (_ANY, _ANY), _UNARY),
        "pow": _Notation("{%s}^{%s}", (_ATOM, _ANY), _POWER),
        "square": _Notation("{%s}^{2}", (_ATOM,), _POWER),
        "sqrt": _Notation(r"\sqrt{%s}", (_ANY,)),
        "abs": _Notation(r"\left|%s\right|", (_ANY,)),
        "floor": _Notation(r"\left\lfloor %s \right\rfloor", (_ANY,)),
        "sum_c": _Notation(r"\sum_{c} %s", (_PRODUCT,), _OVER_CLASSES),
        "at_target": _Notation(r"\left[%s\right]_{y}", (_ANY,)),
    },
    number=_latex_number,
    name=_latex_name,
    parentheses=r"\left(%s\right)",
)
