"""Listing a folder: the files that count as images, and those that are left out."""

import os
import shutil

import pytest

from lossearch.evaluators.data.image_listing import list_images
from lossearch.primitives.errors import UserError
from tests.evaluators.folder_tasks import loaded, task_of
from tests.evaluators.small_images import write_folder, write_image

pytestmark = pytest.mark.usefixtures("home")


def test_hidden_files_other_suffixes_and_pipes_are_ignored(tmp_path):
    folder = write_folder(tmp_path / "pets")
    (folder / "cats" / "Thumbs.db").write_bytes(b"x")
    (folder / "cats" / ".hidden.png").write_bytes(b"x")
    (folder / ".git").mkdir()
    (folder / "README.md").write_text("pets")
    os.mkfifo(folder / "dogs" / "pipe.png")
    write_image(folder / "dogs" / "LOUD.PNG", 99)
    assert [len(part) for part in loaded(folder)] == [8, 5, 4]


def test_parts_are_known_in_any_case_and_jfif_is_an_image(tmp_path):
    for part, first in (("Train", 0), ("VAL", 200), ("Test", 400)):
        write_folder(tmp_path / "pets" / part, each=4, first=first)
    for file in (tmp_path / "pets" / "Test" / "dogs").iterdir():
        file.rename(file.with_suffix(".JFIF"))
    assert [len(part) for part in loaded(tmp_path / "pets")] == [8, 8, 8]


def test_the_kinds_of_files_that_are_no_images_are_named(tmp_path):
    for number in range(3):
        for name in ("cats", "dogs"):
            (tmp_path / "pets" / name).mkdir(parents=True, exist_ok=True)
            (tmp_path / "pets" / name / f"{number}.heic").write_bytes(b"x")
    with pytest.raises(UserError, match=r"got none but 6 files that are no images by their suffix \(6 of .heic\). Put"):
        list_images(tmp_path / "pets")


def test_links_that_leave_the_folder_are_not_followed_and_others_are_followed_once(tmp_path):
    folder = write_folder(tmp_path / "pets")
    elsewhere = write_folder(tmp_path / "elsewhere", ("birds",))
    (folder / "birds").symlink_to(elsewhere / "birds")
    (folder / "cats" / "way.png").symlink_to(elsewhere / "birds" / "000.png")
    (folder / "cats" / "0.png").symlink_to("000.png")
    (folder / "dogs" / "cat.png").symlink_to("../cats/001.png")
    (folder / "cats" / "round.png").symlink_to("round.png")
    (folder / "dogs" / "gone.png").symlink_to("nothing.png")
    listing = list_images(folder)
    assert listing.classes == ("cats", "dogs")
    assert [file for file, _ in listing.parts["all"]] == [
        folder / name / f"{number:03d}.png" for name in ("cats", "dogs") for number in range(8)
    ]
    assert listing.left_out == {"links that leave it": 2, "links to images that are there already": 2}
    with pytest.warns(UserWarning, match=r"Left out of .*pets: 2 links that leave it, 2 links to"):
        assert sum(map(len, loaded(folder))) == 16


@pytest.mark.parametrize("what", ["image", "class"])
def test_an_image_that_links_put_into_two_parts_is_refused(what, tmp_path):
    folder = tmp_path / "pets"
    for part in ("train", "val", "test"):
        write_folder(folder / part, each=3)
    if what == "image":
        (folder / "test" / "dogs" / "easy.png").symlink_to("../../train/dogs/000.png")
    else:
        shutil.rmtree(folder / "test" / "dogs")
        (folder / "test" / "dogs").symlink_to("../train/dogs")
    with pytest.raises(
        UserError, match=r"Expected every image of .*pets in one part, got one in train and test: .*test/"
    ):
        task_of(folder)


def test_files_outside_of_classes_are_counted(tmp_path):
    folder = write_folder(tmp_path / "pets")
    write_image(folder / "loose.png")
    write_folder(folder / "cats", ("young", "old"), each=2)
    (folder / "dogs" / "a.heic").write_bytes(b"x")
    (folder / "dogs" / "b.png.part").write_bytes(b"x")
    counts = "1 images outside of subfolders, 4 images in subfolders of classes, 2 files that are no images by their"
    with pytest.warns(UserWarning, match=f"Left out of .*pets: {counts} suffix"):
        assert sum(map(len, loaded(folder))) == 16


def one_class(folder):
    write_folder(folder, ("cats",))


def split_few(folder):
    for part in ("train", "test"):
        write_folder(folder / part, each=1)


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
    "missing": (lambda folder: None, "Expected a folder of images at .*pets, got nothing. Correct the path"),
    "file": (lambda folder: folder.write_text(""), "Expected a folder of images at .*pets, got a file"),
    "empty": (lambda folder: folder.mkdir(), r"Expected images \(.bmp, .*\) in .*pets, .* got none. Put the images"),
    "loose": (loose, "got none but 1 outside of subfolders. Put the images of each class into a subfolder"),
    "one class": (one_class, "Expected at least two classes in .*pets, got one, cats. Add a subfolder"),
    "few": (few, "Expected at least 4 images of class 'eels', got 3. Add images, or remove the class"),
    "split, few": (split_few, "Expected at least 2 images of class 'cats' in train, of which a tenth validates, got 1"),
    "half split": (half_split, "Expected train, validation .* and test in .*, which is split, got train, val. Add"),
    "odd split": (odd_split, "got train, val, test, more. Add the missing folders and move all others away"),
    "two validations": (two_validations, "got train, validation, val, test"),
    "no dogs": (no_dogs_in_test, "Expected at least 1 image of class 'dogs' in test, got 0"),
    "unknown": (unknown_in_validation, "Unknown class 'dog' in validation, which is not in train; did you mean dogs"),
}


def test_a_folder_that_cannot_be_read_is_refused(tmp_path, monkeypatch):
    folder = write_folder(tmp_path / "pets")

    def denied(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", denied)
    with pytest.raises(UserError, match=r"Expected to read .*pets, got: Permission denied. Correct its permissions"):
        task_of(folder)


@pytest.mark.parametrize("kind", BAD)
def test_a_folder_that_cannot_be_divided_is_refused_at_once(tmp_path, kind):
    write, message = BAD[kind]
    write(tmp_path / "pets")
    with pytest.raises(UserError, match=message):
        task_of(tmp_path / "pets")


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
