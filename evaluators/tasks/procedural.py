"""Tasks on procedural images: shapes on textures, their masks, and glyphs whose identities are verified.

Parts come from generators of their own, seeded by fixed numbers, so that they never mix.
"""

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

from lossearch.evaluators.data.procedural import (
    SHAPES,
    SIZE,
    glyph_images,
    glyph_outlines,
    segmentation_images,
    shape_images,
)
from lossearch.evaluators.data.splits import Split, Splits, balanced_pairs, long_tailed, with_symmetric_noise
from lossearch.evaluators.settings import TrainingSettings
from lossearch.evaluators.tasks.metrics import MEAN_IOU, VERIFICATION
from lossearch.evaluators.tasks.task import Task

SHAPE = (3, SIZE, SIZE)
_TRAIN, _VALIDATION, _TEST, _OUTLINES, _NOISE = 101, 102, 103, 104, 105  # seeds

#: Identities that are trained on, and others for validation and test.
IDENTITIES = {_TRAIN: range(24), _VALIDATION: range(24, 36), _TEST: range(36, 48)}

#: Kinds of shapes in the segmentation task; its classes are these and the background.
KINDS = 3

_SHAPES = TrainingSettings(network="resnet", learning_rate=0.1, steps=400)
_GLYPHS = TrainingSettings(network="resnet", learning_rate=0.3, steps=400)
_PIXELS = TrainingSettings(network="dense", batch_size=16, hidden=16, learning_rate=0.3, steps=400)

#: Of a task the cheapest that ranks losses as its full training does: experiments/fidelity, by lossearch fidelity.
_PROXIES = {
    "shapes": _SHAPES.model_copy(update={"steps": 200, "seeds": 1}),
    "shapes_noisy": _SHAPES.model_copy(update={"steps": 200, "seeds": 1}),
    "shapes_long_tail": _SHAPES.model_copy(update={"steps": 200, "seeds": 1}),
    "glyphs": _GLYPHS.model_copy(update={"steps": 200, "seeds": 2}),
    "shapes_segmentation": _PIXELS.model_copy(update={"steps": 50, "seeds": 1}),
}


@lru_cache(maxsize=4)
def _shapes(seed: int, count: int) -> Split:
    generator = torch.Generator().manual_seed(seed)
    classes = torch.arange(count) % len(SHAPES)
    return Split(shape_images(classes, generator)[0], classes)


@lru_cache(maxsize=4)
def _masks(seed: int, count: int) -> Split:
    return Split(*segmentation_images(count, KINDS, torch.Generator().manual_seed(seed)))


@lru_cache(maxsize=4)
def _glyphs(seed: int, count: int) -> Split:
    """Images of a part's identities; those of training are classes from 0 on, the others have pairs to verify."""
    generator = torch.Generator().manual_seed(seed)
    identities: Tensor = torch.tensor(IDENTITIES[seed])[torch.arange(count) % len(IDENTITIES[seed])]
    everyone = max(max(each) for each in IDENTITIES.values()) + 1
    outlines = glyph_outlines(everyone, torch.Generator().manual_seed(_OUTLINES))
    images = glyph_images(identities, outlines, generator)
    pairs = None if seed == _TRAIN else balanced_pairs(identities, 500, seed)
    return Split(images, identities, pairs)


@lru_cache(maxsize=1)
def _noisy() -> Splits:
    train = with_symmetric_noise(_shapes(_TRAIN, 1_600), 0.4, len(SHAPES), _NOISE)
    return Splits(train, _shapes(_VALIDATION, 800))


@lru_cache(maxsize=1)
def _long_tailed() -> Splits:
    return Splits(long_tailed(_shapes(_TRAIN, 1_600), 20.0, len(SHAPES)), _shapes(_VALIDATION, 800))


def _classification(name: str, family: str, what: str, load: Callable[[], Splits]) -> Task:
    return Task(
        name,
        family,
        f"16x16 color images of {len(SHAPES)} shapes on textures{what}",
        len(SHAPES),
        SHAPE,
        load,
        lambda: _shapes(_TEST, 800),
        fidelity=_SHAPES,
        proxy=_PROXIES[name],
    )


TASKS = (
    _classification("shapes", "clean", "", lambda: Splits(_shapes(_TRAIN, 1_600), _shapes(_VALIDATION, 800))),
    _classification("shapes_noisy", "label noise", "; 40 % of the training labels moved to another class", _noisy),
    _classification(
        "shapes_long_tail",
        "long tail",
        "; the first class has 20 times as many training samples as the last",
        _long_tailed,
    ),
    Task(
        "glyphs",
        "open-set verification",
        "16x16 color images of glyphs: 24 identities to train on, pairs of 12 others to verify",
        len(IDENTITIES[_TRAIN]),
        SHAPE,
        lambda: Splits(_glyphs(_TRAIN, 1_440), _glyphs(_VALIDATION, 480)),
        lambda: _glyphs(_TEST, 480),
        metric=VERIFICATION,
        fidelity=_GLYPHS,
        proxy=_PROXIES["glyphs"],
    ),
    Task(
        "shapes_segmentation",
        "segmentation",
        f"16x16 color images of two shapes of {KINDS} kinds, each pixel a kind or background",
        KINDS + 1,
        SHAPE,
        lambda: Splits(_masks(_TRAIN, 600), _masks(_VALIDATION, 200)),
        lambda: _masks(_TEST, 200),
        metric=MEAN_IOU,
        dense=True,
        fidelity=_PIXELS,
        proxy=_PROXIES["shapes_segmentation"],
    ),
)
