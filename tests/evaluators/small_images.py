"""Small images in files, for tests."""

import numpy as np
from PIL import Image


def pixels(number, size=8, channels=3):
    """Make bytes [size, size, channels] that differ for each number."""
    return np.random.default_rng(number).integers(0, 256, (size, size, channels), np.uint8)


def write_image(path, number=0, size=8, mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels(number, size)).convert(mode).save(path)
    return path


def write_shade(path, number, size=8, mode="RGB"):
    """Write an image of one shade of grey, from which its number, up to 127, can be read even in a JPEG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((size, size, 3), 2 * number, np.uint8)).convert(mode).save(path)
    return path


def write_folder(folder, classes=("cats", "dogs"), each=8, size=8, first=0):
    """Write a folder with one subfolder of images for each class. No two images are alike."""
    for index, name in enumerate(classes):
        for number in range(each):
            write_image(folder / name / f"{number:03d}.png", 1_000 * index + number + first, size)
    return folder
