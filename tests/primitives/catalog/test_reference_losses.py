"""Known losses that the golden file lacks, against references written from their papers in NumPy alone."""

import inspect
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from lossearch.primitives.catalog import CATALOG
from tests.primitives.catalog.reference_losses import REFERENCES

GOLDEN = json.loads((Path(__file__).parent / "golden_losses.json").read_text())
INPUTS = {name: np.array(values) for name, values in GOLDEN["inputs"].items()}
INPUTS["prior"] = INPUTS["class_counts"] / INPUTS["class_counts"].sum()
INPUTS["sub_centers"] = np.random.default_rng(20).normal(size=(5, 3, 4))
INPUTS["at"] = (INPUTS["embeddings"], INPUTS["weight"])

#: Beside the default hyper-parameters, of those losses that have any.
OTHER_HYPERPARAMETERS = {
    "taylor_glo": {"t0": 0.3, "t1": -0.4, "t2": 0.7, "t3": -1.5, "t4": 1.2, "t5": 2.5, "t6": -0.8, "t7": 0.6},
    "maximum_entropy": {"lam": 0.7},
    "large_margin_cross_entropy": {"lam": 1.5},
    "reverse_cross_entropy": {"log_zero": -7.0},
    "ramp": {"m": 0.5, "cap": 2.5},
    "unhinged": {"m": 3.0},
    "logit_adjustment": {"tau": 2.5},
    "logit_adjusted_hinge": {"tau": 2.5, "a": 0.3, "b": 1.5, "m": 2.0},
    "ldam": {"s": 10.0, "m": 0.9},
    "l2_constrained_softmax": {"s": 40.0},
    "mv_am_softmax": {"s": 16.0, "m": 0.1, "tau": 0.9},
    "circle": {"s": 64.0, "m": 0.4},
    "sub_center_arcface": {"s": 20.0, "m": 1.4},
    "arcface_monotone": {"s": 20.0, "m": 1.4},
}
CASES = [
    *(pytest.param(name, {}, id=f"{name}-default") for name in REFERENCES),
    *(pytest.param(name, others, id=f"{name}-other") for name, others in OTHER_HYPERPARAMETERS.items()),
]


def arguments_of(name):
    """Return the names of the inputs that a reference takes."""
    return [parameter for parameter in inspect.signature(REFERENCES[name]).parameters if parameter in INPUTS]


def differentiated(name):
    """Return the names of the inputs that the gradient is taken in."""
    return [
        argument for argument in arguments_of(name) if argument in {"logits", "embeddings", "weight", "sub_centers"}
    ]


def reference(name, hyperparameters, **replaced):
    inputs = INPUTS | replaced
    return REFERENCES[name](**{argument: inputs[argument] for argument in arguments_of(name)}, **hyperparameters)


def finite_difference(value, x, step=2e-5):
    """Differentiate `value` at `x` by the central difference of fourth order: a scale of 256 curves sharply."""
    gradient = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        moved = np.zeros_like(x)
        moved[index] = step
        near = value(x + moved) - value(x - moved)
        far = value(x + 2 * moved) - value(x - 2 * moved)
        gradient[index] = (8 * near - far) / (12 * step)
    return gradient


def computed(name, hyperparameters, dtype, inputs=None):
    """Return value per sample of our module, and gradients of their mean."""
    loss = (
        CATALOG[name]
        .module(
            num_classes=5,
            embedding_size=4,
            reduction="none",
            prior=torch.tensor(INPUTS["prior"], dtype=dtype),
            **hyperparameters,
        )
        .to(dtype)
    )
    x, *weights = inputs or differentiated(name)
    x = torch.tensor(INPUTS[x], dtype=dtype, requires_grad=True)
    parameters = list(loss.parameters())
    for parameter, weight in zip(parameters, weights, strict=True):
        assert parameter.shape == INPUTS[weight].shape
        parameter.data = torch.tensor(INPUTS[weight], dtype=dtype)
    values = loss(x, torch.tensor(INPUTS["target"]))
    return values.detach(), *torch.autograd.grad(values.mean(), [x, *parameters])


@pytest.mark.parametrize(("name", "hyperparameters"), CASES)
def test_known_loss_has_the_values_of_its_reference(name, hyperparameters):
    values, *_ = computed(name, hyperparameters, torch.float64)
    expected = torch.tensor(reference(name, hyperparameters))
    torch.testing.assert_close(values, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("name", "hyperparameters"), CASES)
def test_known_loss_has_the_gradients_of_its_reference(name, hyperparameters):
    _, *gradients = computed(name, hyperparameters, torch.float64)
    for moved, gradient in zip(differentiated(name), gradients, strict=True):

        def mean(x, moved=moved):
            return reference(name, hyperparameters, **{moved: x}).mean()

        expected = torch.tensor(finite_difference(mean, INPUTS[moved]))
        torch.testing.assert_close(gradient, expected, rtol=1e-6, atol=1e-7, msg=lambda text, of=moved: f"{of}: {text}")


@pytest.mark.parametrize(("name", "hyperparameters"), CASES)
def test_float32_agrees_with_float64(name, hyperparameters):
    single, double = (computed(name, hyperparameters, dtype) for dtype in (torch.float32, torch.float64))
    for coarse, fine in zip(single, double, strict=True):
        torch.testing.assert_close(coarse.double(), fine, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("s", "m"), [(30.0, 0.2), (12.0, 0.45)])
def test_double_additive_margin_is_am_softmax_with_twice_the_margin(s, m):
    inputs = ("embeddings", "weight")
    twice = computed("double_additive_margin", {"s": s, "m": m}, torch.float64, inputs)
    once = computed("am_softmax", {"s": s, "m": 2 * m}, torch.float64, inputs)
    torch.testing.assert_close(twice, once, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", REFERENCES)
def test_the_other_set_moves_every_hyperparameter_within_its_range(name):
    others = OTHER_HYPERPARAMETERS.get(name, {})
    assert others.keys() == {parameter.name for parameter in CATALOG[name].hyperparameters}
    for parameter in CATALOG[name].hyperparameters:
        assert parameter.low <= others[parameter.name] <= parameter.high
        assert others[parameter.name] != parameter.default


def test_every_known_loss_has_a_reference_or_golden_values():
    assert REFERENCES.keys() | {entry["name"] for entry in GOLDEN["losses"]} == CATALOG.keys()
