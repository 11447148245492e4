"""The data of known tasks: parts that never mix, corruption of training labels, generated images."""

import pytest
import torch

from lossearch.evaluators.data.corruption import add_symmetric_noise
from lossearch.evaluators.data.pairs import draw_balanced_pairs
from lossearch.evaluators.data.parts import stratify
from lossearch.evaluators.data.procedural import SHAPES, SIZE, draw_scenes, draw_shapes
from lossearch.evaluators.data.splits import Split
from lossearch.evaluators.tasks import TASKS, known_task

#: Tasks that need no download.
HERE = {name: task for name, task in TASKS.items() if not task.needs_download}


def rows(split):
    return {tuple(row) for row in split.inputs.flatten(1).tolist()}


@pytest.mark.parametrize("task", HERE.values(), ids=HERE)
def test_the_splits_never_mix_and_hold_every_class(task):
    splits, test = task.load(), task.load_test()
    parts = [splits.train, splits.validation, test]
    for index, part in enumerate(parts):
        if part.pairs is None:
            assert set(part.targets.flatten().tolist()) == set(range(task.classes))
        assert part.inputs.shape == (len(part), *task.shape)
        assert part.targets.shape == ((len(part), *task.shape[1:]) if task.dense else (len(part),))
        for other in parts[index + 1 :]:
            assert not rows(part) & rows(other)
            if other.pairs is not None:
                assert not set(part.targets.tolist()) & set(other.targets.tolist())  # identities never seen before


@pytest.mark.parametrize("task", HERE.values(), ids=HERE)
def test_loading_twice_gives_the_same_data(task):
    first, again = task.load(), task.load()
    assert torch.equal(first.train.inputs, again.train.inputs)
    assert torch.equal(first.train.targets, again.train.targets)


def test_digits_are_split_in_half_and_two_quarters():
    task = TASKS["digits"]
    splits = task.load()
    assert len(splits.train) + len(splits.validation) + len(task.load_test()) == 1797
    assert abs(len(splits.train) - 1797 / 2) <= 5


def test_only_training_labels_have_noise():
    clean, noisy = TASKS["digits"].load(), TASKS["digits_noisy"].load()
    assert torch.equal(clean.validation.targets, noisy.validation.targets)
    changed = (clean.train.targets != noisy.train.targets).float().mean().item()
    assert changed == pytest.approx(0.4, abs=0.05)


@pytest.mark.parametrize("name", ["digits_noisy_20", "digits_noisy_60", "digits_asymmetric_40", "shapes_noisy"])
def test_the_share_of_wrong_labels_equals_that_in_the_name(name):
    task = TASKS[name]
    clean = TASKS["shapes" if name.startswith("shapes") else "digits"].load().train.targets
    share = {"20": 0.2, "60": 0.6}.get(name[-2:], 0.4)
    noisy = task.load().train.targets
    assert (clean != noisy).float().mean().item() == pytest.approx(share, abs=0.05)
    if "asymmetric" in name:
        assert set(((noisy - clean) % task.classes).tolist()) == {0, 1}


def test_a_long_tail_falls_geometrically_and_few_labels_are_few():
    counts = torch.bincount(TASKS["digits_long_tail"].load().train.targets).tolist()
    assert counts[0] / counts[-1] == pytest.approx(50, rel=0.2)
    assert counts == sorted(counts, reverse=True)
    assert counts[5] == pytest.approx(counts[0] * 50 ** (-5 / 9), abs=0.6)
    assert set(torch.bincount(TASKS["digits_few_labels"].load().train.targets).tolist()) == {5}


@pytest.mark.parametrize("name", ["digits_long_tail", "digits_few_labels"])
def test_a_thinned_training_part_is_a_subset_of_the_full_one(name):
    assert rows(TASKS[name].load().train) < rows(TASKS["digits"].load().train)


def test_pairs_are_balanced_and_never_of_one_sample_with_itself():
    for part in (TASKS["glyphs"].load().validation, TASKS["glyphs"].load_test()):
        pairs = part.pairs
        assert (part.targets[pairs.first] == part.targets[pairs.second]).equal(pairs.same)
        assert int(pairs.same.sum()) * 2 == len(pairs) == 1_000
        assert not (pairs.first == pairs.second).any()
        assert set(part.targets[pairs.first].tolist()) == set(part.targets.tolist())
    with pytest.raises(ValueError, match="at least two classes"):
        draw_balanced_pairs(torch.zeros(4, dtype=torch.int64), 3, 0)


def test_masks_are_where_the_shapes_are():
    generator = torch.Generator().manual_seed(0)
    images, masks = draw_shapes(torch.arange(80) % len(SHAPES), generator)
    assert images.shape == (80, 3, SIZE, SIZE)
    assert images.abs().max() <= 1.0
    shares = masks.float().mean((1, 2))
    assert 0.02 < shares.min() < shares.max() < 0.8
    inside, outside = (
        torch.stack([image[:, where].mean() for image, where in zip(images, mask, strict=True)])
        for mask in (masks, ~masks)
    )
    assert (inside - outside).abs().mean() > 0.1  # another texture


def test_generated_images_come_from_the_generator_alone():
    first, again, other = (draw_scenes(6, 3, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])
    assert set(first[1].unique().tolist()) == {0, 1, 2, 3}


def test_symmetric_noise_moves_labels_to_every_other_class_alike():
    targets = torch.zeros(30_000, dtype=torch.long)
    noisy = add_symmetric_noise(Split(targets.unsqueeze(1), targets), 0.6, 4, seed=0)
    shares = torch.bincount(noisy.targets, minlength=4) / len(targets)
    torch.testing.assert_close(shares, torch.tensor([0.4, 0.2, 0.2, 0.2]), atol=0.01, rtol=0)


def test_stratified_parts_are_disjoint_and_complete():
    targets = torch.arange(100) % 3
    parts = stratify(targets, (0.5, 0.25, 0.25), seed=3)
    assert sorted(torch.cat(parts).tolist()) == list(range(100))
    with pytest.raises(ValueError, match="sum to at most 1"):
        stratify(targets, (0.8, 0.4), seed=3)


def test_an_unknown_task_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match="Unknown task 'digit'; did you mean digits"):
        known_task("digit")


def test_every_metric_is_a_valid_measure():
    from lossearch.results.records import METRICS

    assert {task.metric.name for task in TASKS.values()} == set(METRICS)
