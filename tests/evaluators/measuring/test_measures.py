import pytest
import torch

from lossearch.evaluators.cohort.cohort import Cohort
from lossearch.evaluators.cohort.outputs import CohortOutputs
from lossearch.evaluators.data.splits import Pairs, Split
from lossearch.evaluators.measuring.measures import (
    NAMES,
    calibration_error,
    class_distances,
    compute_measures,
    confusion_matrix,
)
from lossearch.evaluators.settings import TrainingSettings
from lossearch.evaluators.tasks import TASKS
from lossearch.evaluators.tasks.metrics import ACCURACY, MEAN_IOU, VERIFICATION
from lossearch.evaluators.training.calibration import gradient_size
from lossearch.evaluators.training.one_by_one import OneByOne
from lossearch.evaluators.training.outcome import Outputs
from lossearch.evaluators.training.plan import TrainingPlan
from lossearch.primitives.language.parser import parse

# predicted: 0 0 1 1 2 0, true: 0 0 1 2 2 2
LOGITS = 5.0 * torch.eye(3)[torch.tensor([0, 0, 1, 1, 2, 0])].T
SPLIT = Split(torch.zeros(6, 1), torch.tensor([0, 0, 1, 2, 2, 2]))
EMBEDDINGS = torch.eye(3)[SPLIT.targets].T


def test_measures_of_classes_equal_those_by_hand():
    measures = compute_measures("accuracy", Outputs(LOGITS, EMBEDDINGS), SPLIT)
    assert measures["accuracy"] == pytest.approx(4 / 6)
    assert measures["balanced accuracy"] == pytest.approx((1 + 1 + 1 / 3) / 3)
    assert measures["macro recall"] == measures["balanced accuracy"]
    assert measures["macro precision"] == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
    # F1 of each class: 2*(2/3*1)/(5/3) = .8; 2*(.5*1)/1.5 = 2/3; 2*(1*1/3)/(4/3) = .5
    assert measures["macro F1"] == pytest.approx((0.8 + 2 / 3 + 0.5) / 3)
    confidence = float(torch.softmax(torch.tensor([5.0, 0.0, 0.0]), 0)[0])
    assert measures["calibration error"] == pytest.approx(confidence - 4 / 6)
    assert measures["intra-class distance"] == 0.0
    assert measures["inter-class distance"] == pytest.approx(2**0.5)
    assert measures["distance ratio"] == 0.0  # no spread to compare with


def test_the_confusion_matrix_has_true_classes_in_rows():
    assert confusion_matrix(Outputs(LOGITS, EMBEDDINGS), SPLIT) == (2, 0, 0, 0, 1, 0, 1, 1, 1)


def test_calibration_error_is_zero_where_confidence_is_accuracy():
    probabilities = torch.tensor([[0.75] * 4, [0.25] * 4])
    assert calibration_error(probabilities, torch.tensor([0, 0, 0, 1])) == pytest.approx(0.0, abs=1e-6)
    assert calibration_error(probabilities, torch.tensor([0, 0, 1, 1])) == pytest.approx(0.25)
    mixed = torch.tensor([[0.95, 0.95, 0.55, 0.55], [0.05, 0.05, 0.45, 0.45]])  # two bins: |1 - .95| and |0 - .55|
    assert calibration_error(mixed, torch.tensor([0, 0, 1, 1])) == pytest.approx((0.05 + 0.55) / 2)


def test_distances_are_those_of_unit_embeddings():
    embeddings = torch.tensor([[3.0, 0.0, 1.0, 1.0], [0.0, 2.0, 0.0, 0.0]])
    within, between = class_distances(embeddings, torch.tensor([0, 0, 1, 1]))
    # class 0: (1, 0) and (0, 1) about (.5, .5): sqrt(.5) each; class 1: (1, 0) twice
    assert within == pytest.approx(0.5**0.5 / 2)
    assert between == pytest.approx(0.5**0.5)


def test_measures_of_pixels_equal_those_by_hand():
    targets = torch.tensor([[[0, 0], [1, 1]]])
    logits = torch.tensor([[9.0, 9.0, 9.0, 0.0], [0.0, 0.0, 0.0, 9.0]])
    measures = compute_measures("mean IoU", Outputs(logits, torch.zeros(2, 4)), Split(torch.zeros(1, 1, 2, 2), targets))
    assert measures == pytest.approx(
        {"mean IoU": (2 / 3 + 1 / 2) / 2, "pixel accuracy": 0.75, "balanced accuracy": 0.75}
    )


def test_measures_of_pairs_equal_those_by_hand():
    angles = torch.tensor([0.0, 0.1, 0.5, 0.9, 1.5])  # cosines to the first decrease
    embeddings = torch.stack([angles.cos(), angles.sin()])
    pairs = Pairs(torch.zeros(4, dtype=torch.int64), torch.arange(1, 5), torch.tensor([True, False, True, False]))
    measures = compute_measures(
        "verification accuracy", Outputs(torch.zeros(1, 5), embeddings), Split(angles, angles, pairs)
    )
    # sorted by similarity, most similar first: same, different, same, different
    assert measures["area under ROC"] == pytest.approx(0.75)
    assert measures["equal error rate"] == pytest.approx(0.5)
    assert measures["true acceptance at false acceptance 0.001"] == pytest.approx(0.5)


@pytest.mark.parametrize("metric", [ACCURACY, MEAN_IOU, VERIFICATION])
def test_the_metric_is_one_of_the_measures_with_the_same_value(metric):
    task = next(task for task in TASKS.values() if task.metric is metric)
    split = task.load().validation
    generator = torch.Generator().manual_seed(0)
    outputs = Outputs(
        torch.randn(task.classes, split.targets.numel(), generator=generator),
        torch.randn(5, split.targets.numel(), generator=generator),
    )
    looked_at = outputs.logits if metric.looks_at == "logits" else outputs.embeddings
    measures = compute_measures(metric.name, outputs, split)
    assert measures[metric.name] == pytest.approx(float(metric.score(looked_at, split)))
    assert {*measures, "gradient at the embedding"} == set(NAMES[metric.name])


@pytest.mark.parametrize("trainer", [Cohort, OneByOne])
@pytest.mark.parametrize(("text", "kind"), [("ce(z)", None), ("ce(8*cosine)", "learned")])
def test_the_gradient_at_the_embedding_is_the_mean_over_samples(trainer, text, kind):
    task, fidelity = TASKS["digits"], TrainingSettings(steps=5, seeds=2)
    plan = TrainingPlan([parse(text)], kind, task, fidelity, [1, 2])
    trained = Cohort(plan) if trainer is Cohort else OneByOne(plan, keep_networks=True)
    (outcome,) = trained.train_and_score()
    sample = task.load().train.part(torch.arange(6))
    shown = CohortOutputs(trained) if trainer is Cohort else trained
    embeddings = shown.outputs(0, 1, sample).embeddings
    attached = shown.attached_loss(0, 1)
    sizes = []
    for place in range(6):
        at = embeddings.T[place : place + 1].clone().requires_grad_()
        weight = attached.loss.weight if kind else attached.head.weight
        logits = 8.0 * torch.nn.functional.linear(*(torch.nn.functional.normalize(vectors) for vectors in (at, weight)))
        logits = logits if kind else torch.nn.functional.linear(at, weight, attached.head.bias)
        value = outcome.calibration * torch.nn.functional.cross_entropy(logits, sample.targets[place : place + 1])
        sizes.append(float(torch.autograd.grad(value, at)[0].norm()))
    assert gradient_size(attached, embeddings, sample.targets) == pytest.approx(sum(sizes) / 6, rel=1e-4)
