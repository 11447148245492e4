"""Loss: a formula with named hyper-parameters, their ranges, and where it comes from."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

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
from lossearch.primitives.modules.contract import number_between
from lossearch.primitives.modules.torch_loss import EMBEDDING_OPTIONS, LOGIT_OPTIONS, OPTIONS, FormulaLoss, loss_module


@dataclass(frozen=True)
class Hyperparameter:
    """A tunable scalar of a loss: default, closed range, whether the range is logarithmic, whether it is whole."""

    name: str
    default: float
    low: float
    high: float
    log: bool = False
    whole: bool = False

    def __post_init__(self) -> None:
        if not valid_name(self.name):
            raise ValueError(f"Expected the name of a hyper-parameter, that no operator has, got {self.name!r}.")
        if not self.low <= self.default <= self.high or (self.log and self.low <= 0.0):
            raise ValueError(f"Expected low <= default <= high, low above 0 if logarithmic, got {self}.")

    def check(self, value: Any) -> float:
        """The value as a float; UserError where it is no number of the range."""
        try:
            return number_between(self.name, value, self.low, self.high, whole=self.whole)
        except ValueError as error:
            raise UserError(str(error)) from None


@dataclass(frozen=True)
class Loss:
    """One known loss.

    ``text`` is its formula over terminals and its hyper-parameters; ``source`` the paper and equation; ``origin`` says
    whether it is from the literature or was discovered by a search; ``class_weights`` where those of a loss over
    embeddings come from, see
    :class:`lossearch.primitives.modules.class_weights.ClassWeights`; ``aliases`` are other names of it.
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
        return parse(self.text, [each.name for each in self.hyperparameters])

    def values(self, given: Mapping[str, Any] | None = None) -> dict[str, float]:
        """Every hyper-parameter's value: the given one, else the default.

        Raises ValueError for a hyper-parameter that the loss does not have or a value out of range.
        """
        given = given or {}
        known = {each.name: each for each in self.hyperparameters}
        for name in given:
            if name not in known:
                has = nearest(name, known) if known else "; it has none"
                raise UserError(f"{self.name} has no hyper-parameter {name!r}{has}")
        return {name: each.check(given.get(name, each.default)) for name, each in known.items()}

    def bound(self, **given: float) -> Formula:
        """The formula with numbers in the place of its hyper-parameters."""
        return self.formula.bind(self.values(given))

    def describe(self) -> dict[str, Any]:
        """The loss as plain data, for JSON."""
        return {
            "name": self.name,
            "formula": self.text,
            "hyperparameters": [asdict(each) for each in self.hyperparameters],
            "class_weights": self.class_weights if self.formula.looks_at_embeddings else None,
            "source": self.source,
            "origin": self.origin,
            "aliases": list(self.aliases),
        }

    def module(self, *, num_classes: int | None = None, embedding_size: int | None = None, **given: Any) -> FormulaLoss:
        """The loss as a torch module; see :func:`lossearch.primitives.modules.torch_loss.loss_module`."""
        options = {name: given.pop(name) for name in list(given) if name in MODULE_OPTIONS}
        if self.formula.looks_at_embeddings:
            options.setdefault("class_weights", self.class_weights)
        return loss_module(
            self.formula, self.values(given), num_classes=num_classes, embedding_size=embedding_size, **options
        )


#: Options of the module, beside hyper-parameters: names that no hyper-parameter of the catalogue has.
MODULE_OPTIONS = OPTIONS | LOGIT_OPTIONS | EMBEDDING_OPTIONS


# --- Constants: the numbers of a formula as hyper-parameters, so that a discovered loss can be tuned as a known one
# is.
#
# Invariant: bound to their defaults they give the formula back, and within their ranges the language allows every
# value.

#: Constants that are tuned of one formula at most, in prefix order: few trials say little about many.
AT_MOST = 6


#: A constant is sought between its value over this and times this.
RANGE = 4.0


def tunable_constants(formula: Formula) -> tuple[Formula, tuple[Hyperparameter, ...]]:
    """The formula with its numbers by the names c1, c2, ..., and what these are; none where there are no numbers.

    Exponents are left as they are where their range would leave the language's bounds.
    """
    for exponents_too in (True, False):
        found: list[Hyperparameter] = []
        named = _named(formula, found, exponents_too, is_exponent=False)
        try:
            for end in ("low", "high"):
                named.bind({each.name: getattr(each, end) for each in found})
        except FormulaError:
            continue
        return named, tuple(found)
    return formula, ()


def _named(formula: Formula, found: list[Hyperparameter], exponents_too: bool, is_exponent: bool) -> Formula:
    if isinstance(formula, Number):
        if len(found) == AT_MOST or (is_exponent and not exponents_too):
            return formula
        found.append(_constant(f"c{len(found) + 1}", formula.value, MAX_EXPONENT if is_exponent else MAX_LITERAL))
        return Name(found[-1].name)
    if not isinstance(formula, Call):
        return formula
    arguments = [
        _named(each, found, exponents_too, is_exponent or (formula.operator == "pow" and place == 1))
        for place, each in enumerate(formula.arguments)
    ]
    return call(formula.operator, *arguments)


def _constant(name: str, value: float, bound: float) -> Hyperparameter:
    if value == 0.0:
        return Hyperparameter(name, 0.0, -1.0, 1.0)
    low, high = sorted((value / RANGE, math.copysign(min(abs(value) * RANGE, max(bound, abs(value))), value)))
    constant = Hyperparameter(name, value, low, high)
    return replace(constant, log=True) if value > 0.0 else constant
