import builtins
import pickle
import re
import subprocess
import sys

import numpy as np
import pytest
import torch

from evaluators.data import coco_stuff, facescrub, lfw, torchvision_data
from evaluators.data.data_home import DataMissing, raw_folder
from evaluators.tasks import TASKS
from evaluators.tasks.downloaded import download_task
from primitives.errors import UserError
from tests.evaluators import published_files as files
from tests.evaluators.small_images import pixels, write_folder

DOWNLOADED = {name: task for name, task in TASKS.items() if task.needs_download}


@pytest.fixture(scope="module")
def operators():
    """The operators that torchvision's wheel does not bring beside a torch for CPUs alone."""
    library = torch.library.Library("torchvision", "DEF")
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        library.define("nms(Tensor boxes, Tensor scores, float threshold) -> Tensor")
        library.define("qnms(Tensor boxes, Tensor scores, float threshold) -> Tensor")
    return library


@pytest.fixture
def datasets(operators):
    from torchvision import datasets

    return datasets


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("LOSSEARCH_DATA", str(tmp_path / "home"))
    return tmp_path / "home"


def parts(name):
    task = TASKS[name]
    splits = task.load()
    found = [splits.train, splits.validation, task.load_test()]
    for part in found:
        assert part.inputs.dtype == torch.uint8
        assert part.inputs.shape == (len(part), *task.shape)
        assert part.targets.shape == ((len(part), *task.shape[1:]) if task.dense else (len(part),))
    assert task.load().train.inputs is splits.train.inputs
    return found


def rows(part):
    return {tuple(row) for row in part.inputs.flatten(1).tolist()}


def apart(found):
    return not (rows(found[0]) & rows(found[1]) or (rows(found[0]) | rows(found[1])) & rows(found[2]))


@pytest.mark.parametrize("name", DOWNLOADED)
def test_data_that_is_missing_is_asked_for_by_its_command_or_page(name, home, operators):
    task = DOWNLOADED[name]
    page, _, command = task.data_from.partition(", and ")
    for load, source in ((task.load, page), (task.load_test, command or page)):
        with pytest.raises(DataMissing, match=re.escape(source)):
            load()
    assert not home.exists()
    assert task.describe()["data_from"] == task.data_from
    assert task.obstacle(task.fidelity) is None


def test_nothing_is_imported_for_a_list_of_tasks():
    code = "import sys, evaluators.tasks; print({'torchvision', 'sklearn', 'h5py'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "set()"


@pytest.mark.parametrize(("name", "kind"), [("mnist", "MNIST"), ("fashion_mnist", "FashionMNIST")])
def test_mnist_and_its_like_are_read_from_their_files(name, kind, datasets):
    (images, labels), test = files.write_mnist(raw_folder(name), kind)
    found = parts(name)
    assert [len(part) for part in found] == [90, 10, 20]
    assert torch.bincount(found[1].targets).tolist() == [1] * 10
    assert apart(found)
    assert (found[2].inputs[:, 0].numpy() == test[0]).all()
    by_class = {tuple(image.flatten().tolist()): label for image, label in zip(images, labels, strict=True)}
    for image, label in zip(found[0].inputs, found[0].targets, strict=True):
        assert by_class[tuple(image.flatten().tolist())] == label


def test_emnist_is_turned_upright(datasets):
    prefix = ("emnist-balanced-train", "emnist-balanced-test")
    _, (images, _) = files.write_mnist(raw_folder("emnist_balanced"), "EMNIST", 47, prefix, (6, 1))
    found = parts("emnist_balanced")
    assert [len(part) for part in found] == [235, 47, 47]
    assert (found[2].inputs[:, 0].numpy() == images.transpose(0, 2, 1)).all()


@pytest.mark.parametrize(("name", "classes"), [("cifar10", 10), ("cifar100", 100)])
def test_cifar_is_read_from_its_batches(name, classes, datasets, monkeypatch):
    files.write_cifar(raw_folder(name), monkeypatch, getattr(datasets, name.upper()), classes)
    found = parts(name)
    samples = 10 * classes * (5 if classes == 10 else 1)
    assert [len(part) for part in found] == [samples * 9 // 10, samples // 10, 10 * classes]
    assert apart(found)
    first = pixels(10_000, 32).flatten().reshape(3, 32, 32)  # the test batch's: channels first
    assert (found[2].inputs[0].numpy() == first).all()
    assert found[2].targets[:12].tolist() == [k % classes for k in range(12)]


class Planted:
    """Unpickled, it leaves a mark."""

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
    found = parts("svhn")
    assert [len(part) for part in found] == [90, 10, 100]
    assert found[2].targets[:11].tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]
    assert (found[2].inputs[3].numpy() == pixels(10_003, 32).transpose(2, 0, 1)).all()


def test_pcam_is_read_in_its_three_official_parts(datasets):
    files.write_pcam(raw_folder("pcam"))
    found = parts("pcam")
    assert [len(part) for part in found] == [4, 4, 4]
    assert [part.targets.tolist() for part in found] == [[0, 1, 0, 1]] * 3
    assert apart(found)


def test_caltech_is_read_without_its_background(datasets):
    files.write_caltech(raw_folder("caltech101"))
    found = parts("caltech101")
    assert [len(part) for part in found] == [202, 101, 101]
    files.write_image(raw_folder("caltech101") / "caltech101" / "101_ObjectCategories" / "category_000" / "odd.jpg")
    with pytest.raises(DataMissing, match=r"Expected the data of caltech101 .*image_0005.jpg"):
        torchvision_data.torchvision_data("caltech101", 101)


def test_food_is_read_by_its_lists(datasets):
    files.write_food(raw_folder("food101"))
    assert [len(part) for part in parts("food101")] == [505, 101, 101]


def test_fer_is_read_from_its_table(datasets, monkeypatch):
    files.write_fer(raw_folder("fer2013"), monkeypatch, datasets.FER2013)
    found = parts("fer2013")
    assert [len(part) for part in found] == [63, 7, 14]
    assert (found[2].inputs[0, 0].numpy() == pixels(10_000, 48, 1)[..., 0]).all()


def test_fer_without_classes_of_test_samples_is_refused(datasets, monkeypatch):
    files.write_fer(raw_folder("fer2013"), monkeypatch, datasets.FER2013, "train.csv")
    with pytest.raises(
        DataMissing, match=r"samples without classes; fer2013.csv or icml_face_data.csv has .* from https://www"
    ):
        TASKS["fer2013"].load()


def test_masks_of_voc_keep_their_classes_and_ignore_borders(datasets):
    files.write_voc(raw_folder("voc2012"))
    found = parts("voc2012")
    assert [len(part) for part in found] == [9, 1, 3]
    wanted = np.asarray(files.mask(0, 64, 20)).astype(np.int64)
    assert (found[2].targets[0].numpy() == np.where(wanted == 255, -1, wanted)).all()
    assert TASKS["voc2012"].ignores_pixels


def test_masks_of_coco_stuff_keep_their_classes(home):
    raw = raw_folder("coco_stuff")
    files.write_coco_stuff(raw)
    found = parts("coco_stuff")
    assert [len(part) for part in found] == [9, 1, 3]
    assert int(found[0].targets.min()) == -1
    assert int(found[0].targets.max()) == 181
    (raw / "annotations" / "val" / f"{100:012d}.png").write_bytes(b"torn")
    with pytest.raises(
        UserError, match=r"Expected an image and its mask in .* got: no image of a known format.* Replace both"
    ):
        coco_stuff.coco_stuff(64, 182)
    (raw / "annotations" / "val" / f"{100:012d}.png").unlink()
    with pytest.raises(
        UserError, match=r"Expected a mask in .*val for every image, got none for 1, such as 000000000100.jpg"
    ):
        coco_stuff.coco_stuff(64, 182)


PEOPLE = {"Ann_Lee": 24, "Bob_Ray": 20, "Cy_Zoë": 21, "Dee_Few": 5}


def test_people_of_lfw_are_those_of_scikit_learn_with_twenty_images():
    from sklearn.datasets import fetch_lfw_people

    files.write_lfw(raw_folder("lfw_people"), PEOPLE)
    data = lfw.lfw_people(16, 3)
    theirs = fetch_lfw_people(
        data_home=str(raw_folder("lfw_people")), min_faces_per_person=20, download_if_missing=False
    )
    assert [name.replace("_", " ") for name in data.about["classes"]] == theirs.target_names.tolist()
    assert [sum(data.counts(part)[k] for part in data.about["parts"]) for k in range(3)] == [24, 20, 21]
    assert [len(data.split(part)) for part in ("train", "validation", "test")] == [32, 16, 17]
    with pytest.raises(UserError, match=r"Expected 62 people with 20 images or more in .* got 3. Remove"):
        TASKS["lfw_people"].load()


def test_faces_are_cut_as_scikit_learn_cuts_them():
    files.write_lfw(raw_folder("lfw_people"), {"Ann_Lee": 2, "Bob_Ray": 2})
    split = lfw.pairs_split(94)
    with files.Image.open(
        raw_folder("lfw_people") / "lfw_home" / "lfw_funneled" / "Ann_Lee" / "Ann_Lee_0001.jpg"
    ) as image:
        face = np.asarray(image)[70:195, 78:172]
    middle = (face[15:109].astype(float) + face[16:110]) / 2  # of 125 rows 94 are left, from half a pixel on
    np.testing.assert_allclose(split.inputs[0].numpy().transpose(1, 2, 0), middle, atol=1.0)


def test_pairs_of_lfw_are_in_the_order_of_their_folds():
    files.write_lfw(raw_folder("lfw_people"), PEOPLE)
    split = TASKS["facescrub_lfw"].load_test()
    assert split.pairs.same.tolist() == [True, False] * 4
    assert len(split) == 8  # each image once
    people = split.targets
    assert (people[split.pairs.first] == people[split.pairs.second]).equal(split.pairs.same)


@pytest.mark.parametrize("line", ["Ann_Lee\t1", "Ann_Lee\tone\t2", "../Ann\t1\t2", "a\t1\tb\t2\tc"])
def test_a_line_of_pairs_that_is_none_is_refused(line):
    files.write_lfw(raw_folder("lfw_people"), {"Ann_Lee": 2})
    path = raw_folder("lfw_people") / "lfw_home" / "pairs.txt"
    path.write_text(f"10\t1\n{line}\n")
    with pytest.raises(UserError, match=r"Expected lines of pairs.txt to be name, number, number .* got '.*'. Remove"):
        lfw.lfw_pairs()


def test_an_image_of_a_pair_that_is_missing_or_broken_is_refused():
    files.write_lfw(raw_folder("lfw_people"), {"Ann_Lee": 2, "Bob_Ray": 2})
    image = raw_folder("lfw_people") / "lfw_home" / "lfw_funneled" / "Bob_Ray" / "Bob_Ray_0002.jpg"
    image.write_bytes(b"")
    with (
        pytest.raises(UserError, match=r"got broken files: 1, such as Bob_Ray/Bob_Ray_0002.jpg"),
    ):
        lfw.pairs_split(16)
    image.unlink()
    with pytest.raises(
        DataMissing, match=r"Expected .*Bob_Ray_0002.jpg, got nothing. Run: lossearch download lfw_people"
    ):
        lfw.pairs_split(16)


def test_identities_that_are_verified_were_never_trained_on():
    files.write_lfw(raw_folder("lfw_people"), PEOPLE)
    names = ["ann lee", "Cy Zoe", *(f"Actor {k:02d}" for k in range(22))]
    write_folder(raw_folder("facescrub_lfw"), names, each=3)
    with pytest.warns(UserWarning, match=r"that are in pairs of Labeled Faces in the Wild are left out: 2 of 24"):
        splits = facescrub.facescrub(16, 477)
    assert len(splits.train) == 60
    assert set(splits.train.targets.tolist()) == set(range(20))
    assert set(splits.validation.targets.tolist()) == {20, 21}
    leaked = {tuple(row) for row in splits.train.inputs.flatten(1).tolist()}
    assert len(leaked) == 60
    assert int(splits.validation.pairs.same.sum()) * 2 == len(splits.validation.pairs)


def test_more_identities_than_the_task_has_classes_for_are_refused():
    files.write_lfw(raw_folder("lfw_people"), {"Ann_Lee": 2, "Bob_Ray": 2})
    write_folder(raw_folder("facescrub_lfw"), [f"Actor {k:02d}" for k in range(20)], each=2)
    with pytest.raises(UserError, match=r"Expected 2 to 9 identities to train on in .*, got 18. Put one subfolder"):
        facescrub.facescrub(16, 9)


def test_folders_from_a_page_are_read_and_counted():
    folder = raw_folder("malaria")
    write_folder(folder, ("Parasitized", "Uninfected"), each=8, size=70)
    (folder / "Parasitized" / "Thumbs.db").write_bytes(b"")
    assert [len(part) for part in parts("malaria")] == [8, 4, 4]
    write_folder(raw_folder("colorectal_histology"), ("tumor", "stroma"), each=4)
    with pytest.raises(UserError, match=r"Expected 8 classes in .*, got 2. Put the eight folders of Kather_texture"):
        TASKS["colorectal_histology"].load()


def test_raf_db_keeps_its_official_test_part():
    for number, part in enumerate(("train", "test")):
        write_folder(raw_folder("raf_db") / part, [str(k) for k in range(1, 8)], each=10, size=64 + number)
    assert [len(part) for part in parts("raf_db")] == [63, 7, 70]


def test_a_torchvision_that_is_not_there_is_asked_for(monkeypatch):
    files.write_mnist(raw_folder("mnist"))
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(UserError, match=r"Expected torchvision, .* Run: pip install 'lossearch\[vision\]'"):
        TASKS["mnist"].load()


def test_a_torchvision_that_does_not_suit_torch_is_told_how_to_be_installed(monkeypatch):
    files.write_mnist(raw_folder("mnist"))
    imported = builtins.__import__

    def broken(name, *rest):
        if name == "torchvision":
            raise RuntimeError("operator torchvision::nms does not exist")
        return imported(name, *rest)

    monkeypatch.setattr(builtins, "__import__", broken)
    with pytest.raises(UserError, match=r"nms does not exist. Install both from one index, as pytorch.org says"):
        TASKS["mnist"].load()


def test_download_lets_torchvision_fetch_every_part(datasets, monkeypatch):
    calls = []

    class Fetched:
        def __init__(self, root, **which):
            calls.append((root, which))

    monkeypatch.setattr(datasets, "PCAM", Fetched)
    assert download_task("pcam") == f"pcam is in {raw_folder('pcam')}"
    assert [which["split"] for _, which in calls] == ["train", "test", "val"]
    assert all(which["download"] and root == str(raw_folder("pcam")) for root, which in calls)


def test_a_download_that_fails_says_why(datasets, monkeypatch):
    def unreachable(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(datasets, "MNIST", unreachable)
    with pytest.raises(UserError, match=r"Expected to download mnist into .* got: no route to host. Try again"):
        download_task("mnist")


def test_lfw_is_fetched_by_scikit_learn(monkeypatch):
    import sklearn.datasets

    calls = []
    monkeypatch.setattr(sklearn.datasets, "fetch_lfw_people", lambda **which: calls.append(which["data_home"]))
    assert download_task("lfw_people") == f"lfw_people is in {raw_folder('lfw_people')}"
    assert calls == [str(raw_folder("lfw_people"))]


def test_what_no_command_can_fetch_is_told_by_its_page():
    for name in ("malaria", "raf_db", "ck_plus", "coco_stuff", "fer2013", "facescrub_lfw"):
        with pytest.raises(
            DataMissing, match=f"The data of the task {name} cannot be fetched by a command. Get it from http"
        ):
            download_task(name)
    with pytest.raises(UserError, match=r"The task digits needs no download. Those that do: caltech101, cifar10"):
        download_task("digits")
    with pytest.raises(UserError, match=r"Unknown task 'mnst'; did you mean mnist"):
        download_task("mnst")
