"""Torchvision's data sets are read from small copies in their own files."""

import gzip
import pickle
import struct
import sys

import pytest
import torch

from lossearch.evaluators.data import images as broken_images
from lossearch.evaluators.data import torchvision_data
from lossearch.evaluators.data.data_home import DataMissing, raw_folder
from lossearch.evaluators.tasks import TASKS
from lossearch.primitives.errors import UserError
from tests.evaluators import published_files as files
from tests.evaluators.small_images import pixels
from tests.evaluators.task_parts import apart, parts

pytestmark = pytest.mark.usefixtures("home")


@pytest.mark.parametrize(("name", "kind"), [("mnist", "MNIST"), ("fashion_mnist", "FashionMNIST")])
def test_mnist_and_its_like_are_read_from_their_files(name, kind, datasets):
    (images, labels), test = files.write_mnist(raw_folder(name), kind)
    splits = parts(name)
    assert [len(part) for part in splits] == [90, 10, 20]
    assert torch.bincount(splits[1].targets).tolist() == [1] * 10
    assert apart(splits)
    assert (splits[2].inputs[:, 0].numpy() == test[0]).all()
    by_class = {tuple(image.flatten().tolist()): label for image, label in zip(images, labels, strict=True)}
    for image, label in zip(splits[0].inputs, splits[0].targets, strict=True):
        assert by_class[tuple(image.flatten().tolist())] == label


def test_mnist_and_its_like_need_no_torchvision(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    _, (images, labels) = files.write_mnist(tmp_path, "system")
    folder = tmp_path / "fashion-mnist"
    (tmp_path / "system" / "raw").rename(folder)
    for file in list(folder.iterdir()):
        (folder / f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()
    monkeypatch.setattr(torchvision_data, "SYSTEM", tmp_path)
    torchvision_data.require_readable("fashion_mnist")
    splits = parts("fashion_mnist")
    assert [len(part) for part in splits] == [90, 10, 20]
    assert torchvision_data.read_torchvision("fashion_mnist", 10).about["classes"][9] == "Ankle boot"
    assert (splits[2].inputs[:, 0].numpy() == images).all()
    assert splits[2].targets.tolist() == labels.tolist()
    with pytest.raises(DataMissing, match=r"The data of the task mnist is not in .* Run: lossearch download mnist"):
        torchvision_data.require_readable("mnist")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\0\0\x08", "is cut off in its header"),
        (struct.pack(">HBBI", 0, 13, 1, 3) + b"abc", "is no idx file of bytes with 1 dimensions"),
        (struct.pack(">HBBI", 0, 8, 1, 2**31), r"has the shape \[2147483648\]"),
        (struct.pack(">HBBI", 0, 8, 1, 4) + b"abc", "another number of bytes"),
        (struct.pack(">HBBI", 0, 8, 1, 2) + b"abc", "another number of bytes"),
        (struct.pack(">HBBI", 0, 8, 1, 3) + b"abc", "100 images in .*, and 3 labels"),
        (b"", "is cut off in its header"),
    ],
)
def test_a_damaged_idx_file_is_missing_data(content, message):
    files.write_mnist(raw_folder("mnist"))
    (raw_folder("mnist") / "MNIST" / "raw" / "train-labels-idx1-ubyte").write_bytes(content)
    with pytest.raises(
        DataMissing, match=rf"Expected the data of mnist in .* got: .*{message}.*Run: lossearch download"
    ):
        TASKS["mnist"].load()


def test_emnist_is_turned_upright(datasets):
    prefix = ("emnist-balanced-train", "emnist-balanced-test")
    _, (images, _) = files.write_mnist(raw_folder("emnist_balanced"), "EMNIST", 47, prefix, (6, 1))
    splits = parts("emnist_balanced")
    assert [len(part) for part in splits] == [235, 47, 47]
    assert (splits[2].inputs[:, 0].numpy() == images.transpose(0, 2, 1)).all()


@pytest.mark.parametrize(("name", "classes"), [("cifar10", 10), ("cifar100", 100)])
def test_cifar_is_read_from_its_batches(name, classes, datasets, monkeypatch):
    files.write_cifar(raw_folder(name), monkeypatch, getattr(datasets, name.upper()), classes)
    splits = parts(name)
    samples = 10 * classes * (5 if classes == 10 else 1)
    assert [len(part) for part in splits] == [samples * 9 // 10, samples // 10, 10 * classes]
    assert apart(splits)
    first = pixels(10_000, 32).flatten().reshape(3, 32, 32)  # the test batch's: channels first
    assert (splits[2].inputs[0].numpy() == first).all()
    assert splits[2].targets[:12].tolist() == [k % classes for k in range(12)]


class Planted:
    """Leaves a mark when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (open, (self.path, "w"))


@pytest.mark.parametrize("name", ["data_batch_3", "test_batch", "batches.meta"])
def test_a_batch_whose_checksum_is_not_the_official_one_is_never_unpickled(name, datasets, monkeypatch, tmp_path):
    files.write_cifar(raw_folder("cifar10"), monkeypatch, datasets.CIFAR10, 10)
    mark = tmp_path / "mark"
    (raw_folder("cifar10") / "cifar-10-batches-py" / name).write_bytes(pickle.dumps(Planted(mark)))
    with pytest.raises(
        DataMissing, match=r"not found or corrupted.* Remove what is there. Run: lossearch download cifar10"
    ):
        TASKS["cifar10"].load()
    assert not mark.exists()


def test_pickles_of_an_old_torchvision_are_refused(datasets):
    files.write_mnist(raw_folder("mnist"))
    (raw_folder("mnist") / "MNIST" / "processed").mkdir()
    with pytest.raises(
        UserError, match=r"Expected mnist as it was published, got .*processed of an old torchvision. Remove"
    ):
        TASKS["mnist"].load()


@pytest.mark.parametrize("damage", ["cut", "other type", "one of four"])
def test_files_that_are_not_whole_are_refused_by_name(damage, datasets):
    files.write_mnist(raw_folder("mnist"))
    images = raw_folder("mnist") / "MNIST" / "raw" / "train-images-idx3-ubyte"
    if damage == "cut":
        images.write_bytes(images.read_bytes()[:1_000])
    elif damage == "other type":
        images.write_bytes(b"<html>")
    else:
        images.unlink()
    with pytest.raises(
        DataMissing, match=r"Expected the data of mnist in .*mnist, got: .+ Run: lossearch download mnist"
    ):
        TASKS["mnist"].load()


def test_a_data_set_with_a_class_too_few_is_refused(datasets):
    files.write_mnist(raw_folder("mnist"), classes=9)
    with pytest.raises(DataMissing, match=r"Expected 10 classes in the train part of mnist, got 9: the files in"):
        TASKS["mnist"].load()


def test_a_data_set_with_a_class_too_many_is_refused(datasets):
    files.write_mnist(raw_folder("mnist"), classes=11)
    with pytest.raises(UserError, match=r"Expected class indices from 0 to 9, got 10 to 10"):
        TASKS["mnist"].load()


def test_svhn_is_read_with_its_tens_as_zeros(datasets, monkeypatch):
    files.write_svhn(raw_folder("svhn"), monkeypatch, datasets.SVHN)
    splits = parts("svhn")
    assert [len(part) for part in splits] == [90, 10, 100]
    assert splits[2].targets[:11].tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]
    assert (splits[2].inputs[3].numpy() == pixels(10_003, 32).transpose(2, 0, 1)).all()


def test_pcam_is_read_in_its_three_official_parts(datasets):
    files.write_pcam(raw_folder("pcam"))
    splits = parts("pcam")
    assert [len(part) for part in splits] == [4, 4, 4]
    assert [part.targets.tolist() for part in splits] == [[0, 1, 0, 1]] * 3
    assert apart(splits)


def shades(part):
    """Return the numbers of images that :func:`write_shade` wrote."""
    return (part.inputs.float().mean((1, 2, 3)) / 2).round().long()


def test_caltech_is_read_without_its_background(datasets):
    files.write_caltech(raw_folder("caltech101"))
    splits = parts("caltech101")
    assert [len(part) for part in splits] == [202, 101, 101]
    assert all(part.targets.equal(shades(part)) for part in splits)
    files.write_image(raw_folder("caltech101") / "caltech101" / "101_ObjectCategories" / "category_000" / "odd.jpg")
    with pytest.raises(DataMissing, match=r"Expected the data of caltech101 .*image_0005.jpg"):
        torchvision_data.read_torchvision("caltech101", 101)


def test_food_is_read_by_its_lists(datasets):
    files.write_food(raw_folder("food101"))
    splits = parts("food101")
    assert [len(part) for part in splits] == [505, 101, 101]
    assert all(part.targets.equal(shades(part)) for part in splits)


@pytest.mark.parametrize("name", ["fer2013.csv", "icml_face_data.csv"])
def test_fer_is_read_from_its_table(name, datasets, monkeypatch):
    files.write_fer(raw_folder("fer2013"), monkeypatch, datasets.FER2013, name)
    splits = parts("fer2013")
    assert [len(part) for part in splits] == [63, 7, 14]
    assert all(part.targets.equal(part.inputs[:, 0, 0, 0] % 7) for part in splits)
    assert (splits[2].inputs[8, 0].numpy() == files.fer_pixels(2, 1)).all()
    assert apart(splits)


def test_fer_without_classes_of_test_samples_is_refused(datasets, monkeypatch):
    files.write_fer(raw_folder("fer2013"), monkeypatch, datasets.FER2013, "train.csv")
    with pytest.raises(
        DataMissing, match=r"samples without classes; fer2013.csv or icml_face_data.csv has .* from https://www"
    ):
        TASKS["fer2013"].load()


def test_masks_of_voc_keep_their_classes_and_ignore_borders(datasets):
    files.write_voc(raw_folder("voc2012"))
    splits = parts("voc2012")
    assert [len(part) for part in splits] == [9, 1, 3]
    for image, target in (
        (image, target) for part in splits for image, target in zip(part.inputs, part.targets, strict=True)
    ):
        assert (target.numpy() == files.mask_of(image, 20)).all()
    assert TASKS["voc2012"].ignores_pixels


def test_each_official_part_is_opened_once(datasets, monkeypatch):
    files.write_cifar(raw_folder("cifar10"), monkeypatch, datasets.CIFAR10, 10)
    opened, made = [], datasets.CIFAR10.__init__

    def counted(self, *rest, **which):
        opened.append(which["train"])
        made(self, *rest, **which)

    monkeypatch.setattr(datasets.CIFAR10, "__init__", counted)
    parts("cifar10")
    assert sorted(opened) == [False, True]


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "emnist_balanced"])
def test_classes_of_idx_files_are_named_as_by_torchvision(name, datasets):
    published = torchvision_data.PUBLISHED[name]
    kind = getattr(datasets, published.kind)
    names = kind.classes_split_dict["balanced"] if name == "emnist_balanced" else kind.classes
    assert list(published.class_names) == list(names)


def test_classes_have_torchvisions_names(datasets):
    files.write_mnist(raw_folder("fashion_mnist"), "FashionMNIST")
    assert torchvision_data.read_torchvision("fashion_mnist", 10).about["classes"][9] == "Ankle boot"
    files.write_caltech(raw_folder("caltech101"))
    assert torchvision_data.read_torchvision("caltech101", 101).about["classes"][1] == "category_001"
    files.write_pcam(raw_folder("pcam"))
    assert torchvision_data.read_torchvision("pcam", 2).about["classes"] == ["0", "1"]


def test_a_broken_array_of_pcam_is_no_failure_to_write(datasets):
    files.write_pcam(raw_folder("pcam"))
    path = raw_folder("pcam") / "pcam" / "camelyonpatch_level_2_split_valid_x.h5"
    path.write_bytes(path.read_bytes()[:1_000])
    with pytest.raises(
        DataMissing, match=r"Expected the data of pcam in .*, got: .*open file.* Run: lossearch download"
    ):
        TASKS["pcam"].load()


def test_one_broken_image_of_a_thousand_is_left_out_and_named(datasets, monkeypatch):
    monkeypatch.setattr(broken_images, "ONE_IN", 505)
    files.write_food(raw_folder("food101"))
    image = raw_folder("food101") / "food-101" / "images" / "dish_007"
    (image / "train1.jpg").write_bytes(b"torn")
    with pytest.warns(
        UserWarning, match=r"Broken files in .*food101 were skipped: 1, such as sample 43 of train \(cannot"
    ):
        data = torchvision_data.read_torchvision("food101", 101)
    assert len(data.inputs) == 706
    for number in range(6):
        (image / f"train{number}.jpg").write_bytes(b"torn")
    with pytest.raises(
        DataMissing, match=r"Expected the data of food101 in .*, got: sample \d+ of train: cannot identify"
    ):
        torchvision_data.read_torchvision("food101", 101)
