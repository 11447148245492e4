"""Procedural images: shapes on textures, with masks, and glyphs of many identities; nothing is downloaded.

Images are [3, SIZE, SIZE] in [-1, 1]. Every random choice comes from the generator that is passed in.
"""

import math

import torch
from torch import Tensor

SIZE = 16

#: Classes of shapes, in the order of their indices.
SHAPES = ("disc", "square", "triangle", "diamond", "cross", "ring", "bar", "moon")

#: Waves of a glyph's outline.
WAVES = 4


def shape_images(classes: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """An image with one shape for each class index, and masks [images, SIZE, SIZE] of where it is.

    Place, size, turn, colors and textures are random; a shape may be little lighter or darker than what is behind it.
    """
    u, v = _posed(len(classes), generator, 0.55, 0.85, turn=0.4, move=0.25)
    inside = torch.stack([_inside(name, u, v) for name in SHAPES])
    mask = inside.gather(0, classes.view(1, -1, 1, 1).expand(1, -1, SIZE, SIZE))[0]
    return _painted(mask, generator), mask


def segmentation_images(count: int, kinds: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Images with two shapes of the first ``kinds``, and targets [images, SIZE, SIZE]: 0 is background, k + 1 kind k.

    The second shape lies over the first.
    """
    targets = torch.zeros(count, SIZE, SIZE, dtype=torch.int64)
    images = _textures(count, generator)
    for _ in range(2):
        kind = torch.randint(0, kinds, (count,), generator=generator)
        over, mask = shape_images(kind, generator)
        images = torch.where(mask.unsqueeze(1), over, images)
        targets = torch.where(mask, (kind + 1).view(-1, 1, 1), targets)
    return images, targets


def glyph_images(identities: Tensor, outlines: Tensor, generator: torch.Generator) -> Tensor:
    """An image of each identity's glyph: a closed outline, somewhat deformed, turned and moved at random.

    ``outlines`` [identities, 2, WAVES] are the amplitudes of its waves, as :func:`glyph_outlines` draws them.
    """
    u, v = _posed(len(identities), generator, 0.6, 0.75, turn=0.3, move=0.15)
    own = outlines[identities]
    own = own + 0.04 * torch.randn(own.shape, generator=generator)
    angle, radius = torch.atan2(v, u), torch.hypot(u, v)
    edge = torch.full_like(angle, 0.75)
    for wave in range(WAVES):
        for part, function in enumerate((torch.cos, torch.sin)):
            edge = edge + own[:, part, wave].view(-1, 1, 1) * function((wave + 1) * angle)
    return _painted(radius < edge, generator)


def glyph_outlines(identities: int, generator: torch.Generator) -> Tensor:
    """Random outlines [identities, 2, WAVES]."""
    sizes = torch.tensor([0.16, 0.16, 0.13, 0.1])
    return sizes * torch.randn(identities, 2, WAVES, generator=generator)


def _posed(
    count: int,
    generator: torch.Generator,
    smallest: float,
    largest: float,
    turn: float = math.pi,
    move: float = 0.35,
) -> tuple[Tensor, Tensor]:
    """Coordinates [count, SIZE, SIZE] of each pixel as a shape sees them that is turned, moved and sized at random."""
    ticks = (torch.arange(SIZE) + 0.5) / SIZE * 2.0 - 1.0
    down, right = torch.meshgrid(ticks, ticks, indexing="ij")
    angle = _uniform(count, -turn, turn, generator)
    size = _uniform(count, smallest, largest, generator)
    x, y = (axis - _uniform(count, -move, move, generator) for axis in (right, down))
    return (x * angle.cos() + y * angle.sin()) / size, (y * angle.cos() - x * angle.sin()) / size


def _inside(name: str, u: Tensor, v: Tensor) -> Tensor:
    """Where a shape of about unit size is."""
    radius = torch.hypot(u, v)
    if name == "disc":
        return radius < 0.8
    if name == "square":
        return torch.maximum(u.abs(), v.abs()) < 0.7
    if name == "triangle":
        return (v > -0.6) & (v < 0.9 - 1.5 * u.abs())
    if name == "diamond":
        return u.abs() * 1.7 + v.abs() < 1.0
    if name == "cross":
        return (torch.minimum(u.abs(), v.abs()) < 0.25) & (torch.maximum(u.abs(), v.abs()) < 0.9)
    if name == "ring":
        return (radius < 0.9) & (radius > 0.5)
    if name == "bar":
        return (u.abs() < 0.95) & (v.abs() < 0.3)
    assert name == "moon"
    return (radius < 0.85) & (torch.hypot(u - 0.45, v) > 0.6)


def _painted(mask: Tensor, generator: torch.Generator) -> Tensor:
    """One texture where the mask is, another where it is not, and noise."""
    inner, outer = _textures(len(mask), generator), _textures(len(mask), generator)
    images = torch.where(mask.unsqueeze(1), inner, outer)
    return (images + 0.15 * torch.randn(images.shape, generator=generator)).clamp(-1.0, 1.0)


def _textures(count: int, generator: torch.Generator) -> Tensor:
    """Stripes of two similar colors, of random width and direction, [count, 3, SIZE, SIZE]."""
    color = torch.rand(count, 3, 1, 1, generator=generator) * 1.6 - 0.8
    other = color + 0.2 * torch.randn(count, 3, 1, 1, generator=generator)
    angle, pace = _uniform(count, 0.0, math.pi, generator), _uniform(count, 2.0, 9.0, generator)
    ticks = (torch.arange(SIZE) + 0.5) / SIZE * 2.0 - 1.0
    down, right = torch.meshgrid(ticks, ticks, indexing="ij")
    wave = torch.sin(pace * (right * angle.cos() + down * angle.sin()) + _uniform(count, 0.0, 6.28, generator))
    share = (0.5 + 0.5 * wave).unsqueeze(1)
    return (color * share + other * (1.0 - share)).clamp(-1.0, 1.0)


def _uniform(count: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    return (low + (high - low) * torch.rand(count, generator=generator)).view(-1, 1, 1)
