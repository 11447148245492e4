"""Loss: a formula with named hyper-parameters, their ranges, and where it comes from."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from lossearch.primitives.contract import number_between
from lossearch.primitives.errors import UserError
from lossearch.primitives.formula import Formula
from lossearch.primitives.nearest import nearest
from lossearch.primitives.parser import parse, valid_name
from lossearch.primitives.torch_loss import EMBEDDING_OPTIONS, LOGIT_OPTIONS, OPTIONS, FormulaLoss, loss_module


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
    :class:`lossearch.primitives.class_weights.ClassWeights`; ``aliases`` are other names of it.
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
        """The loss as a torch module; see :func:`lossearch.primitives.torch_loss.loss_module`."""
        options = {name: given.pop(name) for name in list(given) if name in MODULE_OPTIONS}
        if self.formula.looks_at_embeddings:
            options.setdefault("class_weights", self.class_weights)
        return loss_module(
            self.formula, self.values(given), num_classes=num_classes, embedding_size=embedding_size, **options
        )


#: Options of the module, beside hyper-parameters: names that no hyper-parameter of the catalogue has.
MODULE_OPTIONS = OPTIONS | LOGIT_OPTIONS | EMBEDDING_OPTIONS
