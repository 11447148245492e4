"""Seeds: the losses that a search starts from, each a known loss by its name or a formula as it is written."""

from dataclasses import dataclass

from primitives.catalog import known_loss
from primitives.formula import Formula
from primitives.parser import parse, valid_name


@dataclass(frozen=True)
class Seed:
    """A formula without free names, the known loss that it is, and where its class weights come from.

    ``name`` is None for a formula of the user's own, ``class_weights`` for a loss over logits.
    """

    formula: Formula
    name: str | None
    class_weights: str | None


def read_seed(text: str) -> Seed:
    """The seed of a text. Raises UserError for an unknown name or a text that is no formula."""
    if not valid_name(text):
        formula = parse(text)
        return Seed(formula, None, "learned" if formula.looks_at_embeddings else None)
    known = known_loss(text)
    return Seed(known.bound(), known.name, known.class_weights if known.formula.looks_at_embeddings else None)
