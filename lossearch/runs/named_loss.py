"""Losses as users name them: a known loss by its name, also with settings, or a formula as it is written."""

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

#: A name with settings in parentheses, ``am_softmax(m=0.3, s=15)``: no formula has an equals sign.
_WITH_SETTINGS = re.compile(r"\s*([A-Za-z_]\w*)\s*\(([^()]*=[^()]*)\)\s*")

#: A formula with the kind of its class weights in brackets, ``ce(16*cosine) [pedcc]``: no formula has a bracket.
_WITH_CLASS_WEIGHTS = re.compile(r"(.*\S)\s*\[(\w+)\]\s*", re.DOTALL)


@dataclass(frozen=True)
class NamedLoss:
    """A formula without free names, what it is called, and where its class weights come from.

    ``name`` is None for a formula of the user's own, ``class_weights`` for a loss over logits. ``known`` is the known
    loss that it is, and ``settings`` what was given of its hyper-parameters.
    """

    formula: Formula
    name: str | None
    class_weights: str | None
    known: str | None = None
    settings: tuple[tuple[str, float], ...] = ()


def named_loss(text: str) -> NamedLoss:
    """The seed of a text: ``focal``, ``focal(gamma=1.5)``, a formula, or one with class weights in brackets.

    Raises UserError for an unknown name, settings that the loss does not have, or a text that is no formula.
    """
    weighted = _WITH_CLASS_WEIGHTS.fullmatch(text)
    if weighted is not None:
        return _with_class_weights(weighted[1], weighted[2], text)
    called = _WITH_SETTINGS.fullmatch(text)
    if called is None and not valid_name(text):
        formula = parse(text)
        return NamedLoss(formula, None, "learned" if formula.looks_at_embeddings else None)
    known = known_loss(text if called is None else called[1])
    settings = {} if called is None else _settings(called[2], text)
    formula = known.bound(**settings)  # checks them
    own = ", ".join(f"{name}={number_text(value)}" for name, value in settings.items())
    return NamedLoss(
        formula,
        f"{known.name}({own})" if own else known.name,
        known.class_weights if known.formula.looks_at_embeddings else None,
        known.name,
        tuple(settings.items()),
    )


def _with_class_weights(text: str, kind: str, whole: str) -> NamedLoss:
    """The seed of a formula with class weights of a kind, called as it is written."""
    formula = parse(text)
    if kind not in KINDS or not formula.looks_at_embeddings or not suits(kind, formula):
        raise UserError(
            f"Expected a formula over embeddings, and in brackets class weights that suit it, {' or '.join(KINDS)}, "
            f"got {shown(whole)}."
        )
    return NamedLoss(formula, None if kind == "learned" else f"{formula} [{kind}]", kind)


def _settings(text: str, whole: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for part in text.split(","):
        name, _, value = (each.strip() for each in part.partition("="))
        try:
            number = float(value)
        except ValueError:
            raise UserError(f"Expected settings like (m=0.3, s=15), got {shown(whole)}.") from None
        if name in found:
            raise UserError(f"{name} is set twice in {shown(whole)}.")
        found[name] = number
    return found


def split_names(text: str) -> list[str]:
    """Names or formulas that commas separate, but for commas in parentheses."""
    found, depth, start = [], 0, 0
    for place, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 0:
            found.append(text[start:place])
            start = place + 1
    return [each.strip() for each in [*found, text[start:]] if each.strip()]


# --- Settings of a loss that a person names: what is tuned of it, and the candidate that it is with some.

#: The learning rate is sought between the declared one over this and times this.
LEARNING_RATE_RANGE = 10.0


#: What the learning rate is called among the settings.
RATE = "learning_rate"


def candidate_of(text: str) -> Candidate:
    """The candidate of a loss as a user names it. Raises UserError."""
    seed = named_loss(text)
    formula = str(seed.formula)
    return Candidate(
        loss_id(formula, seed.class_weights),
        formula,
        seed.formula.size,
        0,
        "known",
        0,
        (),
        seed.name,
        seed.class_weights,
    )


def tunable(text: str, learning_rate: float) -> list[Hyperparameter]:
    """What is tuned of a loss: the learning rate, and those of its hyper-parameters that were not given.

    Those of a formula are its numbers.
    """
    seed = named_loss(text)
    own = tunable_constants(seed.formula)[1] if seed.known is None else known_loss(seed.known).hyperparameters
    given = dict(seed.settings)
    rate = Hyperparameter(
        RATE, learning_rate, learning_rate / LEARNING_RATE_RANGE, learning_rate * LEARNING_RATE_RANGE, log=True
    )
    return [rate, *(each for each in own if each.name not in given)]


def with_settings(text: str, settings: Mapping[str, float]) -> Candidate:
    """The candidate of a loss with these settings, under the name it has without them; the others as they are."""
    plain, seed = candidate_of(text), named_loss(text)
    own = {name: value for name, value in settings.items() if name != RATE}
    rate = settings.get(RATE)
    if not own:
        return replace(plain, learning_rate=rate)
    if seed.known is None:
        named, constants = tunable_constants(seed.formula)
        formula = named.bind({each.name: each.default for each in constants} | own)
    else:
        formula = known_loss(seed.known).bound(**dict(seed.settings), **own)
    return replace(
        plain,
        name=plain.called,
        loss_id=loss_id(str(formula), plain.class_weights),
        formula=str(formula),
        complexity=formula.size,
        learning_rate=rate,
    )
