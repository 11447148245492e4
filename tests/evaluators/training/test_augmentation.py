import pytest
import torch

from lossearch.evaluators.settings import TrainingSettings
from lossearch.evaluators.training.schedule import Augmentation

POSITION = torch.zeros(1, dtype=torch.int64)
IMAGES = torch.arange(2 * 3 * 2 * 4 * 5, dtype=torch.float32).view(2, 3, 2, 4, 5)  # seeds, batch, channels, 4x5


def augmented(seeds=(1, 2), position=0, **settings):
    fidelity = TrainingSettings(steps=4, batch_size=3, **settings)
    return Augmentation(fidelity, IMAGES.shape[2:], seeds)(IMAGES, POSITION + position)


def shift_and_flip(image, down, right, flip):
    """Shift and flip an image [channels, height, width] pixel by pixel, and repeat its edges."""
    height, width = image.shape[1:]
    result = torch.empty_like(image)
    for row in range(height):
        for column in range(width):
            from_row = min(max(row - down, 0), height - 1)
            from_column = min(max(column - right, 0), width - 1)
            result[:, row, column] = image[:, from_row, width - 1 - from_column if flip else from_column]
    return result


@pytest.mark.parametrize(("shift", "flip"), [(2, False), (0, True), (2, True)])
def test_each_image_is_shifted_and_flipped_in_one_of_the_allowed_ways(shift, flip):
    changed = augmented(shift=shift, flip=flip)
    ways = [(d, r, f) for d in range(-shift, shift + 1) for r in range(-shift, shift + 1) for f in {False, flip}]
    for before, after in zip(IMAGES.flatten(0, 1), changed.flatten(0, 1), strict=True):
        assert any(torch.equal(after, shift_and_flip(before, *way)) for way in ways)


def test_half_of_many_images_are_flipped_and_every_shift_occurs():
    fidelity = TrainingSettings(steps=2, batch_size=400, shift=1, flip=True)
    image = torch.arange(20.0).view(1, 4, 5)
    images = image.expand(1, 400, 1, 4, 5)
    changed = [image.tolist() for image in Augmentation(fidelity, (1, 4, 5), [0])(images, POSITION)[0]]
    ways = {
        (d, r, f): shift_and_flip(image, d, r, f).tolist()
        for d in (-1, 0, 1)
        for r in (-1, 0, 1)
        for f in (False, True)
    }
    counts = {way: changed.count(expected) for way, expected in ways.items()}
    assert sum(counts.values()) == 400
    assert min(counts.values()) > 0
    assert 150 < sum(count for (_, _, flip), count in counts.items() if flip) < 250


def test_noise_has_the_standard_deviation_that_was_asked_for():
    fidelity = TrainingSettings(steps=1, batch_size=500, noise=0.3)
    images = torch.zeros(1, 500, 1, 4, 5)
    noise = Augmentation(fidelity, (1, 4, 5), [0])(images, POSITION)
    assert noise.mean().abs() < 0.01
    assert noise.std() == pytest.approx(0.3, rel=0.05)


def test_augmentation_depends_on_seed_and_step_alone():
    settings = {"shift": 2, "flip": True, "noise": 0.1}
    assert torch.equal(augmented(**settings), augmented(**settings))
    assert torch.equal(augmented(seeds=(1, 2), **settings)[0], augmented(seeds=(1, 7), **settings)[0])
    assert not torch.equal(augmented(seeds=(1, 2), **settings)[1], augmented(seeds=(1, 7), **settings)[1])
    assert not torch.equal(augmented(**settings), augmented(position=1, **settings))


def test_only_images_are_shifted():
    with pytest.raises(ValueError, match=r"Expected images to shift or flip, got inputs of shape \[64\]"):
        Augmentation(TrainingSettings(steps=1, flip=True), (64,), [0])
    plain = Augmentation(TrainingSettings(steps=1, batch_size=3, noise=0.1), (64,), [0])
    assert plain(torch.zeros(1, 3, 64), POSITION).shape == (1, 3, 64)


def test_the_label_of_a_training_names_its_augmentation():
    assert TrainingSettings(shift=1, flip=True, noise=0.25).label() == "mlp64-200x64-lr0.1-m0.9-shift1-flip-noise0.25"
    assert TrainingSettings(rungs=(20, 60)).label() == TrainingSettings().label() == "mlp64-200x64-lr0.1-m0.9"
    assert TrainingSettings(rungs=(20, 60)).label(20) == "mlp64-200x64-lr0.1-m0.9@20"
