"""Identities to verify are never trained on, and their pairs are balanced and distinct."""

import pytest
import torch

from lossearch.evaluators.data.image_folder import ImageFolder
from lossearch.evaluators.data.image_listing import plain_name
from lossearch.evaluators.data.pairs import PAIRS, draw_distinct_pairs, draw_verification_pairs
from lossearch.primitives.errors import UserError
from tests.evaluators.folder_tasks import rows, task_of
from tests.evaluators.small_images import write_folder, write_image

pytestmark = pytest.mark.usefixtures("home")


def test_identities_to_verify_are_never_trained_on(tmp_path):
    folder = write_folder(tmp_path / "people", [f"person {k:02d}" for k in range(12)], each=3)
    write_image(folder / "person 99" / "a.png", 99_000)  # one image cannot be verified, so it trains
    task = task_of(folder, verification=True, grey=True)
    assert (task.classes, task.shape, task.metric.name) == (7, (1, 8, 8), "verification accuracy")
    with (
        pytest.warns(UserWarning, match=r"The validation part has few images: 9 pairs of one identity and 9 of two"),
        pytest.warns(UserWarning, match=r"The test part has few images: 9 pairs"),
    ):
        train, validation, test = task.load().train, task.load().validation, task.load_test()
    assert set(train.targets.tolist()) == set(range(7))
    assert set(validation.targets.tolist()) == {7, 8, 9}
    assert set(test.targets.tolist()) == {10, 11, 12}
    for part in (validation, test):
        assert (part.targets[part.pairs.first] == part.targets[part.pairs.second]).equal(part.pairs.same)
        assert int(part.pairs.same.sum()) * 2 == len(part.pairs)
    assert not rows(train) & rows(validation) | rows(train) & rows(test)


def test_verification_needs_two_identities_with_two_images_in_each_part(tmp_path):
    folder = write_folder(tmp_path / "people", [f"person {k}" for k in range(6)], each=2)
    with pytest.raises(UserError, match=r"Expected at least two identities with two images each in validation, got 1"):
        task_of(folder, verification=True)


def test_identities_split_by_the_user_keep_their_parts(tmp_path):
    folder = tmp_path / "people"
    for number, part in enumerate(("train", "val", "test")):
        write_folder(folder / part, [f"{part} {k}" for k in range(2 + number)], each=2, size=8 + number)
    task = task_of(folder, verification=True)
    assert task.classes == 2
    with pytest.warns(UserWarning, match=r"The validation part has few images: 3 pairs of one identity"):
        assert set(task.load().validation.targets.tolist()) == {2, 3, 4}
    write_folder(folder / "test", ("train 1",), each=2)
    with pytest.raises(
        UserError, match=r"Expected identities in test that no other part has, got 'train 1', which train has"
    ):
        task_of(folder, verification=True)


def test_identities_that_are_split_without_validation_are_refused(tmp_path):
    for part in ("train", "test"):
        write_folder(tmp_path / "people" / part, [f"{part} {k}" for k in range(3)], each=2)
    with pytest.raises(UserError, match=r"Expected identities for validation in .*got only train and test"):
        task_of(tmp_path / "people", verification=True)


def test_names_of_people_are_compared_by_letters_and_digits():
    assert plain_name("Zoë_Saldana") == plain_name("zoe saldana") == "zoesaldana"
    assert plain_name("Robert Downey Jr.") == plain_name("robert_downey_jr")
    assert plain_name("A") != plain_name("B")


def test_names_that_are_one_identity_are_refused_in_two_parts_and_in_one(tmp_path):
    folder = tmp_path / "people"
    for part, names in {"train": ("Ann Lee", "Bob"), "val": ("ann_lee", "Cy"), "test": ("Dee", "Eve")}.items():
        write_folder(folder / part, names, each=2)
    with pytest.raises(
        UserError, match=r"in validation that no other part has, got 'ann_lee', which train has as 'Ann"
    ):
        task_of(folder, verification=True)
    write_folder(tmp_path / "all", ("Zo\u00eb", "zoe", "Ann", "Bob"), each=2)
    with pytest.raises(UserError, match=r"Expected every identity under one name, got 'Zo.*' and 'zoe'"):
        task_of(tmp_path / "all", verification=True)


def test_one_more_identity_moves_few_others_to_another_part(tmp_path):
    folder = write_folder(tmp_path / "people", [f"person {k:02d}" for k in range(40)], each=2)

    def trained():
        listing, parts = ImageFolder(folder, verification=True).divided
        return {listing.classes[index] for _, index in parts["train"]}

    before = trained()
    write_folder(folder, ("one more",), each=2)
    assert len((before ^ trained()) - {"one more"}) <= 1


def sizes(*counts):
    return torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))


@pytest.mark.parametrize(("targets", "count"), [(sizes(2, 2), 2), (sizes(3, 4, 2), 10), (sizes(5, 40, 3, 9), 400)])
def test_no_pair_is_drawn_twice_and_few_pairs_are_all_drawn(targets, count):
    targets = targets.flip(0)
    pairs = draw_distinct_pairs(targets, count, seed=1)
    assert (targets[pairs.first] == targets[pairs.second]).equal(pairs.same)
    assert int(pairs.same.sum()) * 2 == len(pairs) == 2 * count
    drawn = {frozenset(pair) for pair in zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)}
    assert all(len(pair) == 2 for pair in drawn)
    assert len(drawn) == len(pairs)
    assert len(draw_distinct_pairs(targets, 10_000, seed=1)) == 2 * min(
        sum(same == (targets[i] == targets[j]) for i in range(len(targets)) for j in range(i)) for same in (True, False)
    )


def test_every_pair_is_equally_likely():
    targets, counts = sizes(2, 3), {}
    for seed in range(600):
        pairs = draw_distinct_pairs(targets, 1, seed)
        for pair in zip(pairs.first.tolist(), pairs.second.tolist(), strict=True):
            counts[frozenset(pair)] = counts.get(frozenset(pair), 0) + 1
    same = [count for pair, count in counts.items() if len({int(targets[row]) for row in pair}) == 1]
    other = [count for pair, count in counts.items() if len({int(targets[row]) for row in pair}) == 2]
    assert (len(same), len(other)) == (4, 6)
    assert max(abs(count - 150) for count in same) < 50  # four standard deviations are 42
    assert max(abs(count - 100) for count in other) < 45


def test_at_most_five_hundred_pairs_of_each_kind_verify():
    pairs = draw_verification_pairs(sizes(40, 40), 0, "test")
    assert len(pairs) == 2 * PAIRS == len({*zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)})
