"""The probe: one fixed float64 batch on which formulas are compared by value and by gradient.

Invariant: the batch is the same in every process. Half of its targets are one-hot and half are soft. Its predictions
are wrong, doubtful, right and nearly certain, at angles from about 0 to about pi, so that it shows a term that acts on
some of these alone. No two are tied: at a tie equal formulas may have different gradients.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import groupby

import torch
from torch import Tensor

from lossearch.primitives.batched.uniform_gradient import UniformGradient
from lossearch.primitives.language.formula import Formula
from lossearch.primitives.language.terminals import FEATURES, TERMINALS

CLASSES, SIZE, SAMPLES = 5, 4, 12

#: Probabilities of the target in the last samples, where logits are compared with one-hot targets.
RIGHT = (0.4, 0.65, 0.9, 0.995)

#: The last embeddings as multiples of their target's class weight; a negative one points away from it.
ALONG = (1.8, 0.5, 2.0, -2.0)

#: Moments of training at which a formula that looks at progress is evaluated.
PROGRESS = (0.37, 0.08, 0.91)

#: Largest difference between equal formulas: relative to the largest number, and absolute.
TOLERANCE, NOISE = 1e-7, 1e-12

#: The points with respect to which a formula over embeddings is differentiated, in order, with their shapes.
POINTS = {"embeddings": (SAMPLES, SIZE), "weight": (CLASSES, SIZE), "centers": (CLASSES, SIZE)}

#: Values of a formula, and the gradient of their mean, flattened.
Response = tuple[Tensor, Tensor]


@lru_cache(maxsize=1)
def _batch() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(20_240_412)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    others = SAMPLES - len(RIGHT)
    hard = torch.eye(CLASSES, dtype=torch.float64)[torch.arange(SAMPLES) % CLASSES]
    soft = torch.softmax(normal(SAMPLES, CLASSES), 1)
    spread = torch.linspace(0.3, 4.0, others, dtype=torch.float64).unsqueeze(1)
    weight = normal(CLASSES, SIZE)
    along = torch.tensor(ALONG, dtype=torch.float64).unsqueeze(1) * (hard[others:] @ weight)
    return {
        "logits": torch.cat([normal(others, CLASSES) * spread, _right(normal(len(RIGHT), CLASSES), hard[others:])]),
        "embeddings": torch.cat([normal(others, SIZE) * spread, along + 0.2 * normal(len(ALONG), SIZE)]),
        "weight": weight,
        "centers": normal(CLASSES, SIZE),
        "hard": hard,
        "mixed": torch.where(torch.arange(SAMPLES).unsqueeze(1) % 2 == 0, hard, soft),
        "prior": torch.softmax(normal(CLASSES), 0),
    }


def _right(logits: Tensor, hard: Tensor) -> Tensor:
    """Return the logits, with the target's chosen so that its probabilities are those of RIGHT."""
    others = logits.masked_fill(hard > 0.0, -torch.inf).logsumexp(1)
    wanted = others + torch.logit(torch.tensor(RIGHT, dtype=torch.float64))
    return torch.where(hard > 0.0, wanted.unsqueeze(1), logits)


def compute_responses(formulas: Sequence[Formula], target: str = "mixed") -> list[Response]:
    """Compute values, and flattened gradients of their mean, on the probe. The formulas have no free names.

    ``target`` is ``mixed``, or ``hard`` for one-hot targets alone. The gradient is with respect to the logits, or to
    embeddings, class weights and centers if the formula looks at embeddings. A formula that looks at ``progress`` is
    evaluated early, midway and late in training. Values and gradients may hold non-finite numbers.
    """
    responses: dict[int, Response] = {}
    by_moments = sorted(range(len(formulas)), key=lambda place: "progress" in formulas[place].names)
    for looks_at_progress, group in groupby(by_moments, key=lambda place: "progress" in formulas[place].names):
        places = list(group)
        moments = PROGRESS if looks_at_progress else PROGRESS[:1]
        responses |= zip(places, _responses_at(moments, [formulas[place] for place in places], target), strict=True)
    return [responses[place] for place in range(len(formulas))]


def _responses_at(moments: Sequence[float], formulas: Sequence[Formula], target: str) -> list[Response]:
    over_embeddings = [formula.looks_at_embeddings for formula in formulas]
    program = UniformGradient(formulas, torch.float64)
    program.prepare(CLASSES, SAMPLES)
    of_embeddings = _features(*(_batch()[name] for name in POINTS))
    features = {name: feature.expand(len(formulas), -1, -1) for name, feature in of_embeddings.items()}
    z = torch.stack([_batch()["logits"].T, of_embeddings["z"]])
    features["z"] = z[torch.tensor(over_embeddings, dtype=torch.int64)]
    values, gradients = [], []
    for progress in moments:
        of_features = program.run(features, _shared(progress, target))
        values.append(program.values())
        gradients.append(_gradients(of_features, over_embeddings))
    of_moments = [torch.cat(moments_of_one) for moments_of_one in zip(*gradients, strict=True)]
    return list(zip(torch.cat(values, 1), of_moments, strict=True))


def _shared(progress: float, target: str) -> dict[str, Tensor]:
    """Return the inputs that are the same for all formulas."""
    return {
        "y": _batch()[target].T.unsqueeze(0),
        "prior": _batch()["prior"].reshape(1, -1, 1),
        "num_classes": torch.full((1, 1, 1), float(CLASSES), dtype=torch.float64),
        "progress": torch.full((1, 1, 1), progress, dtype=torch.float64),
    }


def _features(*points: Tensor) -> dict[str, Tensor]:
    """Return the features at the points of a formula over embeddings, [classes, samples]; 1 class for the norm."""
    inputs = dict(zip(POINTS, points, strict=True))
    features = {"z": (inputs["embeddings"] @ inputs["weight"].T).T}
    for name in FEATURES:
        terminal = TERMINALS[name]
        if terminal.tensor is not None:
            feature = terminal.tensor(*(inputs[read] for read in terminal.reads))
            features[name] = feature.expand(SAMPLES, -1).T
    return features


@lru_cache(maxsize=1)
def _slopes() -> dict[str, Tensor]:
    """Return the derivative of each feature in the points, [classes*samples, numbers in the points]."""
    points = tuple(_batch()[name] for name in POINTS)
    of_features = {}
    for name in FEATURES:
        slopes = torch.autograd.functional.jacobian(lambda *points, name=name: _features(*points)[name], points)
        of_features[name] = torch.cat([slope.flatten(2).flatten(0, 1) for slope in slopes], 1)
    return of_features


def _gradients(of_features: Mapping[str, Tensor], over_embeddings: Sequence[bool]) -> list[Tensor]:
    """Compute gradients in logits or points from those in features [formulas, classes, samples]."""
    shape = len(over_embeddings), SAMPLES, CLASSES
    z = of_features["z"].transpose(1, 2) if "z" in of_features else torch.zeros(shape, dtype=torch.float64)
    in_logits = z.flatten(1)
    in_points = torch.zeros(shape[0], sum(rows * size for rows, size in POINTS.values()), dtype=torch.float64)
    if any(over_embeddings):
        for name, gradient in of_features.items():
            in_points = in_points + gradient.flatten(1) @ _slopes()[name]
    return [in_points[place] if over else in_logits[place] for place, over in enumerate(over_embeddings)]


def same_on_probe(one: Formula, other: Formula) -> bool:
    """Return True if two formulas agree on the probe in value and gradient. A non-finite number agrees with none."""
    one, other = bind_free_names(one), bind_free_names(other)
    if one.looks_at_embeddings != other.looks_at_embeddings:
        return False
    pairs = zip(*compute_responses([one, other]), strict=True)
    return all(a.shape == b.shape and _close(a, b) for a, b in pairs)


def bind_free_names(formula: Formula) -> Formula:
    """Put a number in the place of each hyper-parameter, a different one for each name."""
    names = sorted(formula.hyperparameters)
    return formula.bind({name: 0.5 + 0.3 / (index + 1.7) for index, name in enumerate(names)}) if names else formula


def _close(a: Tensor, b: Tensor) -> bool:
    size = float(torch.maximum(a.abs().max(), b.abs().max()))
    return bool(torch.isfinite(a).all() and torch.isfinite(b).all() and (a - b).abs().max() <= TOLERANCE * size + NOISE)
