"""A folder of images is divided, decoded once and kept, also with broken files."""

import os
import struct
import zlib
from pathlib import Path

import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from lossearch.evaluators.data.image_folder import ImageFolder
from lossearch.evaluators.tasks.folder import FolderData
from lossearch.primitives.errors import UserError
from tests.evaluators.folder_tasks import loaded, rows, task_of
from tests.evaluators.small_images import pixels, write_folder, write_image

pytestmark = pytest.mark.usefixtures("home")


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
        images = rows(parts[0].part(torch.nonzero(parts[0].targets == index).flatten()))
        assert (images <= dogs) == (index == 2)


def bomb(path):
    """Make a PNG whose header promises 20,000 x 20,000 pixels."""
    chunks = (b"IHDR" + struct.pack(">IIBBBBB", 20_000, 20_000, 8, 0, 0, 0, 0), b"IDAT" + zlib.compress(b"0" * 100))
    packed = [struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks]
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
        UserError, match=r"got broken files: 1, such as cats/odd.png \(.*Remove them, or set broken = 'skip'"
    ):
        task_of(folder, broken="refuse").load()


def test_a_split_folder_keeps_its_parts(tmp_path):
    folder = tmp_path / "pets"
    for number, (part, count) in enumerate({"train": 5, "val": 2, "test": 3}.items()):
        write_folder(folder / part, ("cats", "dogs"), count, size=8 + number)
    assert [len(part) for part in loaded(folder)] == [10, 4, 6]
    (folder / "val").rename(folder / "validation")
    assert [len(part) for part in loaded(folder)] == [10, 4, 6]


def test_without_a_validation_part_a_tenth_of_training_validates(tmp_path):
    write_folder(tmp_path / "pets" / "train", each=20)
    write_folder(tmp_path / "pets" / "test", each=3, first=500)
    assert [len(part) for part in loaded(tmp_path / "pets")] == [36, 4, 6]


def test_copies_of_training_images_in_another_part_are_counted(tmp_path):
    for part, first in (("train", 0), ("val", 200), ("test", 400)):
        write_folder(tmp_path / "pets" / part, first=first)
    for number in range(5):
        write_image(tmp_path / "pets" / "test" / "cats" / f"copy{number}.png", number % 2)
    with pytest.warns(UserWarning, match=r"5 samples of .*pets are in more than one part \(5 of 21 in test\)"):
        loaded(tmp_path / "pets")


def test_a_class_whose_images_are_all_broken_is_refused(tmp_path):
    folder = write_folder(tmp_path / "pets")
    for file in (folder / "dogs").iterdir():
        file.write_bytes(b"")
    with (
        pytest.warns(UserWarning, match=r"were skipped: 8, such as"),
        pytest.raises(UserError, match=r"got no readable image of class 'dogs' in train. Add images"),
    ):
        task_of(folder).load()
    for file in (folder / "cats").iterdir():
        file.write_bytes(b"")
    with pytest.raises(UserError, match=r"Expected samples, got none; broken files: 16, such as"):
        task_of(folder).load()


def test_a_changed_image_is_decoded_again(tmp_path):
    folder = write_folder(tmp_path / "pets")
    before = set().union(*map(rows, loaded(folder)))
    write_image(folder / "cats" / "000.png", 77)
    after = set().union(*map(rows, loaded(folder)))
    assert len(before - after) == len(after - before) == 1


@pytest.mark.parametrize("bad", [{"size": 3}, {"size": 8.0}, {"broken": "ignore"}, {"colour": True}, {"folder": ""}])
def test_unknown_options_are_refused(bad):
    with pytest.raises(ValidationError):
        FolderData(**({"folder": "x"} | bad))
    assert all(field.description for field in FolderData.model_fields.values())


def test_an_image_folder_is_of_plain_values(tmp_path):
    assert ImageFolder(tmp_path) == ImageFolder(tmp_path, 32, False, "skip", False)


def parts_by_name(folder, **options):
    """Return the part of each file by its path."""
    _, parts = ImageFolder(folder, **options).divided
    return {file.relative_to(folder).as_posix(): part for part, files in parts.items() for file, _ in files}


def test_one_more_image_moves_few_others_to_another_part(tmp_path):
    folder = write_folder(tmp_path / "pets", each=40)
    before = parts_by_name(folder)
    for number in range(5):
        write_image(folder / "cats" / f"new{number}.png", number)
        after = parts_by_name(folder)
        moved = [name for name, part in before.items() if after[name] != part]
        assert len(moved) <= 2, moved  # one over each border
        before = after


def test_all_parts_of_a_task_are_of_one_state_of_the_folder(tmp_path):
    folder = write_folder(tmp_path / "pets")
    task = task_of(folder)
    train = task.load().train
    for number in range(20):
        write_image(folder / "cats" / f"new{number}.png", 5_000 + number)
    later = task.load_test()
    assert (len(train), len(later)) == (8, 4)
    assert not rows(train) & rows(later)
    assert later.inputs.untyped_storage().data_ptr() == train.inputs.untyped_storage().data_ptr()


@pytest.mark.parametrize("each", [2, 3, 4, 5, 9])
def test_a_class_of_few_images_has_one_in_validation(tmp_path, each):
    write_folder(tmp_path / "pets" / "train", each=each)
    write_folder(tmp_path / "pets" / "test", each=1, first=500)
    splits = task_of(tmp_path / "pets").load()
    assert torch.bincount(splits.validation.targets).tolist() == [1, 1]
    assert torch.bincount(splits.train.targets).tolist() == [each - 1] * 2


def write_people(folder, count, each=3, classes=("joy", "fear"), first=0):
    for person in range(first, first + count):
        for index, name in enumerate(classes):
            for number in range(each):
                write_image(
                    folder / name / f"S{person:03d}_{index:03d}_{number:08d}.png", 100 * person + 10 * index + number
                )
    return folder


@pytest.mark.parametrize("split", [False, True])
def test_all_images_of_a_person_are_in_one_part(split, tmp_path):
    write_people(tmp_path / "faces" / ("train" if split else ""), 40)
    if split:
        write_people(tmp_path / "faces" / "test", 1, first=90)
    parts = parts_by_name(tmp_path / "faces", people=r"S\d+")
    drawn = [(name.rsplit("/", 1)[1][:4], part) for name, part in parts.items() if not name.startswith("test")]
    assert len(set(drawn)) == len({person for person, _ in drawn}) == 40
    share = sum(part == "train" for _, part in drawn) / len(drawn)
    assert share == pytest.approx(0.9 if split else 0.5, abs=0.03)
    assert sum(part == "validation" for _, part in drawn) / len(drawn) == pytest.approx(
        0.1 if split else 0.25, abs=0.03
    )


def test_files_that_name_no_person_are_divided_by_class_with_a_warning(tmp_path):
    folder = write_people(tmp_path / "faces", 20)
    write_folder(folder, ("joy", "fear"), each=8)
    with pytest.warns(
        UserWarning, match=r"16 file names in .* name no person, such as fear/000.png: one person may be in"
    ):
        parts = parts_by_name(folder, people=r"S\d+")
    assert sorted(part for name, part in parts.items() if name.startswith("joy/00")) == (
        ["test"] * 2 + ["train"] * 4 + ["validation"] * 2
    )


def test_too_few_people_for_every_part_are_refused(tmp_path):
    folder = write_people(tmp_path / "faces", 2)
    with pytest.raises(
        UserError, match=r"Expected images of every class in every part .* because each person is in one"
    ):
        parts_by_name(folder, people=r"S\d+")


def test_broken_files_of_all_parts_are_counted_where_they_are_refused(tmp_path):
    folder = write_folder(tmp_path / "pets", each=16)
    for number in range(12):
        (folder / "cats" / f"{number:03d}.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"got broken files: 12, such as"):
        task_of(folder, broken="refuse").load()


@pytest.mark.parametrize(
    "error", [PermissionError(13, "Permission denied"), OSError(24, "Too many open files"), MemoryError()]
)
def test_an_error_of_the_system_is_reported_and_not_kept_as_a_broken_image(tmp_path, monkeypatch, error):
    folder = write_folder(tmp_path / "pets")
    opened = Image.open

    def failing(path, **options):
        if path == folder / "cats" / "003.png":
            raise error
        return opened(path, **options)

    with monkeypatch.context() as patched:
        patched.setattr(Image, "open", failing)
        with pytest.raises(
            UserError, match=r"Expected to read .*cats/003.png, got: (Permission|Too many|out of memory)"
        ):
            task_of(folder).load()
    assert sum(map(len, loaded(folder))) == 16


def test_a_person_in_two_parts_of_a_split_folder_is_refused(tmp_path):
    for part in ("train", "val", "test"):
        write_people(tmp_path / "faces" / part, 1)
    with pytest.raises(UserError, match=r"Expected every person of .*faces in one part, got 'S000' in train and valid"):
        parts_by_name(tmp_path / "faces", people=r"S\d+")
