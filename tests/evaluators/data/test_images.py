"""A file of any mode and size is decoded to one square image."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from lossearch.evaluators.data.images import BrokenImage, decode, decode_pair, find_used_bits, fit_mask
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


@pytest.mark.parametrize("largest", [255, 1_023, 4_095, 65_535])
@pytest.mark.parametrize("color", [False, True])
def test_sixteen_bit_files_are_scaled_by_the_bits_that_they_use(tmp_path, largest, color):
    steps = np.linspace(0, largest, 64).astype(np.uint16).reshape(8, 8)
    file = tmp_path / "wide.png"
    if color:
        file.write_bytes(png(np.stack([steps, steps.T, steps], -1), 2))
    else:
        Image.fromarray(steps).save(file)
    red, green, _ = decode(file, 8).astype(int)
    expected = steps // ((largest + 1) // 256)
    assert (red == expected).all()
    assert (green == (expected.T if color else expected)).all()


@pytest.mark.parametrize("largest", [255, 4_095, 65_535])
@pytest.mark.parametrize("kind", ["P6", "P3", "P5"])
def test_netpbm_files_of_sixteen_bits_are_scaled_by_the_bits_that_they_use(tmp_path, largest, kind):
    steps = np.linspace(0, largest, 64).astype(np.uint16).reshape(8, 8)
    values = steps if kind == "P5" else np.stack([steps, steps.T, steps], -1)
    file = tmp_path / "wide.ppm"
    body = " ".join(map(str, values.ravel())).encode() if kind == "P3" else values.astype(">u2").tobytes()
    file.write_bytes(f"{kind}\n# by hand\n8 8\n65535\n".encode() + body + b"\n")
    expected = steps.astype(np.int64) * 255 // largest
    assert np.abs(decode(file, 8)[0].astype(np.int64) - expected).max() <= 1
    assert find_used_bits([file]) == largest.bit_length()


def test_a_netpbm_file_tells_its_largest_value(tmp_path):
    values = np.full((8, 8, 3), 500)
    (tmp_path / "a.ppm").write_bytes(b"P6 8 8 1000\n" + values.astype(">u2").tobytes())
    assert np.abs(decode(tmp_path / "a.ppm", 8).astype(int) - 127).max() <= 1
    (tmp_path / "b.ppm").write_bytes(b"P6 8 8 1000\n" + values.astype(">u2").tobytes()[:-2])
    (tmp_path / "c.ppm").write_bytes(b"P3 8 8 1000\n" + b"2000 " * 192)
    for name in ("b.ppm", "c.ppm"):
        with pytest.raises(BrokenImage):
            decode(tmp_path / name, 8)


def png(pixels, color_type):
    """Write a PNG file of 16 bits per channel, by its specification: Pillow cannot write one in color."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, color_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_one_scale_holds_for_all_sixteen_bit_files(tmp_path):
    for name, largest in (("dark", 100), ("bright", 4_000)):
        Image.fromarray(np.full((8, 8), largest, np.uint16)).save(tmp_path / f"{name}.png")
    files = [tmp_path / "dark.png", tmp_path / "bright.png", write_image(tmp_path / "narrow.png")]
    assert find_used_bits(files) == 12
    assert [int(decode(file, 8, bits=12).max()) for file in files[:2]] == [100 >> 4, 4_000 >> 4]
    assert find_used_bits(files[2:]) is None


def test_sixteen_bit_color_keeps_its_transparency(tmp_path):
    pixels_of = np.full((8, 8, 4), 200, np.uint16)
    pixels_of[..., 3] = 65_535
    pixels_of[:4, :, 3] = 0
    (tmp_path / "a.png").write_bytes(png(pixels_of, 6))
    red = decode(tmp_path / "a.png", 8)[0]
    assert (set(red[:4].flat), set(red[4:].flat)) == ({0}, {200})


@pytest.mark.parametrize("shade", [0, 90, 255])
@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_what_a_picture_shows_differs_from_its_transparent_ground(tmp_path, shade, mode):
    alpha = np.zeros((8, 8), np.uint8)
    alpha[2:6, 2:6] = 255
    image = np.dstack([np.full((8, 8, 3), shade, np.uint8), alpha])
    Image.fromarray(image).convert(mode).save(tmp_path / "a.png")
    grey = decode(tmp_path / "a.png", 8, grey=True)[0].astype(int)
    assert (grey[2:6, 2:6] == shade).all()
    assert abs(grey[0, 0] - shade) >= 127
    Image.fromarray(image[..., :3] * 0 + 60).convert("RGBA").save(tmp_path / "opaque.png")
    assert (decode(tmp_path / "opaque.png", 8) == 60).all()


def test_colors_that_a_palette_marks_as_transparent_and_images_without_any_opacity(tmp_path):
    image = Image.fromarray((np.arange(64).reshape(8, 8) % 2).astype(np.uint8), mode="P")
    image.putpalette([0, 0, 0, 10, 10, 10])
    image.save(tmp_path / "a.png", transparency=0)
    assert set(decode(tmp_path / "a.png", 8).flat) == {255, 10}
    hidden = np.dstack([pixels(3), np.zeros((8, 8), np.uint8)])
    Image.fromarray(hidden).save(tmp_path / "hidden.png")
    assert (decode(tmp_path / "hidden.png", 8) == pixels(3).transpose(2, 0, 1)).all()


def test_the_first_picture_of_an_animation_is_taken(tmp_path):
    first, second = (Image.fromarray(np.full((8, 8), shade, np.uint8)) for shade in (40, 200))
    first.save(tmp_path / "a.gif", save_all=True, append_images=[second])
    assert (decode(tmp_path / "a.gif", 8) == 40).all()


def test_an_image_that_would_fill_the_memory_is_broken(tmp_path):
    bomb = png(np.zeros((1, 1), np.uint16), 6).replace(struct.pack(">II", 1, 1), struct.pack(">II", 9_000, 9_000))
    head = bomb[12:29]
    (tmp_path / "a.png").write_bytes(bomb.replace(bomb[29:33], struct.pack(">I", zlib.crc32(head)), 1))
    with pytest.raises(BrokenImage, match="9000x9000 pixels, more than 268,435,456 bytes"):
        decode(tmp_path / "a.png", 8)


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
