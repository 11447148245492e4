"""A file of arrays is read, checked and divided into parts. Nothing in it is unpickled."""

import pickle
import zipfile

import numpy as np
import pytest

from lossearch.evaluators.data.array_file import read_arrays
from lossearch.evaluators.data.pairs import PAIRS
from lossearch.evaluators.tasks.arrays import ArrayData, array_task
from lossearch.evaluators.tasks.task import image_training
from lossearch.primitives.errors import UserError


def written(tmp_path, **arrays):
    path = tmp_path / "own.npz"
    np.savez(path, **arrays)
    return path


def task_of(path, **options):
    return array_task("own", ArrayData(arrays=str(path), **options))


def parts_of(task):
    splits = task.load()
    return {"train": splits.train, "validation": splits.validation, "test": task.load_test()}


def samples(count=40, shape=(3,), classes=4, dtype=np.float32):
    """Make inputs that all differ, with classes in turn."""
    inputs = np.random.default_rng(0).integers(0, 256, (count, *shape))
    return {"inputs": inputs.astype(dtype), "targets": np.arange(count) % classes}


def numbers(split):
    return [tuple(row) for row in split.inputs.flatten(1).tolist()]


def test_a_file_of_samples_is_divided_by_class(tmp_path):
    given = samples()
    task = task_of(written(tmp_path, **given))
    parts = parts_of(task)
    assert {part: len(split) for part, split in parts.items()} == {"train": 20, "validation": 12, "test": 8}
    assert [split.targets.bincount().tolist() for split in parts.values()] == [[5] * 4, [3] * 4, [2] * 4]
    divided = [row for split in parts.values() for row in numbers(split)]
    assert sorted(divided) == sorted(map(tuple, given["inputs"].tolist()))
    with_class = dict(zip(map(tuple, given["inputs"].tolist()), given["targets"].tolist(), strict=True))
    for split in parts.values():
        assert [with_class[row] for row in numbers(split)] == split.targets.tolist()
    assert (task.classes, task.shape, task.metric.name, task.fidelity.network) == (4, (3,), "accuracy", "mlp")
    again = parts_of(task_of(tmp_path / "own.npz"))
    assert list(map(numbers, again.values())) == list(map(numbers, parts.values()))


def test_a_file_that_names_its_parts_keeps_them(tmp_path):
    given = {part: samples(8) for part in ("train", "validation", "test")}
    for number, arrays in enumerate(given.values()):
        arrays["inputs"] += 100 * number
    named = {f"{part}_{name}": array for part, arrays in given.items() for name, array in arrays.items()}
    parts = parts_of(task_of(written(tmp_path, **named)))
    for part, split in parts.items():
        assert split.inputs.tolist() == given[part]["inputs"].tolist()
        assert split.targets.tolist() == given[part]["targets"].tolist()
    without = {name: array for name, array in named.items() if not name.startswith("validation")}
    drawn = parts_of(task_of(written(tmp_path, **without)))
    assert drawn["test"].inputs.tolist() == given["test"]["inputs"].tolist()
    assert sorted(numbers(drawn["train"]) + numbers(drawn["validation"])) == sorted(numbers(parts["train"]))
    assert set(drawn["validation"].targets.tolist()) == {0, 1, 2, 3}


def test_images_stay_bytes_and_get_a_network_of_images(tmp_path):
    task = task_of(written(tmp_path, **samples(shape=(1, 8, 8), dtype=np.uint8)))
    assert str(task.load().train.inputs.dtype) == "torch.uint8"
    assert (task.shape, task.fidelity.network) == ((1, 8, 8), image_training().network)


def test_numbers_of_other_widths_become_single_precision(tmp_path):
    task = task_of(written(tmp_path, **samples(dtype=np.float64)))
    assert str(task.load().train.inputs.dtype) == "torch.float32"


def test_targets_of_pixels_are_segmented_and_negative_ones_ignored(tmp_path):
    given = samples(12, (1, 6, 6), dtype=np.uint8)
    given["targets"] = np.arange(12 * 36).reshape(12, 6, 6) % 3
    given["targets"][:, 0, 0] = -7
    task = task_of(written(tmp_path, **given))
    parts = parts_of(task)
    assert (task.classes, task.dense, task.ignores_pixels, task.metric.name) == (3, True, True, "mean IoU")
    assert {len(parts[part]) for part in parts} == {6, 3}
    assert all(split.targets[:, 0, 0].eq(-1).all() for split in parts.values())
    assert task.obstacle(task.fidelity) is None


@pytest.mark.filterwarnings("ignore:The .* part has few images")
def test_identities_are_verified_in_parts_of_their_own(tmp_path):
    given = samples(60, (5,), classes=12)
    given["targets"] = 3 * given["targets"] + 1  # numbers with gaps
    task = task_of(written(tmp_path, **given), verification=True)
    parts = parts_of(task)
    identity = dict(zip(map(tuple, given["inputs"].tolist()), given["targets"].tolist(), strict=True))
    identities = [{identity[row] for row in numbers(split)} for split in parts.values()]
    assert list(map(len, identities)) == [6, 3, 3]
    assert len(set.union(*identities)) == 12
    assert set(parts["train"].targets.tolist()) == set(range(6))
    assert (task.classes, task.metric.name) == (6, "verification accuracy")
    for part in ("validation", "test"):
        split = parts[part]
        assert 2 <= len(split.pairs) <= 2 * PAIRS
        same = split.targets[split.pairs.first] == split.targets[split.pairs.second]
        assert same.tolist() == split.pairs.same.tolist()
    assert parts["train"].pairs is None


def test_samples_in_two_parts_cause_a_warning(tmp_path):
    named = {f"{part}_{name}": array for part in ("train", "test") for name, array in samples(12).items()}
    with pytest.warns(UserWarning, match="12 samples of .* are in more than one part"):
        task_of(written(tmp_path, **named))


def test_every_copy_of_a_sample_in_a_later_part_is_counted(tmp_path):
    named = {f"{part}_{name}": array for part in ("train", "validation", "test") for name, array in samples().items()}
    named["validation_inputs"] = named["train_inputs"] + 1_000
    named["test_inputs"] = np.repeat(named["train_inputs"][:4], 10, axis=0)
    named["test_inputs"][0] *= -0.0
    named["train_inputs"][0] = 0.0
    with pytest.warns(UserWarning, match=r"31 samples of .*\(31 of 40 in test\).* Remove the copies"):
        task_of(written(tmp_path, **named))


def changed(**changes):
    return {name: array for name, array in (samples() | changes).items() if array is not None}


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (changed(targets=None), "no targets"),
        (changed(targets=None, labels=np.zeros(40, int)), "'labels'"),
        ({"train_inputs": np.zeros((4, 2)), "train_targets": np.arange(4)}, "no test_inputs, test_targets"),
        (changed(inputs=np.zeros((40, 8, 8))), r"inputs\[:, None\].*\[40, 8, 8\]"),
        (changed(inputs=np.zeros((40, 8, 8, 3))), r"transpose\(0, 3, 1, 2\).*channels last"),
        (changed(inputs=np.zeros((0, 3)), targets=np.zeros(0, int)), r"shape \[0, 3\]"),
        (changed(inputs=np.zeros((40, 3), np.int32)), "int32"),
        (changed(inputs=np.full((40, 3), np.nan)), "120 numbers that are not"),
        (changed(inputs=np.full((40, 3), "a")), "<U1"),
        (changed(targets=np.zeros(40)), "float64"),
        (changed(targets=np.zeros(39, int)), r"shape \[40\].*\[39\]"),
        (changed(targets=np.arange(40) % 4 - 1), "numbers of at least 0 in targets.*-1"),
        (changed(targets=np.zeros(40, int)), "at least two classes.*1"),
        (changed(targets=np.minimum(np.arange(40), 2)), "at least 4 samples of each class from 0 to 2.*1 of class 0"),
        (changed(targets=np.arange(40) % 2 * 2), r"0 of class 1\. numpy.unique\(targets"),
        (changed(targets=np.arange(40) % 2 + 1), r"0 of class 0\. numpy.unique\(targets"),
        (changed(targets=np.eye(2, dtype=int)[np.arange(40) % 2]), r"shape \[40, 2\]\. targets.argmax\(1\)"),
        (
            {"inputs": np.zeros((6, 1, 8, 8)), "targets": np.arange(384).reshape(6, 8, 8) % 2 * 255},
            r"0 of class 1\. Pixels without a class have negative targets",
        ),
        (changed(targets=np.arange(40) % 2 * 10**12), r"0 of class 1, and class 1000000000000. numpy.unique\(targets"),
        (changed(targets=np.arange(40).astype(np.uint64) % 2 + 2**63), "0 of class 0, and class 9223372036854775809"),
        (changed(targets=np.array(["a", "b"] * 20)), r"texts, <U1. numpy.unique\(targets"),
        (changed(targets=np.array([0.5, 1.5] * 20)), "whole numbers in targets.*float64"),
        (changed(inputs=np.full((40, 3), 1e39)), "as float32.*120 numbers that are not: 120 beyond 3.4e38"),
        (changed(inputs=1e300 + np.arange(120.0).reshape(40, 3)), "beyond 3.4e38"),
        (changed(inputs=1.7e9 + np.arange(120.0).reshape(40, 3) / 3), "column 0, from 1700000000.0.*Subtract the mean"),
        (changed(inputs=np.full((40, 3), 1 + 2j)), "complex128"),
        (changed(inputs=np.zeros((40, 3), "M8[s]")), "datetime64"),
        (changed(inputs=np.zeros(40, [("a", float)])[:, None]), "'a'"),
        (changed(inputs=np.zeros((40, 3)).astype(object)), "Python objects"),
        (changed(targets=np.zeros((40, 1), int)), r"\[40, 1\]"),
        (changed(inputs=np.zeros((40, 1, 8, 8)), targets=np.full((40, 8, 8), 2**40)), "classes of pixels up to 65535"),
    ],
)
def test_arrays_that_cannot_be_a_task_are_refused(tmp_path, arrays, message):
    with pytest.raises(UserError, match=f"(?s){message}") as refused:
        task_of(written(tmp_path, **arrays))
    assert "\n" not in str(refused.value)


def test_parts_of_different_types_are_refused(tmp_path):
    named = {f"{part}_{name}": array for part in ("train", "test") for name, array in samples().items()}
    named["test_inputs"] = named["test_inputs"].astype(np.uint8)  # would be scaled, and those to train on not
    with pytest.raises(UserError, match=r"same type in all parts .* got different types"):
        task_of(written(tmp_path, **named))


@pytest.mark.filterwarnings("ignore:The .* part has few images")
def test_identities_that_are_hashes_stay_distinct(tmp_path):
    hashes = np.random.default_rng(5).integers(2**62, 2**64, 16, np.uint64, endpoint=False)
    task = task_of(written(tmp_path, **samples(80, (5,)) | {"targets": hashes[np.arange(80) % 16]}), verification=True)
    assert [len(split.targets.unique()) for split in parts_of(task).values()] == [8, 4, 4]


def test_truth_values_and_other_byte_orders_are_read(tmp_path):
    given = samples(classes=2)
    other = {"inputs": given["inputs"].astype(">f8"), "targets": given["targets"].astype(bool)}
    parts = parts_of(task_of(written(tmp_path, **other)))
    assert sorted(row for split in parts.values() for row in numbers(split)) == sorted(map(tuple, given["inputs"]))
    assert task_of(tmp_path / "own.npz").classes == 2


def test_a_file_that_unpacks_to_much_more_than_its_size_is_not_read(tmp_path):
    path = tmp_path / "bomb.npz"
    np.savez_compressed(path, inputs=np.zeros((40, 1_000_000), np.float32), targets=np.arange(40) % 4)
    with pytest.raises(UserError, match=r"at most 20 times their packed size.*got 160,\d.* bytes.*numpy.savez, which"):
        read_arrays(path)
    with zipfile.ZipFile(path, "w") as archive, archive.open("inputs.npy", "w") as member:
        header = {"descr": "<f4", "fortran_order": False, "shape": (10**6, 10**6)}
        np.lib.format.write_array_header_1_0(member, header)
    with zipfile.ZipFile(path, "a") as archive, archive.open("targets.npy", "w") as member:
        np.save(member, np.arange(4))
    with pytest.raises(UserError, match="inputs has 0 bytes, and its header says 4,000,000,000,000"):
        read_arrays(path)


def test_the_home_directory_is_put_for_a_tilde(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    written(tmp_path, **samples())
    data = ArrayData(arrays="~/own.npz")
    assert array_task("own", data).classes == 4
    assert data.with_absolute_path().arrays == str(tmp_path.resolve() / "own.npz")


@pytest.mark.parametrize(
    ("identities", "message"),
    [
        (np.arange(40), "two identities"),
        (np.zeros((40, 8, 8), int), "one target per pixel"),
    ],
)
def test_identities_that_cannot_be_kept_apart_are_refused(tmp_path, identities, message):
    path = written(tmp_path, inputs=np.zeros((40, 1, 8, 8), np.uint8), targets=identities)
    with pytest.raises(UserError, match=message):
        task_of(path, verification=True)


def test_an_identity_in_two_parts_is_refused(tmp_path):
    parts = ("train", "validation", "test")
    named = {f"{part}_{name}": array for part in parts for name, array in samples(12).items()}
    with pytest.raises(UserError, match=r"every identity in one part.*0 in train and validation"):
        task_of(written(tmp_path, **named), verification=True)
    without = {name: array for name, array in named.items() if "validation" not in name}
    with pytest.raises(UserError, match="validation_inputs"):
        task_of(written(tmp_path, **without), verification=True)


class Planted:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return (open, (str(self.mark), "w"))


def test_nothing_in_a_file_is_unpickled(tmp_path):
    mark = tmp_path / "ran"
    path = written(tmp_path, inputs=np.array([Planted(mark)], dtype=object), targets=np.arange(1))
    with pytest.raises(UserError, match="cannot be read"):
        task_of(path)
    bare = tmp_path / "bare.npz"
    bare.write_bytes(pickle.dumps(Planted(mark)))
    with pytest.raises(UserError, match="cannot be read"):
        task_of(bare)
    assert not mark.exists()


def test_a_file_that_is_missing_damaged_or_of_another_kind_is_refused(tmp_path):
    with pytest.raises(UserError, match="got no file"):
        read_arrays(tmp_path / "none.npz")
    np.save(tmp_path / "one.npy", np.zeros(3))
    with pytest.raises(UserError, match="one array without a name"):
        read_arrays(tmp_path / "one.npy")
    (tmp_path / "empty.npz").write_bytes(b"")
    with pytest.raises(UserError, match="cannot be read"):
        read_arrays(tmp_path / "empty.npz")
    with zipfile.ZipFile(tmp_path / "text.npz", "w") as file:
        file.writestr("inputs", "not an array")
    with pytest.raises(UserError, match="Expected"):
        read_arrays(tmp_path / "text.npz")
    cut = written(tmp_path, **samples()).read_bytes()[:300]
    (tmp_path / "cut.npz").write_bytes(cut)
    with pytest.raises(UserError, match="cannot be read"):
        read_arrays(tmp_path / "cut.npz")
