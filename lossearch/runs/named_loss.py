"""Named losses: what a user writes for a loss, as a formula, as a candidate, and as hyper-parameters to tune.

A user writes a known loss by its name, with settings if wanted, or a formula.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from lossearch.evaluators.work import Candidate
from lossearch.primitives.catalog import known_loss
from lossearch.primitives.catalog.loss import Hyperparameter, tunable_constants
from lossearch.primitives.errors import UserError, shown
from lossearch.primitives.language.formula import Formula, number_text
from lossearch.primitives.language.parser import parse, valid_name
from lossearch.primitives.modules.class_weights import KINDS, suits
from lossearch.results.records import loss_id

#: The learning rate is tuned between the declared one divided by this and multiplied by this.
LEARNING_RATE_RANGE = 10.0

#: The name of the learning rate among the settings.
RATE = "learning_rate"

#: A name with settings in parentheses, ``am_softmax(m=0.3, s=15)``. No formula has an equals sign.
_WITH_SETTINGS = re.compile(r"\s*([A-Za-z_]\w*)\s*\(([^()]*=[^()]*)\)\s*")

#: A formula with its kind of class weights in brackets, ``ce(16*cosine) [pedcc]``. No formula has a bracket.
_WITH_CLASS_WEIGHTS = re.compile(r"(.*\S)\s*\[(\w+)\]\s*", re.DOTALL)


@dataclass(frozen=True)
class NamedLoss:
    """A formula without free hyper-parameters, its name, and its kind of class weights."""

    formula: Formula
    name: str | None  #: None for a formula of the user's own
    class_weights: str | None  #: None for a loss over logits
    known: str | None = None  #: name in the catalogue
    settings: tuple[tuple[str, float], ...] = ()  #: hyper-parameters that the user gave


def named_loss(text: str) -> NamedLoss:
    """Read a loss: ``focal``, ``focal(gamma=1.5)``, a formula, or a formula with class weights in brackets.

    Raises UserError for an unknown name, for settings that the loss does not have, and for a text that is no formula.
    """
    weighted = _WITH_CLASS_WEIGHTS.fullmatch(text)
    if weighted is not None:
        return _with_class_weights(weighted[1], weighted[2], text)
    with_parentheses = _WITH_SETTINGS.fullmatch(text)
    if with_parentheses is None and not valid_name(text):
        formula = parse(text)
        return NamedLoss(formula, None, "learned" if formula.looks_at_embeddings else None)
    known = known_loss(text if with_parentheses is None else with_parentheses[1])
    settings = {} if with_parentheses is None else _parse_settings(with_parentheses[2], text)
    formula = known.bound(**settings)  # raises UserError for bad settings
    arguments = ", ".join(f"{name}={number_text(value)}" for name, value in settings.items())
    return NamedLoss(
        formula,
        f"{known.name}({arguments})" if arguments else known.name,
        known.class_weights if known.formula.looks_at_embeddings else None,
        known.name,
        tuple(settings.items()),
    )


def _with_class_weights(text: str, kind: str, whole: str) -> NamedLoss:
    """Read a formula with a kind of class weights; its text is its name."""
    formula = parse(text)
    if kind not in KINDS or not formula.looks_at_embeddings or not suits(kind, formula):
        raise UserError(
            f"Expected a formula over embeddings, and in brackets class weights that suit it, {' or '.join(KINDS)}, "
            f"got {shown(whole)}."
        )
    return NamedLoss(formula, None if kind == "learned" else f"{formula} [{kind}]", kind)


def _parse_settings(text: str, whole: str) -> dict[str, float]:
    """Read settings such as ``m=0.3, s=15``. Raises UserError, which quotes the whole text of the loss."""
    settings: dict[str, float] = {}
    for part in text.split(","):
        name, _, value = (word.strip() for word in part.partition("="))
        try:
            number = float(value)
        except ValueError:
            raise UserError(f"Expected settings like (m=0.3, s=15), got {shown(whole)}.") from None
        if name in settings:
            raise UserError(f"Expected each setting once, got {name} twice in {shown(whole)}.")
        settings[name] = number
    return settings


def split_names(text: str) -> list[str]:
    """Split a list of names or formulas at its commas, except those in parentheses."""
    names, depth, start = [], 0, 0
    for place, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 0:
            names.append(text[start:place])
            start = place + 1
    return [name.strip() for name in [*names, text[start:]] if name.strip()]


def candidate_of(text: str) -> Candidate:
    """Create the candidate of a loss as a user names it. Raises UserError."""
    loss = named_loss(text)
    formula = str(loss.formula)
    return Candidate(
        loss_id=loss_id(formula, loss.class_weights),
        formula=formula,
        complexity=loss.formula.size,
        generation=0,
        birth="known",
        birth_number=0,
        name=loss.name,
        class_weights=loss.class_weights,
    )


def tunable(text: str, learning_rate: float) -> list[Hyperparameter]:
    """List what to tune of a loss: the learning rate, and the hyper-parameters that the user did not give.

    The hyper-parameters of a formula are its numbers.
    """
    loss = named_loss(text)
    hyperparameters = (
        tunable_constants(loss.formula)[1] if loss.known is None else known_loss(loss.known).hyperparameters
    )
    given = dict(loss.settings)
    rate = Hyperparameter(
        RATE, learning_rate, learning_rate / LEARNING_RATE_RANGE, learning_rate * LEARNING_RATE_RANGE, log=True
    )
    return [rate, *(parameter for parameter in hyperparameters if parameter.name not in given)]


def with_settings(text: str, settings: Mapping[str, float]) -> Candidate:
    """Create the candidate of a loss with these settings, under the name that it has without them."""
    plain, loss = candidate_of(text), named_loss(text)
    values = {name: value for name, value in settings.items() if name != RATE}
    rate = settings.get(RATE)
    if not values:
        return replace(plain, learning_rate=rate)
    if loss.known is None:
        named, constants = tunable_constants(loss.formula)
        formula = named.bind({constant.name: constant.default for constant in constants} | values)
    else:
        formula = known_loss(loss.known).bound(**dict(loss.settings), **values)
    return replace(
        plain,
        name=plain.called,
        loss_id=loss_id(str(formula), plain.class_weights),
        formula=str(formula),
        complexity=formula.size,
        learning_rate=rate,
    )
