"""Prepared data is written once, complete or not at all, and mapped by all processes."""

import json
import multiprocessing
import os
import pwd
import warnings

import numpy as np
import pytest
import torch

from lossearch.evaluators.data.data_home import data_home, list_files
from lossearch.evaluators.data.prepared import Content, GrowingArray, prepare
from lossearch.primitives.errors import UserError


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("LOSSEARCH_DATA", str(tmp_path / "home"))
    return tmp_path / "home"


def sample(number, classes=2):
    return np.full((1, 4, 4), number % 256, np.uint8), number % classes


def content(train=6, test=3):
    parts = {"train": map(sample, range(train)), "test": map(sample, range(100, 100 + test))}
    return Content(("even", "odd"), parts, ["a.png (torn)"])


def test_a_process_without_a_home_is_told_to_set_one(monkeypatch):
    def fail(_):
        raise KeyError("uid not found")

    monkeypatch.delenv("LOSSEARCH_DATA", raising=False)
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", fail)
    with pytest.raises(UserError, match=r"HOME is not set\. Set LOSSEARCH_DATA to a directory"):
        data_home()


def test_parts_are_views_of_one_mapped_file():
    data = prepare("toy", {"seed": 1}, content)
    train, test = data.split("train"), data.split("test")
    assert (train.inputs.dtype, train.targets.dtype) == (torch.uint8, torch.int64)
    assert train.inputs.shape == (6, 1, 4, 4)
    assert train.targets.tolist() == [0, 1] * 3
    assert test.inputs[:, 0, 0, 0].tolist() == [100, 101, 102]
    assert test.inputs.untyped_storage().data_ptr() == train.inputs.untyped_storage().data_ptr()
    assert (data.counts("train"), data.counts("test")) == ([3, 3], [2, 1])
    assert data.about["classes"] == ["even", "odd"]
    assert data.about["skipped"] == ["a.png (torn)"]
    with pytest.raises(KeyError):
        data.split("validation")


def test_mapped_pages_are_shared_and_writes_to_them_are_not_kept():
    first = prepare("toy", {}, content)
    with open("/proc/self/maps") as maps:
        assert sum("inputs.npy" in line for line in maps) >= 1
    first.inputs[0] = 255
    assert int(prepare("toy", {}, content).inputs[0, 0, 0, 0]) == 0


def test_data_is_prepared_once_until_its_source_changes(home):
    def refused():
        raise AssertionError("asked for the content again")

    prepare("toy", {"size": 4}, content)
    prepare("toy", {"size": 4}, refused)
    assert len(prepare("toy", {"size": 5}, lambda: content(train=2)).inputs) == 5
    assert len([path for path in (home / "prepared").iterdir() if path.is_dir()]) == 2


def test_a_listing_changes_with_a_files_size_and_time(tmp_path):
    file = tmp_path / "data" / "a.png"
    file.parent.mkdir()
    file.write_bytes(b"12")
    os.utime(file, ns=(5, 5))
    assert list_files(file.parent) == [("a.png", 2, 5)]
    os.utime(file, ns=(6, 6))
    assert list_files(file.parent, [file, file.with_name("gone.png")]) == [("a.png", 2, 6)]


def test_nothing_is_left_if_preparing_fails(home):
    def torn():
        yield sample(0)
        raise ValueError("torn")

    with pytest.raises(ValueError, match=r"torn"):
        prepare("toy", {}, lambda: Content(("even", "odd"), {"train": torn()}))
    assert not [path for path in (home / "prepared").iterdir() if path.is_dir()]
    assert len(prepare("toy", {}, content).inputs) == 9


def test_the_remains_of_a_stopped_process_are_removed(home):
    data = prepare("toy", {}, content)
    (folder,) = (path for path in (home / "prepared").iterdir() if path.is_dir())
    folder.rename(folder.with_name(f".{folder.name}.writing"))
    again = prepare("toy", {}, content)
    assert torch.equal(again.inputs, data.inputs)
    assert [path for path in (home / "prepared").iterdir() if path.is_dir()] == [folder]


def _prepare(start, calls):
    start.wait()

    def counted():
        calls.put(os.getpid())
        return content(train=2_000)

    assert len(prepare("toy", {}, counted).split("train")) == 2_000


def test_one_of_several_processes_prepares_and_all_have_the_data(home):
    context = multiprocessing.get_context("fork")
    start, calls = context.Event(), context.Queue()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads
        workers = [context.Process(target=_prepare, args=(start, calls)) for _ in range(4)]
        for worker in workers:
            worker.start()
    start.set()
    for worker in workers:
        worker.join(timeout=600)
    assert [worker.exitcode for worker in workers] == [0] * 4
    calls.get(timeout=60)
    assert calls.empty()


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "inputs.npy").write_bytes(b"no array"),
        lambda folder: (folder / "targets.npy").unlink(),
        lambda folder: (folder / "about.json").write_text("{}"),
        lambda folder: np.save(folder / "targets.npy", np.zeros(3, np.int64)),
        lambda folder: np.save(folder / "targets.npy", np.array([print] * 9), allow_pickle=True),
    ],
)
def test_damaged_prepared_data_is_refused(home, damage):
    prepare("toy", {}, content)
    (folder,) = (path for path in (home / "prepared").iterdir() if path.is_dir())
    damage(folder)
    with pytest.raises(
        UserError, match=r"Expected prepared data in .*toy-.* Remove this directory: it will be prepared again"
    ):
        prepare("toy", {}, content)


def test_a_folder_that_cannot_be_written_is_refused(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LOSSEARCH_DATA", str(tmp_path / "file"))
    with pytest.raises(
        UserError, match=r"Expected to write prepared data to .* set LOSSEARCH_DATA to another directory"
    ):
        prepare("toy", {}, content)


@pytest.mark.parametrize(("target", "low"), [(2, 0), (-1, 0), (np.full((4, 4), 2), -1), (np.full((4, 4), -2), -1)])
def test_a_target_that_is_no_class_is_refused(target, low):
    part = [(np.zeros((1, 4, 4), np.uint8), target)]
    with pytest.raises(UserError, match=f"Expected class indices from {low} to 1, got"):
        prepare("toy", {}, lambda: Content(("even", "odd"), {"train": part}))


def test_ignored_pixels_count_for_no_class():
    mask = np.array([[0, 1], [-1, 1]])
    data = prepare("toy", {}, lambda: Content(("a", "b"), {"train": [(np.zeros((1, 2, 2), np.uint8), mask)]}))
    assert data.counts("train") == [1, 2]
    assert data.split("train").targets.tolist() == [mask.tolist()]


def test_no_samples_are_refused():
    with pytest.raises(UserError, match=r"Expected samples, got none; broken files: 1, such as a.png"):
        prepare("toy", {}, lambda: content(train=0, test=0))


@pytest.mark.parametrize("rows", [1, 9, 10, 12_345])
def test_a_growing_array_is_what_numpy_would_save(tmp_path, rows):
    wanted = np.arange(rows * 6, dtype=np.int64).reshape(rows, 2, 3)
    with GrowingArray(tmp_path / "grown.npy", np.int64) as grown:
        for row in wanted:
            grown.append(row)
    np.testing.assert_array_equal(np.load(tmp_path / "grown.npy", allow_pickle=False), wanted)
    with GrowingArray(tmp_path / "odd.npy", np.int64) as grown:
        grown.append(wanted[0])
        with pytest.raises(ValueError, match=r"Expected rows of shape \[2, 3\], got \[3, 2\]"):
            grown.append(wanted[0].T)


def test_the_default_folder_is_the_users_cache(monkeypatch, tmp_path):
    from lossearch.evaluators.data.data_home import prepared_home, raw_folder

    monkeypatch.delenv("LOSSEARCH_DATA")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert prepared_home() == tmp_path / ".cache" / "lossearch" / "prepared"
    assert raw_folder("mnist") == tmp_path / ".cache" / "lossearch" / "raw" / "mnist"


def test_about_is_plain_json(home):
    prepare("toy", {}, content)
    (about,) = (home / "prepared").glob("toy-*/about.json")
    assert json.loads(about.read_text())["parts"]["test"] == {"samples": 3, "counts": [2, 1]}


def folders(home):
    return sorted(path.name for path in (home / "prepared").iterdir() if path.is_dir())


def test_data_of_an_older_state_of_a_source_is_removed_and_stays_readable(home):
    old = prepare("toy", {"folder": "a", "files": [1]}, content)
    other = prepare("toy", {"folder": "b", "files": [1]}, content)
    (left,) = (name for name in folders(home) if name != folders(home)[0])
    stopped = home / "prepared" / f".{left.rpartition('-')[0]}-0123.writing"
    before = old.inputs.clone()
    stopped.mkdir()
    for folder in ("a", "b"):
        prepare("toy", {"folder": folder, "files": [2]}, lambda: content(train=2))
    assert len(folders(home)) == 2
    assert not stopped.exists()
    assert len(prepare("toy", {"folder": "a", "files": [2]}, content).inputs) == 5
    assert torch.equal(old.inputs, before)
    assert len(other.inputs) == 9
    assert len(prepare("toy", {"folder": "a", "files": [1]}, content).inputs) == 9


def test_an_error_of_reading_is_not_reported_as_one_of_writing(home):
    def unread():
        yield sample(0)
        raise PermissionError(13, "Permission denied")

    for made in (lambda: Content(("even", "odd"), {"train": unread()}), lambda: next(map(open, ["/nowhere"]))):
        with pytest.raises(UserError, match=r"Expected to read the data .* got: (Permission denied|No such file)"):
            prepare("toy", {}, made)


def test_a_listing_looks_into_linked_folders_once(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "a.png").write_bytes(b"12")
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "MNIST").symlink_to(elsewhere)
    (elsewhere / "round").symlink_to(raw)
    assert [name for name, *_ in list_files(raw)] == ["MNIST/a.png"]
