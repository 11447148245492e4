import pytest
import torch

from evaluators.splits import Split, stratified, with_symmetric_noise
from evaluators.tasks import TASKS, known_task


def rows(split):
    return {tuple(row) for row in split.inputs.flatten(1).tolist()}


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_the_splits_never_mix_and_hold_every_class(task):
    splits, test = task.load(), task.load_test()
    parts = [splits.train, splits.validation, test]
    for index, part in enumerate(parts):
        assert set(part.targets.tolist()) == set(range(task.classes))
        assert part.inputs.shape == (len(part), *task.shape)
        for other in parts[index + 1 :]:
            assert not rows(part) & rows(other)


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_loading_twice_gives_the_same_data(task):
    first, again = task.load(), task.load()
    assert torch.equal(first.train.inputs, again.train.inputs)
    assert torch.equal(first.train.targets, again.train.targets)


def test_digits_are_split_in_half_and_two_quarters():
    task = TASKS["digits"]
    splits = task.load()
    assert len(splits.train) + len(splits.validation) + len(task.load_test()) == 1797
    assert abs(len(splits.train) - 1797 / 2) <= 5


def test_noise_is_in_the_training_labels_alone():
    clean, noisy = TASKS["digits"].load(), TASKS["digits_noisy"].load()
    assert torch.equal(clean.validation.targets, noisy.validation.targets)
    changed = (clean.train.targets != noisy.train.targets).float().mean().item()
    assert changed == pytest.approx(0.4, abs=0.05)


def test_symmetric_noise_moves_labels_to_every_other_class_alike():
    targets = torch.zeros(30_000, dtype=torch.long)
    noisy = with_symmetric_noise(Split(targets.unsqueeze(1), targets), 0.6, 4, seed=0)
    shares = torch.bincount(noisy.targets, minlength=4) / len(targets)
    torch.testing.assert_close(shares, torch.tensor([0.4, 0.2, 0.2, 0.2]), atol=0.01, rtol=0)


def test_stratified_parts_are_disjoint_and_complete():
    targets = torch.arange(100) % 3
    parts = stratified(targets, (0.5, 0.25, 0.25), seed=3)
    assert sorted(torch.cat(parts).tolist()) == list(range(100))
    with pytest.raises(ValueError, match="sum to at most 1"):
        stratified(targets, (0.8, 0.4), seed=3)


def test_an_unknown_task_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match="Unknown task 'digit'; did you mean digits"):
        known_task("digit")
