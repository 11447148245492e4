"""A file of any mode and size is decoded to one square image."""

import numpy as np
import pytest
from PIL import Image

from lossearch.evaluators.data.images import BrokenImage, decode, decode_pair, fit_mask
from tests.evaluators.small_images import pixels, write_image


def test_bytes_of_images_are_kept_exactly_in_grey_and_in_color(tmp_path):
    file = write_image(tmp_path / "a.png", 5)
    assert (decode(file, 8) == pixels(5).transpose(2, 0, 1)).all()
    grey = np.asarray(Image.fromarray(pixels(5)).convert("L"))
    assert (decode(file, 8, grey=True) == grey).all()


def test_the_shorter_side_is_scaled_and_the_center_cropped(tmp_path):
    wide = np.zeros((8, 24, 3), np.uint8)
    wide[:, 8:16] = 200
    Image.fromarray(wide).save(tmp_path / "wide.png")
    assert (decode(tmp_path / "wide.png", 8) == 200).all()
    Image.fromarray(wide.transpose(1, 0, 2)).save(tmp_path / "tall.png")
    assert (decode(tmp_path / "tall.png", 8) == 200).all()
    assert decode(tmp_path / "tall.png", 5).shape == (3, 5, 5)


def test_the_orientation_that_a_camera_wrote_is_respected(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees, clockwise
    Image.fromarray(pixels(1)).save(tmp_path / "turned.png", exif=exif)
    assert (decode(tmp_path / "turned.png", 8) == np.rot90(pixels(1), -1).transpose(2, 0, 1)).all()


def test_sixteen_bits_keep_their_upper_eight(tmp_path):
    wide = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1_000
    Image.fromarray(wide).save(tmp_path / "wide.png")
    assert (decode(tmp_path / "wide.png", 8, grey=True)[0] == wide >> 8).all()
    Image.fromarray(np.ones((8, 8), np.float32)).save(tmp_path / "float.tiff")
    with pytest.raises(BrokenImage, match=r"floating-point pixels have no known range"):
        decode(tmp_path / "float.tiff", 8)


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "RGBA", "1"])
def test_images_of_every_mode_become_colors(tmp_path, mode):
    suffix = "tiff" if mode == "CMYK" else "png"
    assert decode(write_image(tmp_path / f"a.{suffix}", mode=mode), 8).shape == (3, 8, 8)


def test_a_large_image_that_only_causes_a_warning_in_pillow_is_broken(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)  # Pillow raises at twice as many
    with pytest.raises(BrokenImage, match=r"DecompressionBombWarning"):
        decode(write_image(tmp_path / "a.png"), 8)


def test_masks_are_cropped_like_their_images_and_keep_their_indices(tmp_path):
    mask = np.zeros((8, 16), np.uint8)
    mask[:, 4:12] = np.arange(8)
    mask[0, 5] = 255
    fitted = fit_mask(Image.fromarray(mask), 8)
    assert fitted[1].tolist() == list(range(8))
    assert fitted[0].tolist() == [0, -1, *range(2, 8)]
    with pytest.raises(BrokenImage, match=r"expected a mask of one byte per pixel, got mode RGB"):
        fit_mask(Image.fromarray(pixels(0)), 8)
    with pytest.raises(BrokenImage, match=r"the image has \(9, 9\) pixels, its mask \(8, 8\)"):
        decode_pair(write_image(tmp_path / "a.png", size=9), write_image(tmp_path / "m.png", mode="L"), 8)
