"""Generated images that need no download: shapes on textures, with masks, and glyphs of many identities.

Images are [images, 3, SIZE, SIZE] in [-1, 1]. All random choices come from the generator that is passed in.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor


SIZE = 16

#: Classes of shapes, in the order of their indices.
SHAPES = ("disc", "square", "triangle", "diamond", "cross", "ring", "bar", "moon")

#: Number of waves in the outline of a glyph.
WAVES = 4


def draw_shapes(classes: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw an image of one shape for each class index [images], and its mask [images, SIZE, SIZE].

    Place, size, turn, colors and textures are random. A shape may be only slightly lighter or darker than its
    background.
    """
    import torch

    u, v = _draw_pose(len(classes), generator, 0.55, 0.85, turn=0.4, move=0.25)
    inside = torch.stack([_draw_mask(name, u, v) for name in SHAPES])
    mask = inside.gather(0, classes.view(1, -1, 1, 1).expand(1, -1, SIZE, SIZE))[0]
    return _paint(mask, generator), mask


def draw_scenes(count: int, kinds: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw images of two shapes of the first ``kinds``, the second over the first, and targets [images, SIZE, SIZE].

    Target 0 is the background, and k + 1 is the shape of kind k.
    """
    import torch

    targets = torch.zeros(count, SIZE, SIZE, dtype=torch.int64)
    images = _draw_textures(count, generator)
    for _ in range(2):
        kind = torch.randint(0, kinds, (count,), generator=generator)
        over, mask = draw_shapes(kind, generator)
        images = torch.where(mask.unsqueeze(1), over, images)
        targets = torch.where(mask, (kind + 1).view(-1, 1, 1), targets)
    return images, targets


def draw_glyphs(identities: Tensor, outlines: Tensor, generator: torch.Generator) -> Tensor:
    """Draw an image of the glyph of each identity [images]: a closed outline, slightly deformed, turned and moved.

    ``outlines`` [identities, 2, WAVES] are the amplitudes of its waves, as :func:`draw_outlines` draws them.
    """
    import torch

    u, v = _draw_pose(len(identities), generator, 0.6, 0.75, turn=0.3, move=0.15)
    waves = outlines[identities]
    waves = waves + 0.04 * torch.randn(waves.shape, generator=generator)
    angle, radius = torch.atan2(v, u), torch.hypot(u, v)
    # r(angle) = 0.75 + sum over w of a_w cos(w angle) + b_w sin(w angle)
    edge = torch.full_like(angle, 0.75)
    for wave in range(WAVES):
        for part, function in enumerate((torch.cos, torch.sin)):
            edge = edge + waves[:, part, wave].view(-1, 1, 1) * function((wave + 1) * angle)
    return _paint(radius < edge, generator)


def draw_outlines(identities: int, generator: torch.Generator) -> Tensor:
    """Draw random amplitudes of the waves of outlines [identities, 2, WAVES]."""
    import torch

    sizes = torch.tensor([0.16, 0.16, 0.13, 0.1])
    return sizes * torch.randn(identities, 2, WAVES, generator=generator)


def _draw_pose(
    count: int,
    generator: torch.Generator,
    smallest: float,
    largest: float,
    turn: float = math.pi,
    move: float = 0.35,
) -> tuple[Tensor, Tensor]:
    """Compute the pixels' coordinates [count, SIZE, SIZE] in a shape that is turned, moved and scaled at random."""
    import torch

    ticks = (torch.arange(SIZE) + 0.5) / SIZE * 2.0 - 1.0
    down, right = torch.meshgrid(ticks, ticks, indexing="ij")
    angle = _draw_uniform(count, -turn, turn, generator)
    size = _draw_uniform(count, smallest, largest, generator)
    x, y = (axis - _draw_uniform(count, -move, move, generator) for axis in (right, down))
    return (x * angle.cos() + y * angle.sin()) / size, (y * angle.cos() - x * angle.sin()) / size


def _draw_mask(name: str, u: Tensor, v: Tensor) -> Tensor:
    """Compute the mask of a shape of about unit size, from coordinates [images, SIZE, SIZE]."""
    import torch

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


def _paint(mask: Tensor, generator: torch.Generator) -> Tensor:
    """Paint one texture inside the mask [images, SIZE, SIZE] and another outside, and add noise."""
    import torch

    inner, outer = _draw_textures(len(mask), generator), _draw_textures(len(mask), generator)
    images = torch.where(mask.unsqueeze(1), inner, outer)
    return (images + 0.15 * torch.randn(images.shape, generator=generator)).clamp(-1.0, 1.0)


def _draw_textures(count: int, generator: torch.Generator) -> Tensor:
    """Draw stripes of two similar colors, of random width and direction [count, 3, SIZE, SIZE]."""
    import torch

    color = torch.rand(count, 3, 1, 1, generator=generator) * 1.6 - 0.8
    other = color + 0.2 * torch.randn(count, 3, 1, 1, generator=generator)
    angle, pace = _draw_uniform(count, 0.0, math.pi, generator), _draw_uniform(count, 2.0, 9.0, generator)
    ticks = (torch.arange(SIZE) + 0.5) / SIZE * 2.0 - 1.0
    down, right = torch.meshgrid(ticks, ticks, indexing="ij")
    wave = torch.sin(pace * (right * angle.cos() + down * angle.sin()) + _draw_uniform(count, 0.0, 6.28, generator))
    share = (0.5 + 0.5 * wave).unsqueeze(1)
    return (color * share + other * (1.0 - share)).clamp(-1.0, 1.0)


def _draw_uniform(count: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    import torch

    return (low + (high - low) * torch.rand(count, generator=generator)).view(-1, 1, 1)
