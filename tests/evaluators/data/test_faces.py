"""Labeled Faces in the Wild and FaceScrub are read from small copies in their own folders."""

import numpy as np
import pytest

from lossearch.evaluators.data import facescrub, lfw
from lossearch.evaluators.data.data_home import DataMissing, raw_folder
from lossearch.evaluators.data.images import decode
from lossearch.evaluators.tasks import TASKS
from lossearch.evaluators.tasks.download import download_task
from lossearch.primitives.errors import UserError
from tests.evaluators import published_files as files
from tests.evaluators.small_images import write_folder
from tests.evaluators.task_parts import rows

pytestmark = pytest.mark.usefixtures("home")


PEOPLE = {"Ann_Lee": 24, "Bob_Ray": 20, "Cy_Zoë": 21, "Dee_Few": 5}


def test_people_of_lfw_are_those_of_scikit_learn_with_twenty_images():
    from sklearn.datasets import fetch_lfw_people

    files.write_lfw(raw_folder("lfw_people"), PEOPLE)
    data = lfw.read_people(16, 3)
    theirs = fetch_lfw_people(
        data_home=str(raw_folder("lfw_people")), min_faces_per_person=20, download_if_missing=False
    )
    assert [name.replace("_", " ") for name in data.about["classes"]] == theirs.target_names.tolist()
    assert [sum(data.counts(part)[k] for part in data.about["parts"]) for k in range(3)] == [24, 20, 21]
    assert [len(data.split(part)) for part in ("train", "validation", "test")] == [32, 17, 16]
    with pytest.raises(UserError, match=r"Expected 62 people with 20 images or more in .* got 3. Remove"):
        TASKS["lfw_people"].load()


def test_faces_are_cut_as_scikit_learn_cuts_them():
    files.write_lfw(raw_folder("lfw_people"), {"Ann_Lee": 2, "Bob_Ray": 2})
    split = lfw.read_pairs(94)
    with files.Image.open(
        raw_folder("lfw_people") / "lfw_home" / "lfw_funneled" / "Ann_Lee" / "Ann_Lee_0001.jpg"
    ) as image:
        face = np.asarray(image)[70:195, 78:172]
    middle = (face[15:109].astype(float) + face[16:110]) / 2  # of 125 rows 94 are left, from half a pixel on
    np.testing.assert_allclose(split.inputs[0].numpy().transpose(1, 2, 0), middle, atol=1.0)


def test_ten_folds_of_lfw_are_read_in_their_order():
    people = {f"Person_{k:02d}": 3 for k in range(10)}
    files.write_lfw(raw_folder("lfw_people"), people)
    names, lines = list(people), []
    for fold, name in enumerate(names):  # two pairs of each kind
        lines += [f"{name}\t1\t2", f"{name}\t3\t1"]
        lines += [f"{name}\t{k}\t{names[fold - k]}\t3" for k in (1, 2)]
    (raw_folder("lfw_people") / "lfw_home" / "pairs.txt").write_text("10\t2\n" + "\n".join(lines))
    split = lfw.read_pairs(16)
    assert split.pairs.same.tolist() == [True, True, False, False] * 10
    folder = raw_folder("lfw_people") / "lfw_home" / "lfw_funneled"
    for line, first, second in zip(lines, split.pairs.first, split.pairs.second, strict=True):
        fields = line.split("\t")
        for row, name, number in ((first, *fields[:2]), (second, fields[-2] if fields[3:] else fields[0], fields[-1])):
            face = decode(folder / name / f"{name}_{int(number):04d}.jpg", 16, box=lfw.FACE)
            assert (split.inputs[row].numpy() == face).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "a first line of two numbers, folds and pairs in pairs.txt, got ''"),
        (b"10\tmany\n", "a first line of two numbers"),
        (b"10\t1\nAnn_Lee\t1\t2\n", "20 lines of pairs, as the first line says, in pairs.txt, got 1"),
        (b"0\t1\n", "0 lines of pairs"),
        (b"1\t1\nAnn_Lee\t1\tBob_Ray\t2\nAnn_Lee\t1\t2\n", "a line of name, number, number, separated by tabs"),
        (b"1\t1\nAnn_Le\xe9\t1\t2\n", "text in UTF-8"),
    ],
)
def test_pairs_that_do_not_match_their_first_line_are_refused(text, message):
    files.write_lfw(raw_folder("lfw_people"), {"Ann_Lee": 2, "Bob_Ray": 2})
    (raw_folder("lfw_people") / "lfw_home" / "pairs.txt").write_bytes(text)
    with pytest.raises(UserError, match=f"Expected {message}.* Remove the file. Run: lossearch download lfw_people"):
        lfw.read_named_pairs()


def test_pairs_of_lfw_are_in_the_order_of_their_folds():
    files.write_lfw(raw_folder("lfw_people"), PEOPLE)
    split = TASKS["facescrub_lfw"].load_test()
    assert split.pairs.same.tolist() == [True, False] * 4
    assert len(split) == 8  # each image once
    people = split.targets
    assert (people[split.pairs.first] == people[split.pairs.second]).equal(split.pairs.same)


@pytest.mark.parametrize(
    "line",
    [
        *("Ann_Lee\t1", "Ann_Lee\tone\t2", "../Ann\t1\t2", "a\t1\tb\t2\tc", "Ann_Lee\t1\tBob_Ray\t2", "\t1\t2"),
        *(".Ann\t1\t2", f"Ann_Lee\t1\t{'9' * 5_000}", "Ann_Lee\t\u0661\t2"),
    ],
)
def test_a_malformed_line_of_pairs_is_refused(line):
    files.write_lfw(raw_folder("lfw_people"), {"Ann_Lee": 2})
    path = raw_folder("lfw_people") / "lfw_home" / "pairs.txt"
    path.write_text(f"1\t1\n{line}\nAnn_Lee\t1\tBob_Ray\t2\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"Expected a line of name, number, number, .* in pairs.txt, got '.*'. Remove"):
        lfw.read_named_pairs()


def test_an_image_of_a_pair_that_is_missing_or_broken_is_refused():
    files.write_lfw(raw_folder("lfw_people"), {"Ann_Lee": 2, "Bob_Ray": 2})
    image = raw_folder("lfw_people") / "lfw_home" / "lfw_funneled" / "Bob_Ray" / "Bob_Ray_0002.jpg"
    image.write_bytes(b"")
    with pytest.raises(UserError, match=r"got broken files: 1, such as Bob_Ray/Bob_Ray_0002.jpg"):
        lfw.read_pairs(16)
    image.unlink()
    with pytest.raises(
        DataMissing, match=r"Expected .*Bob_Ray_0002.jpg, got nothing. Remove .*lfw_funneled. Run: lossearch download"
    ):
        lfw.read_pairs(16)


def test_identities_that_are_verified_were_never_trained_on():
    files.write_lfw(raw_folder("lfw_people"), PEOPLE)
    names = ["ann lee", "Cy Zoe", *(f"Actor {k:02d}" for k in range(22))]
    write_folder(raw_folder("facescrub_lfw"), names, each=3)
    with (
        pytest.warns(UserWarning, match=r"that are in pairs of Labeled Faces in the Wild are left out: 2 of 24"),
        pytest.warns(UserWarning, match=r"6 pairs of one identity and 6 of two, instead of 500"),
    ):
        splits = facescrub.read_facescrub(16, 477)
    assert len(splits.train) == 60
    assert set(splits.train.targets.tolist()) == set(range(20))
    assert set(splits.validation.targets.tolist()) == {20, 21}
    everyone, known = rows(splits.train) | rows(splits.validation), set()
    for name in names[:2]:
        for file in (raw_folder("facescrub_lfw") / name).iterdir():
            known.add(tuple(decode(file, 16).flatten().tolist()))
    assert (len(everyone), len(known)) == (66, 6)
    assert not everyone & known
    assert int(splits.validation.pairs.same.sum()) * 2 == len(splits.validation.pairs)


def test_more_identities_than_the_task_has_classes_for_are_refused():
    files.write_lfw(raw_folder("lfw_people"), {"Ann_Lee": 2, "Bob_Ray": 2})
    write_folder(raw_folder("facescrub_lfw"), [f"Actor {k:02d}" for k in range(20)], each=2)
    with pytest.raises(UserError, match=r"Expected 2 to 9 identities to train on in .*, got 18. Put one subfolder"):
        facescrub.read_facescrub(16, 9)


def test_lfw_is_fetched_by_scikit_learn(monkeypatch):
    import sklearn.datasets

    calls = []
    monkeypatch.setattr(sklearn.datasets, "fetch_lfw_people", lambda **which: calls.append(which["data_home"]))
    assert download_task("lfw_people") == f"lfw_people is in {raw_folder('lfw_people')}"
    assert calls == [str(raw_folder("lfw_people"))]


def test_no_pickles_of_scikit_learn_are_read_or_left(monkeypatch):
    import sklearn.datasets

    pickles = raw_folder("lfw_people") / "lfw_home" / "joblib"
    monkeypatch.setattr(sklearn.datasets, "fetch_lfw_people", lambda **_: pickles.mkdir(parents=True))
    download_task("lfw_people")
    assert not pickles.exists()
    pickles.mkdir()
    with pytest.raises(UserError, match=r"Expected no pickles of scikit-learn's, got .*joblib. Remove it"):
        download_task("lfw_people")
    assert pickles.exists()


@pytest.mark.parametrize("layout", ["split", "two names"])
def test_a_facescrub_that_is_not_one_subfolder_for_each_identity_is_refused(layout):
    files.write_lfw(raw_folder("lfw_people"), {"Ann_Lee": 2, "Bob_Ray": 2})
    for part in ("train", "test"):
        folder = raw_folder("facescrub_lfw") / (part if layout == "split" else "")
        write_folder(folder, [f"{part} {k}" for k in range(3)], each=2)
    if layout == "two names":
        write_folder(raw_folder("facescrub_lfw"), ["Train_1"], each=2)
    message = {"split": "got train, test. Move the subfolders of all parts up", "two names": "'Train_1' and 'train 1'"}
    with pytest.raises(UserError, match=message[layout]):
        facescrub.read_facescrub(16, 477)
