import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from evaluators.data.identities import same_name
from evaluators.data.image_folder import ImageFolder
from evaluators.data.images import BrokenImage, decoded, decoded_pair, fitted_mask
from evaluators.tasks.folder import FolderData, folder_task
from primitives.errors import UserError
from tests.evaluators.small_images import pixels, write_folder, write_image


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("LOSSEARCH_DATA", str(tmp_path / "home"))
    return tmp_path / "home"


def task_of(folder, **options):
    return folder_task("own", FolderData(folder=str(folder), size=options.pop("size", 8), **options))


def loaded(folder, **options):
    task = task_of(folder, **options)
    splits = task.load()
    return [splits.train, splits.validation, task.load_test()]


def rows(split):
    return {tuple(row) for row in split.inputs.flatten(1).tolist()}


def test_a_folder_is_a_task_of_its_subfolders(tmp_path):
    task = task_of(write_folder(tmp_path / "pets", ("dogs", "cats", "birds")))
    assert (task.name, task.family, task.classes, task.shape) == ("own", "own data", 3, (3, 8, 8))
    assert not task.needs_download
    parts = [task.load().train, task.load().validation, task.load_test()]
    assert [len(part) for part in parts] == [12, 6, 6]
    assert [torch.bincount(part.targets).tolist() for part in parts] == [[4] * 3, [2] * 3, [2] * 3]
    assert len(rows(parts[0]) | rows(parts[1]) | rows(parts[2])) == 24
    assert task.load().train.inputs is task.load().train.inputs
    dogs = {tuple(pixels(number).transpose(2, 0, 1).flatten().tolist()) for number in range(8)}
    for index in range(3):  # birds, cats, dogs
        found = rows(parts[0].part(torch.nonzero(parts[0].targets == index).flatten()))
        assert (found <= dogs) == (index == 2)


def test_bytes_of_images_are_kept_exactly_in_grey_and_in_color(tmp_path):
    file = write_image(tmp_path / "a.png", 5)
    assert (decoded(file, 8) == pixels(5).transpose(2, 0, 1)).all()
    grey = np.asarray(Image.fromarray(pixels(5)).convert("L"))
    assert (decoded(file, 8, grey=True) == grey).all()


def test_the_shorter_side_is_scaled_and_the_center_cropped(tmp_path):
    wide = np.zeros((8, 24, 3), np.uint8)
    wide[:, 8:16] = 200
    Image.fromarray(wide).save(tmp_path / "wide.png")
    assert (decoded(tmp_path / "wide.png", 8) == 200).all()
    Image.fromarray(wide.transpose(1, 0, 2)).save(tmp_path / "tall.png")
    assert (decoded(tmp_path / "tall.png", 8) == 200).all()
    assert decoded(tmp_path / "tall.png", 5).shape == (3, 5, 5)


def test_the_orientation_that_a_camera_wrote_is_respected(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees, clockwise
    Image.fromarray(pixels(1)).save(tmp_path / "turned.png", exif=exif)
    assert (decoded(tmp_path / "turned.png", 8) == np.rot90(pixels(1), -1).transpose(2, 0, 1)).all()


def test_sixteen_bits_keep_their_upper_eight(tmp_path):
    wide = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1_000
    Image.fromarray(wide).save(tmp_path / "wide.png")
    assert (decoded(tmp_path / "wide.png", 8, grey=True)[0] == wide >> 8).all()
    Image.fromarray(np.ones((8, 8), np.float32)).save(tmp_path / "float.tiff")
    with pytest.raises(BrokenImage, match=r"floating-point pixels have no known range"):
        decoded(tmp_path / "float.tiff", 8)


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "RGBA", "1"])
def test_images_of_every_mode_become_colors(tmp_path, mode):
    suffix = "tiff" if mode == "CMYK" else "png"
    assert decoded(write_image(tmp_path / f"a.{suffix}", mode=mode), 8).shape == (3, 8, 8)


def bomb(path):
    """A PNG whose header promises 20,000 x 20,000 pixels."""
    chunks = (b"IHDR" + struct.pack(">IIBBBBB", 20_000, 20_000, 8, 0, 0, 0, 0), b"IDAT" + zlib.compress(b"0" * 100))
    packed = [struct.pack(">I", len(each) - 4) + each + struct.pack(">I", zlib.crc32(each)) for each in chunks]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(packed))


def postscript(path):
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\nshowpage\n")


def torn(path):
    write_image(path, size=64)
    path.write_bytes(path.read_bytes()[:2_000])


BROKEN = {
    "text": (lambda path: path.write_text("no image"), "no image of a known format"),
    "empty": (lambda path: path.write_bytes(b""), "no image of a known format"),
    "torn": (torn, "OSError: "),
    "bomb": (bomb, "DecompressionBombError"),
    "postscript": (postscript, "no image of a known format"),
    "pickle": (lambda path: path.write_bytes(b"\x80\x04cos\nsystem\n."), "no image of a known format"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_file_is_skipped_with_its_name_or_refused(tmp_path, kind):
    folder = write_folder(tmp_path / "pets")
    write, reason = BROKEN[kind]
    write(folder / "cats" / "odd.png")
    task = task_of(folder)
    with pytest.warns(UserWarning, match=r"Broken files in .*pets were skipped: 1, such as cats/odd.png \(" + reason):
        assert len(task.load().train) + len(task.load().validation) + len(task.load_test()) == 16
    (about,) = (Path(os.environ["LOSSEARCH_DATA"]) / "prepared").glob("pets-*/about.json")
    assert "cats/odd.png" in about.read_text()
    with pytest.raises(
        UserError, match=r"got broken files: 1, such as cats/odd.png \(.*Remove them, or say broken = 'skip'"
    ):
        task_of(folder, broken="refuse").load()


def test_a_large_image_that_pillow_only_warns_of_is_broken(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)  # Pillow raises at twice as many
    with pytest.raises(BrokenImage, match=r"DecompressionBombWarning"):
        decoded(write_image(tmp_path / "a.png"), 8)


def test_hidden_files_other_suffixes_and_pipes_are_ignored(tmp_path):
    folder = write_folder(tmp_path / "pets")
    (folder / "cats" / "Thumbs.db").write_bytes(b"x")
    (folder / "cats" / ".hidden.png").write_bytes(b"x")
    (folder / ".git").mkdir()
    (folder / "README.md").write_text("pets")
    os.mkfifo(folder / "dogs" / "pipe.png")
    write_image(folder / "dogs" / "LOUD.PNG", 99)
    assert [len(part) for part in loaded(folder)] == [8, 4, 5]


def test_links_that_leave_the_folder_are_not_followed(tmp_path):
    folder = write_folder(tmp_path / "pets")
    elsewhere = write_folder(tmp_path / "elsewhere", ("birds",))
    (folder / "birds").symlink_to(elsewhere / "birds")
    (folder / "cats" / "way.png").symlink_to(elsewhere / "birds" / "000.png")
    (folder / "cats" / "again.png").symlink_to("000.png")
    (folder / "cats" / "round.png").symlink_to("round.png")
    (folder / "dogs" / "gone.png").symlink_to("nothing.png")
    task = task_of(folder)
    assert task.classes == 2
    with pytest.warns(UserWarning, match=r"Links that leave .*pets were not followed: 2\."):
        assert len(task.load().train) + len(task.load().validation) + len(task.load_test()) == 17


def test_a_folder_that_is_split_stays_so(tmp_path):
    folder = tmp_path / "pets"
    for number, (part, each) in enumerate({"train": 5, "val": 2, "test": 3}.items()):
        write_folder(folder / part, ("cats", "dogs"), each, size=8 + number)
    assert [len(part) for part in loaded(folder)] == [10, 4, 6]
    (folder / "val").rename(folder / "validation")
    assert [len(part) for part in loaded(folder)] == [10, 4, 6]


def test_without_a_validation_part_a_tenth_of_training_validates(tmp_path):
    write_folder(tmp_path / "pets" / "train", each=20)
    write_folder(tmp_path / "pets" / "test", each=3)
    assert [len(part) for part in loaded(tmp_path / "pets")] == [36, 4, 6]


def one_class(folder):
    write_folder(folder, ("cats",))


def few(folder):
    write_folder(folder)
    write_folder(folder, ("eels",), each=3)


def loose(folder):
    write_image(folder / "a.png")
    (folder / "cats").mkdir()


def half_split(folder):
    write_folder(folder / "train")
    write_folder(folder / "val")


def odd_split(folder):
    for part in ("train", "val", "test", "more"):
        write_folder(folder / part)


def two_validations(folder):
    for part in ("train", "val", "validation", "test"):
        write_folder(folder / part)


def no_dogs_in_test(folder):
    for part in ("train", "val"):
        write_folder(folder / part)
    write_folder(folder / "test", ("cats",))


def unknown_in_validation(folder):
    for part in ("train", "test"):
        write_folder(folder / part)
    write_folder(folder / "val", ("cats", "dog"))


BAD = {
    "missing": (lambda folder: None, "Expected a folder of images at .*pets, got nothing. Mend the path"),
    "file": (lambda folder: folder.write_text(""), "Expected a folder of images at .*pets, got a file"),
    "empty": (lambda folder: folder.mkdir(), r"Expected images \(.bmp, .*\) in .*pets, .* got none. Put the images"),
    "loose": (loose, "got none but 1 outside of subfolders. Put the images of each class into a subfolder"),
    "one class": (one_class, "Expected two classes at least in .*pets, got one, cats. Add a subfolder"),
    "few": (few, "Expected 4 images at least of class 'eels', got 3. Add images, or remove the class"),
    "half split": (half_split, "Expected train, validation .* and test in .*, which is split, got train, val. Add"),
    "odd split": (odd_split, "got train, val, test, more. Add what is missing and move away what is odd"),
    "two validations": (two_validations, "got train, validation, val, test"),
    "no dogs": (no_dogs_in_test, "Expected 1 image at least of class 'dogs' in test, got 0"),
    "unknown": (unknown_in_validation, "Unknown class 'dog' in validation, which train has not; did you mean dogs"),
}


def test_a_folder_that_cannot_be_read_is_refused(tmp_path, monkeypatch):
    folder = write_folder(tmp_path / "pets")

    def denied(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", denied)
    with pytest.raises(UserError, match=r"Expected to read .*pets, got: Permission denied. Mend its permissions"):
        task_of(folder)


@pytest.mark.parametrize("kind", BAD)
def test_a_folder_that_cannot_be_divided_is_refused_at_once(tmp_path, kind):
    write, said = BAD[kind]
    write(tmp_path / "pets")
    with pytest.raises(UserError, match=said):
        task_of(tmp_path / "pets")


def test_a_class_whose_images_are_all_broken_is_refused(tmp_path):
    folder = write_folder(tmp_path / "pets")
    for file in (folder / "dogs").iterdir():
        file.write_bytes(b"")
    with (
        pytest.warns(UserWarning, match=r"were skipped: 8, such as"),
        pytest.raises(UserError, match=r"got none of class 'dogs' in train that can be read. Add images"),
    ):
        task_of(folder).load()
    for file in (folder / "cats").iterdir():
        file.write_bytes(b"")
    with pytest.raises(UserError, match=r"Expected samples, got none; broken files: 16, such as"):
        task_of(folder).load()


def test_names_from_outside_are_shown_in_printable_characters(tmp_path):
    write_folder(tmp_path / "pets", ("cats", "d\x1b[31mgs\u202e"), each=3)
    with pytest.raises(UserError, match=r"'cats', got 3") as first:
        task_of(tmp_path / "pets")
    assert str(first.value).isascii()
    write_folder(tmp_path / "pets", ("cats",), each=4)
    with pytest.raises(UserError, match=r"got 3") as second:
        task_of(tmp_path / "pets")
    assert str(second.value).isascii()
    assert str(second.value).isprintable()


def test_a_changed_image_is_decoded_again(tmp_path):
    folder = write_folder(tmp_path / "pets")
    before = set().union(*map(rows, loaded(folder)))
    write_image(folder / "cats" / "000.png", 77)
    after = set().union(*map(rows, loaded(folder)))
    assert len(before - after) == len(after - before) == 1


def test_identities_to_verify_are_never_trained_on(tmp_path):
    folder = write_folder(tmp_path / "people", [f"person {k:02d}" for k in range(12)], each=3)
    write_folder(folder, ("person 99",), each=1)  # cannot be verified, and is trained on
    task = task_of(folder, verification=True, grey=True)
    assert (task.classes, task.shape, task.metric.name) == (7, (1, 8, 8), "verification accuracy")
    train, validation, test = task.load().train, task.load().validation, task.load_test()
    assert set(train.targets.tolist()) == set(range(7))
    assert set(validation.targets.tolist()) == {7, 8, 9}
    assert set(test.targets.tolist()) == {10, 11, 12}
    for part in (validation, test):
        assert (part.targets[part.pairs.first] == part.targets[part.pairs.second]).equal(part.pairs.same)
        assert int(part.pairs.same.sum()) * 2 == len(part.pairs)
    assert not rows(train) & rows(validation) | rows(train) & rows(test)


def test_verification_wants_two_identities_with_two_images_in_each_part(tmp_path):
    folder = write_folder(tmp_path / "people", [f"person {k}" for k in range(6)], each=2)
    with pytest.raises(UserError, match=r"Expected two identities at least with two images each in test, got 1 in"):
        task_of(folder, verification=True)


def test_identities_that_are_split_by_the_user_stay_so(tmp_path):
    folder = tmp_path / "people"
    for number, part in enumerate(("train", "val", "test")):
        write_folder(folder / part, [f"{part} {k}" for k in range(2 + number)], each=2, size=8 + number)
    task = task_of(folder, verification=True)
    assert task.classes == 2
    assert set(task.load().validation.targets.tolist()) == {2, 3, 4}
    write_folder(folder / "test", ("train 1",), each=2)
    with pytest.raises(UserError, match=r"Expected identities in test that no other part has, got 1 .* 'train 1'"):
        task_of(folder, verification=True)


def test_identities_that_are_split_without_validation_are_refused(tmp_path):
    for part in ("train", "test"):
        write_folder(tmp_path / "people" / part, [f"{part} {k}" for k in range(3)], each=2)
    with pytest.raises(UserError, match=r"Expected identities for validation in .*got train and test alone"):
        task_of(tmp_path / "people", verification=True)


def test_names_of_people_are_compared_by_letters_and_digits():
    assert same_name("Zoë_Saldana") == same_name("zoe saldana") == "zoesaldana"
    assert same_name("Robert Downey Jr.") == same_name("robert_downey_jr")
    assert same_name("A") != same_name("B")


@pytest.mark.parametrize("bad", [{"size": 3}, {"size": 8.0}, {"broken": "ignore"}, {"colour": True}, {"folder": ""}])
def test_options_that_are_not_known_are_refused(bad):
    with pytest.raises(ValidationError):
        FolderData(**({"folder": "x"} | bad))
    assert all(field.description for field in FolderData.model_fields.values())


def test_masks_are_cropped_as_their_images_and_keep_their_indices(tmp_path):
    mask = np.zeros((8, 16), np.uint8)
    mask[:, 4:12] = np.arange(8)
    mask[0, 5] = 255
    found = fitted_mask(Image.fromarray(mask), 8)
    assert found[1].tolist() == list(range(8))
    assert found[0].tolist() == [0, -1, *range(2, 8)]
    with pytest.raises(BrokenImage, match=r"one byte for each pixel was expected, not of mode RGB"):
        fitted_mask(Image.fromarray(pixels(0)), 8)
    with pytest.raises(BrokenImage, match=r"the image has \(9, 9\) pixels, its mask \(8, 8\)"):
        decoded_pair(write_image(tmp_path / "a.png", size=9), write_image(tmp_path / "m.png", mode="L"), 8)


def test_an_image_folder_is_of_plain_values(tmp_path):
    assert ImageFolder(tmp_path) == ImageFolder(tmp_path, 32, False, "skip", False)
