"""Options of a training: schedules, class weights, resuming, image bytes and ignored pixels."""

from dataclasses import replace

import pytest
import torch

from lossearch.evaluators.cohort.cohort import find_batching_obstacle
from lossearch.evaluators.data.splits import Split, Splits, as_numbers
from lossearch.evaluators.settings import TrainingSettings
from lossearch.evaluators.tasks import known_task
from lossearch.evaluators.tasks.metrics import mean_iou
from lossearch.evaluators.training.attached_loss import loss_for
from lossearch.evaluators.training.one_by_one import OneByOne
from lossearch.evaluators.training.optimizers import Plateau
from lossearch.evaluators.training.plan import TrainingPlan
from lossearch.evaluators.training.start import class_frequencies
from lossearch.evaluators.training.training import Training
from lossearch.primitives.catalog import CATALOG
from lossearch.primitives.language.parser import parse
from tests.long_cases import long_unless

TASK = known_task("digits")


def training(fidelity, text="ce(z)", kind=None, task=TASK):
    return Training(loss_for(parse(text), task, fidelity, kind), task, fidelity, 3, 1.0)


def test_learning_rates_equal_those_by_hand():
    step = TrainingSettings(steps=100, learning_rate=0.4, schedule="step", milestones=(50, 80), decay=0.1, warm_up=3)
    rates = [step.learning_rate_at(k) for k in (0, 1, 2, 3, 49, 50, 80)]
    assert rates == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4, 0.04, 0.004])
    assert TrainingSettings(steps=100, schedule="constant").learning_rate_at(99) == 0.1
    assert TrainingSettings(steps=100).learning_rate_at(50) == pytest.approx(0.05)


def test_a_plateau_lowers_the_rate_after_more_epochs_than_it_has_patience_for():
    fidelity = TrainingSettings(steps=10, schedule="plateau", epoch=2, patience=1, decay=0.5)
    plateau, scales = Plateau(), []
    for score in (0.5, 0.4, 0.5, 0.6, 0.6, 0.6):
        plateau.look(score, fidelity)
        scales.append(plateau.scale)
    assert scales == [1.0, 1.0, 0.5, 0.5, 0.5, 0.25]
    assert Plateau.of(plateau.as_tensor()) == plateau


@pytest.mark.parametrize("correct", range(1, 450, 7))
def test_a_restored_plateau_does_not_count_an_equal_score_as_better(correct):
    plateau = Plateau(scale=0.1, best=correct / 450)
    saved = Plateau.of(plateau.as_tensor())
    saved.look(correct / 450, TrainingSettings(steps=10, schedule="plateau", epoch=2))
    assert (saved.scale, saved.waited) == (0.1, 1)


def test_the_label_tells_trainings_apart():
    variants = [
        TrainingSettings(),
        TrainingSettings(optimizer="adam"),
        TrainingSettings(schedule="constant"),
        TrainingSettings(schedule="step", milestones=(9,)),
        TrainingSettings(schedule="step", milestones=(9,), decay=0.2),
        TrainingSettings(schedule="plateau", epoch=5),
        TrainingSettings(schedule="plateau", epoch=6),
        TrainingSettings(warm_up=5),
        TrainingSettings(class_weight_rate=0.01),
        TrainingSettings(fine_tune_from=0.0),
        TrainingSettings(calibrated=False),
        TrainingSettings(amp=True),
    ]
    assert len({variant.label() for variant in variants}) == len(variants)
    assert (
        TrainingSettings(epoch=5).label() == TrainingSettings().label()
    )  # the folder of saved states is no part of it


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"schedule": "step"}, "milestones: expected rising steps"),
        ({"milestones": (5,)}, "with 'cosine'"),
        ({"schedule": "step", "milestones": (9, 5)}, "milestones"),
        ({"schedule": "step", "milestones": (200,)}, "milestones"),
        ({"schedule": "plateau"}, "expected epoch"),
        ({"warm_up": 200}, "warm_up: expected fewer steps than steps"),
        ({"optimizer": "lbfgs"}, "optimizer"),
    ],
)
def test_contradictory_settings_are_refused(keys, message):
    with pytest.raises(ValueError, match=message):
        TrainingSettings(**keys)


def test_settings_without_a_batched_form_are_named():
    assert find_batching_obstacle(TASK, TrainingSettings()) is None
    assert "resnet18" in find_batching_obstacle(TASK, TrainingSettings(network="resnet18"))
    assert "schedule = 'plateau' has" in find_batching_obstacle(TASK, TrainingSettings(schedule="plateau", epoch=5))
    assert "class_weight_rate and fine_tune_from have" in find_batching_obstacle(
        TASK, TrainingSettings(class_weight_rate=1.0, fine_tune_from=0.0)
    )


def test_class_weights_have_a_learning_rate_of_their_own():
    text = str(CATALOG["am_softmax"].bound())
    slow = training(TrainingSettings(steps=5, class_weight_rate=1e-9), text, "learned")
    fast = training(TrainingSettings(steps=5), text, "learned")
    start = slow.loss.weight.detach().clone()
    for run in (slow, fast):
        run.run(5)
    assert torch.allclose(slow.loss.weight, start, atol=1e-6)
    assert not torch.allclose(fast.loss.weight, start, atol=1e-3)
    assert not torch.equal(
        slow.model.backbone.hidden.weight, training(TrainingSettings(steps=5)).model.backbone.hidden.weight
    )


def test_pedcc_weights_are_learned_from_the_given_progress_on_at_their_own_rate():
    text = str(CATALOG["pedcc"].bound())
    tuned = training(TrainingSettings(steps=10, fine_tune_from=0.5, class_weight_rate=1e-3), text, "pedcc")
    start = tuned.loss.weight.detach().clone()
    tuned.run(5)
    assert torch.equal(tuned.loss.weight, start)
    tuned.run(10)
    moved = (tuned.loss.weight - start).abs().max()
    assert 0.0 < moved < 0.05
    from_the_start = training(TrainingSettings(steps=10, fine_tune_from=0.0), text, "pedcc")
    assert torch.equal(from_the_start.loss.weight, start)


STOPPED = {
    "plateau": TrainingSettings(steps=24, seeds=2, schedule="plateau", epoch=4, patience=0, decay=0.5),
    "batch normalisation and dropout": TrainingSettings(
        steps=6, seeds=2, network="resnet18_ir", batch_size=8, hidden=8, epoch=2
    ),
    "adam, fine-tuned": TrainingSettings(steps=12, seeds=2, optimizer="adam", learning_rate=0.01, fine_tune_from=0.5),
}


@pytest.mark.parametrize("protocol", long_unless(STOPPED, ("plateau", "adam, fine-tuned")))
def test_a_resumed_training_equals_an_uninterrupted_one(protocol):
    fidelity = STOPPED[protocol]
    task = known_task("shapes") if fidelity.network == "resnet18_ir" else TASK
    formula, stages = CATALOG["pedcc"].bound(), (fidelity.steps // 3, 2 * fidelity.steps // 3, fidelity.steps)
    whole = OneByOne(TrainingPlan([formula], "pedcc", task, fidelity, [5, 6]))
    expected = whole.train_and_score()
    states = ()
    for stage in stages:
        part = OneByOne(TrainingPlan([formula], "pedcc", task, fidelity, [5, 6], states=states))
        outcomes = part.train_and_score(stage)
        states = part.states()
    assert outcomes == expected
    for ours, theirs in zip(states[0].weights, whole.states()[0].weights, strict=True):
        assert torch.equal(torch.from_numpy(ours), torch.from_numpy(theirs))


def test_dropout_leaves_torchs_generator_as_it_was():
    before = torch.random.get_rng_state()
    training(TrainingSettings(steps=2, network="resnet18_ir", batch_size=4, hidden=8), task=known_task("shapes")).run(2)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_training_on_image_bytes_equals_training_on_their_values():
    original = TASK.load()
    images = ((original.train.inputs + 1.0) * 127.5).round().to(torch.uint8)
    as_bytes = replace(TASK, load=lambda: Splits(replace(original.train, inputs=images), original.validation))
    numbers = replace(original.train, inputs=as_numbers(images))
    as_floats = replace(TASK, load=lambda: Splits(numbers, original.validation))
    scores = []
    for task in (as_bytes, as_floats):
        one = training(TrainingSettings(steps=20), task=task)
        one.run(20)
        scores.append([parameter.detach().clone() for parameter in one.parameters])
    assert all(torch.equal(one, other) for one, other in zip(*scores, strict=True))


def half_labelled(targets_of_the_rest):
    """Make a segmentation task whose upper halves have other targets."""
    task = known_task("shapes_segmentation")
    splits = task.load()
    targets = splits.train.targets.clone()
    targets[:, :8] = targets_of_the_rest
    train = Split(splits.train.inputs, targets)
    return replace(task, load=lambda: Splits(train, splits.validation), ignores_pixels=True)


def test_a_step_uses_only_pixels_with_a_class():
    fidelity = TrainingSettings(steps=1, network="dense", batch_size=8, hidden=8)
    labelled = training(fidelity, task=half_labelled(-1))
    (inputs,), (targets,) = labelled._schedule.batch()
    logits = labelled.model.head(labelled.model.backbone(inputs))
    kept = targets >= 0
    by_hand = torch.nn.functional.cross_entropy(logits[kept], targets[kept])
    assert kept.sum() == kept.numel() // 2
    assert labelled._compute_loss_of_batch().item() == pytest.approx(by_hand.item(), rel=1e-5)


@pytest.mark.parametrize("text", ["ce(z)", "square(p - y)", "ce(8*cosine)"])
def test_a_task_with_ignored_pixels_is_calibrated_and_trained(text):
    task, fidelity = half_labelled(-1), TrainingSettings(steps=4, seeds=1, network="dense", batch_size=8, hidden=8)
    formula = parse(text)
    kind = "learned" if formula.looks_at_embeddings else None
    (outcome,) = OneByOne(TrainingPlan([formula], kind, task, fidelity, [3])).train_and_score()
    assert outcome.reasons == [None]
    frequencies = class_frequencies(task)
    assert float(frequencies.sum()) == pytest.approx(1.0)
    assert not torch.equal(frequencies, class_frequencies(half_labelled(0)))
    assert find_batching_obstacle(task, fidelity) == "ignored pixels has no batched form"


def test_mean_iou_leaves_out_pixels_without_a_class():
    # targets 0 0 1 1 and one ignored; predictions 0 1 1 1 and one that does not count: (1/2 + 2/3)/2
    logits = torch.nn.functional.one_hot(torch.tensor([0, 1, 1, 1, 0]), 2).T.float()
    split = Split(torch.zeros(1, 1), torch.tensor([[0, 0, 1, 1, -1]]))
    assert float(mean_iou(logits, split)) == pytest.approx((1 / 2 + 2 / 3) / 2)
