"""Settings of a loss that a person names: what is tuned of it, and the candidate that it is with some."""

from collections.abc import Mapping
from dataclasses import replace

from lossearch.evaluators.work import Candidate
from lossearch.primitives.catalog import known_loss
from lossearch.primitives.catalog.loss import Hyperparameter, tunable_constants
from lossearch.results.records import loss_id
from lossearch.seeds import read_seed

#: The learning rate is sought between the declared one over this and times this.
LEARNING_RATE_RANGE = 10.0

#: What the learning rate is called among the settings.
RATE = "learning_rate"


def candidate_of(text: str) -> Candidate:
    """The candidate of a loss as a user names it. Raises UserError."""
    seed = read_seed(text)
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
    seed = read_seed(text)
    own = tunable_constants(seed.formula)[1] if seed.known is None else known_loss(seed.known).hyperparameters
    given = dict(seed.settings)
    rate = Hyperparameter(
        RATE, learning_rate, learning_rate / LEARNING_RATE_RANGE, learning_rate * LEARNING_RATE_RANGE, log=True
    )
    return [rate, *(each for each in own if each.name not in given)]


def with_settings(text: str, settings: Mapping[str, float]) -> Candidate:
    """The candidate of a loss with these settings, under the name it has without them; the others as they are."""
    plain, seed = candidate_of(text), read_seed(text)
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
