"""Tasks on generated images: shapes on textures, their masks, and glyphs whose identities are verified.

Each part has a generator of its own with a fixed seed, so that parts never mix.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

from lossearch.evaluators.data.corruption import add_symmetric_noise, make_long_tailed
from lossearch.evaluators.data.pairs import draw_balanced_pairs
from lossearch.evaluators.data.procedural import SHAPES, SIZE, draw_glyphs, draw_outlines, draw_scenes, draw_shapes
from lossearch.evaluators.data.splits import Split, Splits
from lossearch.evaluators.settings import TrainingSettings
from lossearch.evaluators.tasks.metrics import MEAN_IOU, VERIFICATION
from lossearch.evaluators.tasks.task import IMAGE_TRAINING, PIXEL_TRAINING, Task

if TYPE_CHECKING:
    from torch import Tensor

SHAPE = (3, SIZE, SIZE)
_TRAIN, _VALIDATION, _TEST, _OUTLINES, _NOISE = 101, 102, 103, 104, 105  # seeds

#: Identities by the seed of their part.
IDENTITIES = {_TRAIN: range(24), _VALIDATION: range(24, 36), _TEST: range(36, 48)}

#: Kinds of shapes in the segmentation task. Its classes are these and the background.
KINDS = 3

_GLYPHS = TrainingSettings(network="resnet", learning_rate=0.3, steps=400)

#: The cheapest training of each task that ranks losses like its full training. Measured by ``lossearch fidelity``, see
#: experiments/fidelity.
_PROXIES = {
    "shapes": IMAGE_TRAINING.model_copy(update={"steps": 200, "seeds": 1}),
    "shapes_noisy": IMAGE_TRAINING.model_copy(update={"steps": 200, "seeds": 1}),
    "shapes_long_tail": IMAGE_TRAINING.model_copy(update={"steps": 200, "seeds": 1}),
    "glyphs": _GLYPHS.model_copy(update={"steps": 200, "seeds": 2}),
    "shapes_segmentation": PIXEL_TRAINING.model_copy(update={"steps": 50, "seeds": 1}),
}


@lru_cache(maxsize=4)
def _make_shapes(seed: int, count: int) -> Split:
    import torch

    generator = torch.Generator().manual_seed(seed)
    classes = torch.arange(count) % len(SHAPES)
    return Split(draw_shapes(classes, generator)[0], classes)


@lru_cache(maxsize=4)
def _make_masks(seed: int, count: int) -> Split:
    import torch

    return Split(*draw_scenes(count, KINDS, torch.Generator().manual_seed(seed)))


@lru_cache(maxsize=4)
def _make_glyphs(seed: int, count: int) -> Split:
    """Draw images of the identities of a part, with pairs to verify unless the part trains."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    identities: Tensor = torch.tensor(IDENTITIES[seed])[torch.arange(count) % len(IDENTITIES[seed])]
    outlines = draw_outlines(sum(map(len, IDENTITIES.values())), torch.Generator().manual_seed(_OUTLINES))
    images = draw_glyphs(identities, outlines, generator)
    pairs = None if seed == _TRAIN else draw_balanced_pairs(identities, 500, seed)
    return Split(images, identities, pairs)


@lru_cache(maxsize=1)
def _load_noisy() -> Splits:
    train = add_symmetric_noise(_make_shapes(_TRAIN, 1_600), 0.4, len(SHAPES), _NOISE)
    return Splits(train, _make_shapes(_VALIDATION, 800))


@lru_cache(maxsize=1)
def _load_long_tailed() -> Splits:
    return Splits(make_long_tailed(_make_shapes(_TRAIN, 1_600), 20.0, len(SHAPES)), _make_shapes(_VALIDATION, 800))


def _make_classification(name: str, family: str, suffix: str, load: Callable[[], Splits]) -> Task:
    return Task(
        name,
        family,
        f"16x16 color images of {len(SHAPES)} shapes on textures{suffix}",
        len(SHAPES),
        SHAPE,
        load,
        lambda: _make_shapes(_TEST, 800),
        fidelity=IMAGE_TRAINING,
        proxy=_PROXIES[name],
    )


TASKS = (
    _make_classification(
        "shapes", "clean", "", lambda: Splits(_make_shapes(_TRAIN, 1_600), _make_shapes(_VALIDATION, 800))
    ),
    _make_classification(
        "shapes_noisy", "label noise", "; 40 % of the training labels moved to another class", _load_noisy
    ),
    _make_classification(
        "shapes_long_tail",
        "long tail",
        "; the first class has 20 times as many training samples as the last",
        _load_long_tailed,
    ),
    Task(
        "glyphs",
        "open-set verification",
        "16x16 color images of glyphs: 24 identities to train on, pairs of 12 others to verify",
        len(IDENTITIES[_TRAIN]),
        SHAPE,
        lambda: Splits(_make_glyphs(_TRAIN, 1_440), _make_glyphs(_VALIDATION, 480)),
        lambda: _make_glyphs(_TEST, 480),
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
        lambda: Splits(_make_masks(_TRAIN, 600), _make_masks(_VALIDATION, 200)),
        lambda: _make_masks(_TEST, 200),
        metric=MEAN_IOU,
        dense=True,
        fidelity=PIXEL_TRAINING,
        proxy=_PROXIES["shapes_segmentation"],
    ),
)
