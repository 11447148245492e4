"""Tasks on downloaded data: their errors if it is missing, and how it is fetched."""

import builtins
import re
import subprocess
import sys
import tarfile
import zipfile
import zlib
from http.client import IncompleteRead

import pytest

from lossearch.evaluators.data import lfw
from lossearch.evaluators.data.data_home import DataMissing, raw_folder
from lossearch.evaluators.data.images import decode
from lossearch.evaluators.tasks import TASKS
from lossearch.evaluators.tasks.download import download_task, require_downloaded
from lossearch.primitives.errors import UserError
from tests.evaluators import published_files as files
from tests.evaluators.small_images import write_folder, write_image
from tests.evaluators.task_parts import parts, rows

pytestmark = pytest.mark.usefixtures("home")


DOWNLOADED = {name: task for name, task in TASKS.items() if task.needs_download}


@pytest.mark.parametrize("name", DOWNLOADED)
def test_missing_data_is_reported_with_its_command_or_page(name, home, operators):
    task = DOWNLOADED[name]
    page, _, command = task.data_from.partition(", and ")
    for load, source in ((task.load, page), (task.load_test, command or page)):
        with pytest.raises(DataMissing, match=re.escape(source)):
            load()
    assert not home.exists()
    assert task.describe()["data_from"] == task.data_from
    assert task.obstacle(task.fidelity) is None


def test_listing_tasks_imports_nothing():
    code = "import sys, lossearch.evaluators.tasks; print({'torchvision', 'sklearn', 'h5py'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr


def test_folders_from_a_page_are_read_and_counted():
    folder = raw_folder("malaria")
    for number in range(64):
        name = f"C{number // 4}P{number // 4 + 60}thinF_IMG_20150619_114756a_cell_{number}.png"
        write_image(folder / ("Parasitized", "Uninfected")[number % 2] / name, number, 70)
    (folder / "Parasitized" / "Thumbs.db").write_bytes(b"")
    assert [len(part) for part in parts("malaria")] == [32, 16, 16]
    write_folder(raw_folder("colorectal_histology"), ("tumor", "stroma"), each=4)
    with pytest.raises(UserError, match=r"Expected 8 classes in .*, got 2. Put the eight folders of Kather_texture"):
        TASKS["colorectal_histology"].load()


@pytest.mark.parametrize("name", ["raf_db", "malaria", "facescrub_lfw", "mnist", "coco_stuff"])
def test_an_empty_folder_names_the_page_too(name, operators):
    raw_folder(name).mkdir(parents=True)
    if name == "facescrub_lfw":
        files.write_lfw(raw_folder("lfw_people"), {"Ann_Lee": 2, "Bob_Ray": 2})
    with pytest.raises(DataMissing, match=r"The data of the task .* is not in .* (Get|Run)"):
        TASKS[name].load()


def test_people_of_ck_plus_are_in_one_part_each():
    for person in range(40):
        for expression in range(7):
            for frame in range(2):
                name = f"S{person:03d}_{expression:03d}_{frame:08d}.png"
                write_image(raw_folder("ck_plus") / str(expression) / name, 20 * person + 2 * expression + frame)
    splits = parts("ck_plus")
    person_of = {}
    for file in raw_folder("ck_plus").glob("*/*.png"):
        person_of[tuple(decode(file, 48, grey=True).flatten().tolist())] = file.name[:4]
    people = [{person_of[row] for row in rows(part)} for part in splits]
    assert [len(part) for part in splits] == [280, 140, 140]
    assert list(map(len, people)) == [20, 10, 10]
    assert len(set.union(*people)) == 40


def test_raf_db_keeps_its_official_test_part():
    for number, part in enumerate(("train", "test")):
        write_folder(raw_folder("raf_db") / part, [str(k) for k in range(1, 8)], each=10, size=64 + number)
    counts = require_downloaded("raf_db")
    assert not (raw_folder("raf_db").parents[1] / "prepared").exists()  # nothing is decoded
    assert counts == {"train": 63, "validation": 7, "test": 70}
    assert [len(part) for part in parts("raf_db")] == [63, 7, 70]


@pytest.mark.parametrize("name", ["raf_db", "lfw_people", "facescrub_lfw", "coco_stuff", "malaria"])
def test_missing_data_is_found_before_anything_is_read(name):
    with pytest.raises(DataMissing, match=r"(Get|Run)"):
        require_downloaded(name)


def test_people_are_counted_as_they_are_read():
    files.write_lfw(raw_folder("lfw_people"), {"Ann_Lee": 20, "Bob_Ray": 24, "Cid_Fox": 3})
    with pytest.raises(UserError, match=r"Expected 62 people with 20 images or more in .*, got 2"):
        require_downloaded("lfw_people")
    assert lfw.count_people(2) == {part: len(lfw.read_people(16, 2).split(part)) for part in lfw.count_people(2)}


def test_a_missing_torchvision_is_reported_with_how_to_install_it(monkeypatch):
    (raw_folder("cifar10") / "cifar-10-batches-py").mkdir(parents=True)
    (raw_folder("cifar10") / "cifar-10-batches-py" / "batches.meta").touch()
    monkeypatch.setitem(sys.modules, "torchvision", None)
    for read in (TASKS["cifar10"].load, lambda: require_downloaded("cifar10")):
        with pytest.raises(UserError, match=r"Expected torchvision, .* Run: pip install 'lossearch\[vision\]'"):
            read()


def test_a_torchvision_that_does_not_suit_torch_is_reported_with_how_to_install_it(monkeypatch):
    (raw_folder("cifar10") / "cifar-10-batches-py").mkdir(parents=True)
    (raw_folder("cifar10") / "cifar-10-batches-py" / "batches.meta").touch()
    imported = builtins.__import__

    def broken(name, *rest):
        if name == "torchvision":
            raise RuntimeError("operator torchvision::nms does not exist")
        return imported(name, *rest)

    monkeypatch.setattr(builtins, "__import__", broken)
    with pytest.raises(UserError, match=r"nms does not exist. Install both from one index, as pytorch.org says"):
        TASKS["cifar10"].load()


def test_download_lets_torchvision_fetch_every_part(datasets, monkeypatch):
    calls = []

    class Fetched:
        def __init__(self, root, **which):
            calls.append((root, which))

    monkeypatch.setattr(datasets, "PCAM", Fetched)
    assert download_task("pcam") == f"pcam is in {raw_folder('pcam')}"
    assert [which["split"] for _, which in calls] == ["train", "test", "val"]
    assert all(which["download"] and root == str(raw_folder("pcam")) for root, which in calls)


@pytest.mark.parametrize(("name", "kind"), [("voc2012", "VOCSegmentation"), ("cifar10", "CIFAR10")])
def test_an_archive_of_all_parts_is_fetched_once(name, kind, datasets, monkeypatch):
    calls = []
    monkeypatch.setattr(datasets, kind, lambda root, **which: calls.append(which))
    download_task(name)
    assert len(calls) == 1


@pytest.mark.parametrize(
    "error",
    [tarfile.ReadError("cut"), zipfile.BadZipFile("cut"), IncompleteRead(b"x"), EOFError("cut"), zlib.error("cut")],
)
def test_a_broken_download_raises_no_traceback(error, datasets, monkeypatch):
    def broken(*_, **__):
        raise error

    monkeypatch.setattr(datasets, "VOCSegmentation", broken)
    with pytest.raises(UserError, match=r"Expected to download voc2012 into .* got: (cut|IncompleteRead).*. Try again"):
        download_task("voc2012")


def test_a_download_that_fails_says_why(datasets, monkeypatch):
    def unreachable(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(datasets, "MNIST", unreachable)
    with pytest.raises(UserError, match=r"Expected to download mnist into .* got: no route to host. Try again"):
        download_task("mnist")


def test_data_that_no_command_can_fetch_is_reported_with_its_page():
    for name in ("malaria", "raf_db", "ck_plus", "coco_stuff", "fer2013", "facescrub_lfw"):
        with pytest.raises(
            DataMissing, match=f"The data of the task {name} cannot be fetched by a command. Get it from http"
        ):
            download_task(name)
    with pytest.raises(UserError, match=r"The task digits needs no download. Tasks that do: caltech101, cifar10"):
        download_task("digits")
    with pytest.raises(UserError, match=r"Unknown task 'mnst'; did you mean mnist"):
        download_task("mnst")
