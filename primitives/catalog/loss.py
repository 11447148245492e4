"""Loss: a formula with named hyper-parameters, their ranges, and its source."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from lossearch.primitives.errors import UserError, nearest
from lossearch.primitives.language.formula import (
    MAX_EXPONENT,
    MAX_LITERAL,
    Call,
    Formula,
    FormulaError,
    Name,
    Number,
    call,
)
from lossearch.primitives.language.parser import parse, valid_name
from lossearch.primitives.modules.options import MODULE_OPTIONS

if TYPE_CHECKING:
    from lossearch.primitives.modules.torch_loss import FormulaLoss

#: Largest number of tuned constants of a formula, the first in prefix order: few trials say little about many.
MAX_CONSTANTS = 6

#: A constant is tuned between its value over this and times this.
RANGE = 4.0


@dataclass(frozen=True)
class Hyperparameter:
    """A number of a loss that can be tuned in the closed range from ``low`` to ``high``.

    ``log`` says that the range is searched logarithmically, ``whole`` that the number is an integer.
    """

    name: str
    default: float
    low: float
    high: float
    log: bool = False
    whole: bool = False

    def __post_init__(self) -> None:
        if not valid_name(self.name):
            raise ValueError(f"Expected a name of a hyper-parameter that no operator has, got {self.name!r}.")
        if not self.low <= self.default <= self.high or (self.log and self.low <= 0.0):
            raise ValueError(f"Expected low <= default <= high, and low above 0 if logarithmic, got {self}.")

    def check(self, value: Any) -> float:
        """Return the value as a float. Raises UserError unless it is a number in the range."""
        from lossearch.primitives.modules.contract import number_between  # imports torch, which takes seconds

        try:
            return number_between(self.name, value, self.low, self.high, whole=self.whole)
        except ValueError as error:
            raise UserError(str(error)) from None


@dataclass(frozen=True)
class Loss:
    """One known loss.

    ``text`` is its formula over terminals and its hyper-parameters. ``source`` names the paper and the equation.
    ``origin`` is "literature", or "discovered" by a search. ``class_weights`` is the kind of class weights of a loss
    over embeddings: see :class:`lossearch.primitives.modules.class_weights.ClassWeights`. ``aliases`` are other names.
    """

    name: str
    text: str
    hyperparameters: tuple[Hyperparameter, ...]
    source: str
    origin: str = "literature"
    class_weights: str = "learned"
    aliases: tuple[str, ...] = ()

    @cached_property
    def formula(self) -> Formula:
        """The formula, with its hyper-parameters by name."""
        return parse(self.text, [parameter.name for parameter in self.hyperparameters])

    def values(self, given: Mapping[str, Any] | None = None) -> dict[str, float]:
        """Return the value of every hyper-parameter: the given one, or the default.

        Raises UserError, a ValueError, for a hyper-parameter that the loss does not have or a value out of range.
        """
        given = given or {}
        known = {parameter.name: parameter for parameter in self.hyperparameters}
        for name in given:
            if name not in known:
                has = nearest(name, known) if known else "; it has none"
                raise UserError(f"{self.name} has no hyper-parameter {name!r}{has}")
        return {name: parameter.check(given.get(name, parameter.default)) for name, parameter in known.items()}

    def bound(self, **given: float) -> Formula:
        """Return the formula with numbers in the place of its hyper-parameters."""
        return self.formula.bind(self.values(given))

    def describe(self) -> dict[str, Any]:
        """Return the loss as plain data, for JSON."""
        return {
            "name": self.name,
            "formula": self.text,
            "hyperparameters": [asdict(parameter) for parameter in self.hyperparameters],
            "class_weights": self.class_weights if self.formula.looks_at_embeddings else None,
            "source": self.source,
            "origin": self.origin,
            "aliases": list(self.aliases),
        }

    def module(
        self, *, num_classes: int | None = None, embedding_size: int | None = None, **given: Any
    ) -> "FormulaLoss":
        """Make the torch module of the loss: see :func:`lossearch.primitives.modules.torch_loss.loss_module`."""
        from lossearch.primitives.modules.torch_loss import loss_module

        options = {name: given.pop(name) for name in list(given) if name in MODULE_OPTIONS}
        if self.formula.looks_at_embeddings:
            options.setdefault("class_weights", self.class_weights)
        return loss_module(
            self.formula, self.values(given), num_classes=num_classes, embedding_size=embedding_size, **options
        )


def tunable_constants(formula: Formula) -> tuple[Formula, tuple[Hyperparameter, ...]]:
    """Name the numbers of a formula c1, c2, ..., so that a discovered loss can be tuned like a known one.

    Returns the formula with the names, and the hyper-parameters. Bound to their defaults they give the formula back.
    Exponents stay numbers where their range would leave the language's bounds.
    """
    for exponents_too in (True, False):
        constants: list[Hyperparameter] = []
        named = _name_numbers(formula, constants, exponents_too, is_exponent=False)
        try:
            for end in ("low", "high"):
                named.bind({constant.name: getattr(constant, end) for constant in constants})
        except FormulaError:
            continue
        return named, tuple(constants)
    return formula, ()


def _name_numbers(formula: Formula, constants: list[Hyperparameter], exponents_too: bool, is_exponent: bool) -> Formula:
    """Put names in the place of numbers, and append the hyper-parameters to ``constants``."""
    if isinstance(formula, Number):
        if len(constants) == MAX_CONSTANTS or (is_exponent and not exponents_too):
            return formula
        bound = MAX_EXPONENT if is_exponent else MAX_LITERAL
        constants.append(_make_constant(f"c{len(constants) + 1}", formula.value, bound))
        return Name(constants[-1].name)
    if not isinstance(formula, Call):
        return formula
    arguments = [
        _name_numbers(argument, constants, exponents_too, is_exponent or (formula.operator == "pow" and place == 1))
        for place, argument in enumerate(formula.arguments)
    ]
    return call(formula.operator, *arguments)


def _make_constant(name: str, value: float, bound: float) -> Hyperparameter:
    if value == 0.0:
        return Hyperparameter(name, 0.0, -1.0, 1.0)
    low, high = sorted((value / RANGE, math.copysign(min(abs(value) * RANGE, max(bound, abs(value))), value)))
    constant = Hyperparameter(name, value, low, high)
    return replace(constant, log=True) if value > 0.0 else constant
