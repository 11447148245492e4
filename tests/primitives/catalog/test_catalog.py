"""Every known loss against values and gradients from an independent float64 NumPy reference."""

import json
from pathlib import Path

import pytest
import torch

from lossearch.primitives.catalog import CATALOG, known_loss
from lossearch.primitives.catalog.loss import Hyperparameter, Loss

GOLDEN = json.loads((Path(__file__).parent / "golden_losses.json").read_text())


def golden_input(name, dtype):
    return torch.tensor(GOLDEN["inputs"][name], dtype=dtype)


def case(entry):
    return f"{entry['name']}-{'-'.join(f'{k}={v:g}' for k, v in entry['hyperparameters'].items())}"


def computed(entry, dtype):
    """Return value per sample and gradient of the mean, from our module."""
    hyperparameters = dict(entry["hyperparameters"])
    progress = hyperparameters.pop("progress", 0.0)
    counts = golden_input("class_counts", dtype)
    loss = (
        CATALOG[entry["name"]]
        .module(num_classes=5, embedding_size=4, reduction="none", prior=counts / counts.sum(), **hyperparameters)
        .to(dtype)
    )
    loss.set_progress(progress)
    for name, parameter in loss.named_parameters():
        parameter.data.copy_(golden_input({"weight": "weight", "centers": "centers"}[name], dtype))
    inputs = golden_input(entry["input"], dtype).requires_grad_()
    values = loss(inputs, torch.tensor(GOLDEN["inputs"]["target"]))
    (gradient,) = torch.autograd.grad(values.mean(), inputs)
    return values.detach(), gradient


@pytest.mark.parametrize("entry", GOLDEN["losses"], ids=case)
def test_known_loss_has_the_golden_values_and_gradients(entry):
    values, gradient = computed(entry, torch.float64)
    torch.testing.assert_close(values, torch.tensor(entry["per_sample"], dtype=torch.float64), rtol=1e-9, atol=1e-12)
    # the reference's gradients are finite differences
    expected = torch.tensor(entry["gradient_of_mean"], dtype=torch.float64)
    torch.testing.assert_close(gradient, expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("entry", GOLDEN["losses"], ids=case)
def test_float32_agrees_with_float64(entry):
    for single, double in zip(computed(entry, torch.float32), computed(entry, torch.float64), strict=True):
        torch.testing.assert_close(single.double(), double, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("loss", CATALOG.values(), ids=CATALOG)
def test_every_known_loss_names_its_source_and_uses_each_hyperparameter(loss):
    assert len(loss.source) > 10
    assert {parameter.name for parameter in loss.hyperparameters} == loss.formula.hyperparameters


@pytest.mark.parametrize(
    ("name", "hyperparameters", "expected"),
    [("ngl", {}, 6.706650), ("poly1", {"eps": 2.0}, 0.956675), ("cross_entropy", {}, 0.356675)],
)
def test_values_worked_by_hand_at_seven_two_one_tenths(name, hyperparameters, expected):
    logits = torch.tensor([[0.7, 0.2, 0.1]], dtype=torch.float64).log()
    value = CATALOG[name].module(**hyperparameters)(logits, torch.tensor([0]))
    assert value.item() == pytest.approx(expected, abs=1e-6)


def test_an_unknown_loss_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match="Unknown loss 'focall'; did you mean focal"):
        known_loss("focall")


def test_an_unknown_hyperparameter_is_refused_with_the_known():
    with pytest.raises(ValueError, match="focal has no hyper-parameter 'gama'; did you mean gamma"):
        CATALOG["focal"].module(gama=2.0)
    with pytest.raises(ValueError, match="cross_entropy has no hyper-parameter 'm'; it has none"):
        CATALOG["cross_entropy"].module(m=2.0)


@pytest.mark.parametrize("value", [-1.0, 9.0, "2", True, None, float("nan")])
def test_a_hyperparameter_out_of_range_is_refused(value):
    with pytest.raises(ValueError, match="Expected gamma between 0 and 5, got"):
        CATALOG["focal"].module(gamma=value)


def test_a_hyperparameters_range_holds_its_default():
    with pytest.raises(ValueError, match="low <= default <= high"):
        Hyperparameter("m", 2.0, 0.0, 1.0)
    with pytest.raises(ValueError, match="that no operator has"):
        Hyperparameter("exp", 2.0, 0.0, 4.0)


def test_a_loss_describes_itself_as_plain_data():
    described = Loss("x", "m*ce(z)", (Hyperparameter("m", 1.0, 0.5, 2.0, log=True),), "nobody").describe()
    assert json.loads(json.dumps(described)) == {
        "name": "x",
        "formula": "m*ce(z)",
        "hyperparameters": [{"name": "m", "default": 1.0, "low": 0.5, "high": 2.0, "log": True, "whole": False}],
        "class_weights": None,
        "source": "nobody",
        "origin": "literature",
        "aliases": [],
    }
