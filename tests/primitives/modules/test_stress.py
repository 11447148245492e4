"""Values and gradients are finite at zero, at ties, at certainty and at the limits of dtypes."""

import pytest
import torch

from lossearch.primitives.catalog import CATALOG
from lossearch.primitives.language.operators import FUNCTIONS, OPERATORS
from lossearch.primitives.language.parser import parse
from lossearch.primitives.language.shapes import Shape
from lossearch.primitives.modules.torch_loss import EmbeddingLoss, loss_module
from tests.long_cases import long_unless

SIZE = 6


def patterns(classes, dtype):
    """Return logits [batch, classes] at which losses break, by name; the targets are 0, 1, 2, ..."""
    rows = min(classes, 4)
    right = torch.zeros(rows, classes)
    right[torch.arange(rows), torch.arange(rows)] = 1.0
    limit = torch.finfo(torch.float16).max
    return {
        "zero": torch.zeros(rows, classes),
        "ties": torch.full((rows, classes), 3.0),
        "certain and right": 1e4 * right,
        "certain and wrong": 1e4 * right.roll(1, 1),
        "no class": torch.full((rows, classes), -1e4),
        "target at the bottom": -1e4 * right,
        "limit": limit * right,
        "limit, wrong": limit * right.roll(1, 1) - limit * right,
        "spread": torch.linspace(-1e4, 1e4, rows * classes).reshape(rows, classes),
        "mild": torch.linspace(-2.0, 2.0, rows * classes).reshape(rows, classes),
    }


def assert_finite(loss, classes, dtype):
    parameters = [parameter for parameter in loss.parameters() if parameter.requires_grad]
    for name, inputs in patterns(SIZE if isinstance(loss, EmbeddingLoss) else classes, dtype).items():
        inputs = inputs.to(dtype).requires_grad_()
        index = torch.arange(len(inputs)) % classes
        one_hot = torch.nn.functional.one_hot(index, classes).to(dtype)
        for target in (index, one_hot, 0.9 * one_hot + 0.1 / classes):
            value = loss(inputs, target)
            assert torch.isfinite(value), (name, value)
            points = [inputs, *parameters]
            gradients = torch.autograd.grad(value, points, allow_unused=True, materialize_grads=True)
            assert all(torch.isfinite(gradient).all() for gradient in gradients), name


def made(build, classes):
    prior = torch.arange(1.0, classes + 1.0) / sum(range(classes + 1))
    return build(num_classes=classes, embedding_size=SIZE, prior=prior)


DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


@pytest.mark.parametrize(
    ("classes", "dtype"),
    long_unless(
        [(classes, dtype) for classes in (2, 5) for dtype in DTYPES],
        short=[(2, torch.float32), (5, torch.float64), (5, torch.float16)],
    ),
)
@pytest.mark.parametrize("name", CATALOG)
def test_a_known_loss_is_finite_in_value_and_gradient(name, classes, dtype):
    loss = made(CATALOG[name].module, classes)
    assert_finite(loss.double() if dtype is torch.float64 else loss, classes, dtype)


@pytest.mark.parametrize("name", CATALOG)
def test_a_known_loss_is_finite_with_ten_thousand_classes(name):
    if CATALOG[name].class_weights == "pedcc":
        options = {"class_weights": "learned"}  # evenly distributed weights of size 6 would take a minute
        loss = made(lambda **sizes: CATALOG[name].module(**sizes, **options), 10_000)
    else:
        loss = made(CATALOG[name].module, 10_000)
    assert_finite(loss, 10_000, torch.float32)


def operator_formulas():
    """Add each operator over logits, probabilities, the target and cosines to a loss, so that a gradient flows."""
    for name, operator in OPERATORS.items():
        for argument in ("z", "p", "cosine", "y", "z - z", "at_target(z)"):
            argument = "at_target(z)" if operator.takes is Shape.SAMPLE else argument
            arguments = [argument] * operator.arity
            if name == "pow":
                arguments[1] = "0.5"
            text = f"{name}({', '.join(arguments)})" if name in FUNCTIONS else infix(name, operator.symbol, arguments)
            yield f"{name} of {argument}", f"{text} + ce(z)"


def infix(name, symbol, arguments):
    return f"{symbol}({arguments[0]})" if name == "neg" else f"({arguments[0]}){symbol}({arguments[1]})"


OPERATOR_FORMULAS = dict(operator_formulas())


@pytest.mark.parametrize("text", OPERATOR_FORMULAS.values(), ids=OPERATOR_FORMULAS)
def test_an_operator_is_finite_in_value_and_gradient(text):
    formula = parse(text)
    for classes, dtype in ((2, torch.float32), (5, torch.float64), (5, torch.float16)):
        loss = made(lambda **sizes: loss_module(formula, **sizes), classes)
        assert_finite(loss.double() if dtype is torch.float64 else loss, classes, dtype)
