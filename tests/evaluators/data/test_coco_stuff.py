"""COCO-Stuff is read from a small copy in its own folders."""

import pytest

from lossearch.evaluators.data import coco_stuff
from lossearch.evaluators.data import images as broken_images
from lossearch.evaluators.data.data_home import raw_folder
from lossearch.primitives.errors import UserError
from tests.evaluators import published_files as files
from tests.evaluators.task_parts import parts

pytestmark = pytest.mark.usefixtures("home")


def test_masks_of_coco_stuff_keep_their_classes(home):
    raw = raw_folder("coco_stuff")
    files.write_coco_stuff(raw)
    splits = parts("coco_stuff")
    assert [len(part) for part in splits] == [9, 1, 3]
    for image, target in ((*pair,) for part in splits for pair in zip(part.inputs, part.targets, strict=True)):
        assert (target.numpy() == files.mask_of(image, 181)).all()
    assert int(splits[0].targets.min()) == -1
    assert int(splits[0].targets.max()) == 181
    (raw / "annotations" / "val" / f"{100:012d}.png").write_bytes(b"torn")
    with pytest.raises(
        UserError, match=r"Expected images and their masks in .* got .*0100.png: no image of a known .* Replace both"
    ):
        coco_stuff.read_coco_stuff(64, 182)
    (raw / "annotations" / "val" / f"{100:012d}.png").unlink()
    with pytest.raises(
        UserError, match=r"Expected a mask in .*val for every image, got none for 1, such as 000000000100.jpg"
    ):
        coco_stuff.read_coco_stuff(64, 182)


def test_folders_of_coco_stuff_may_have_the_year_in_their_names():
    files.write_coco_stuff(raw_folder("coco_stuff"), "2017")
    assert [len(part) for part in parts("coco_stuff")] == [9, 1, 3]


def test_one_broken_image_of_a_thousand_is_left_out_and_named(monkeypatch):
    monkeypatch.setattr(broken_images, "ONE_IN", 9)
    files.write_coco_stuff(raw_folder("coco_stuff"))
    for number in (3, 4):
        (raw_folder("coco_stuff") / "images" / "train" / f"{number:012d}.jpg").write_bytes(b"torn")
        if number == 3:
            with pytest.warns(UserWarning, match=r"Broken files in .* were skipped: 1, such as images/train/0+3.jpg"):
                data = coco_stuff.read_coco_stuff(64, 182)
            assert sum(data.about["parts"][part]["samples"] for part in ("train", "validation", "test")) == 12
    with pytest.raises(UserError, match=r"Expected images and their masks .* Replace both files"):
        coco_stuff.read_coco_stuff(64, 182)
