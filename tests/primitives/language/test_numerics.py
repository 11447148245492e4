"""Every operator is total: a finite input gives a finite value and a finite gradient."""

import pytest
import torch

from lossearch.primitives.language import numerics
from lossearch.primitives.language.operators import OPERATORS
from lossearch.primitives.language.shapes import Shape

EDGES = [0.0, -0.0, 1.0, -1.0, 1e-30, -1e-30, 1e-7, 0.5, 1.0 - 1e-7, 1.0 + 1e-7, 3.0, -3.0, 88.0, -88.0, 1e4, -1e4]


def edge_grid(arity, dtype):
    """Return arguments [rows, 2, ...] that hold every pair of edges, classes along dimension 1."""
    edges = torch.tensor(EDGES, dtype=dtype)
    pairs = torch.cartesian_prod(edges, edges)
    return [pairs[:, [i, 1 - i]].contiguous() for i in range(arity)]


def extras(operator, like):
    given = {"y": torch.tensor([[1.0, 0.0]], dtype=like.dtype).expand_as(like)}
    given["counted"] = torch.ones_like(like[:, :1])
    return [given[name] for name in operator.reads]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", sorted(OPERATORS))
def test_operator_is_total_in_value_and_gradient(name, dtype):
    operator = OPERATORS[name]
    arguments = [argument.requires_grad_() for argument in edge_grid(operator.arity, dtype)]
    shaped = [argument[:, :1] for argument in arguments] if operator.takes is Shape.SAMPLE else arguments
    if name == "pow":  # exponents are bounded
        shaped = [shaped[0], shaped[1].clamp(-64.0, 64.0)]
    result = operator.tensor(*shaped, *extras(operator, arguments[0]))
    assert torch.isfinite(result).all()
    if result.requires_grad:
        for gradient in torch.autograd.grad(result.sum(), arguments, allow_unused=True, materialize_grads=True):
            assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("exponent", [-64.0, -2.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 64.0])
def test_power_with_a_constant_exponent_is_total(exponent):
    base = torch.tensor(EDGES, requires_grad=True)
    result = numerics.power(base, exponent)
    (gradient,) = torch.autograd.grad(result.sum(), base)
    assert torch.isfinite(result).all()
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("name", ["log", "log10", "sqrt", "exp", "arccos"])
def test_guards_leave_ordinary_numbers_alone(name):
    x = torch.linspace(0.01, 0.99, 50, dtype=torch.float64)
    assert torch.equal(getattr(numerics, name)(x), getattr(torch, name)(x))


def test_whole_and_fractional_powers_are_the_mathematical_ones():
    x = torch.linspace(0.1, 3.0, 30, dtype=torch.float64)
    for exponent in (-3.0, -0.7, 0.0, 0.3, 1.0, 2.0, 5.0):
        torch.testing.assert_close(numerics.power(x, exponent), x**exponent)
    assert numerics.power(torch.tensor(-2.0), 3.0) == -8.0


def test_log_one_minus_softmax_is_exact_where_subtraction_fails():
    # p = 1/(1 + 2e-20): log(1 - p) = log(2) - 20 log(10) + O(1e-20)
    logits = torch.tensor([[46.051701859880914, 0.0, 0.0]])
    values = numerics.log_one_minus_softmax(logits)[0, 0]
    assert values.item() == pytest.approx(0.6931471805599453 - 46.051701859880914, rel=1e-6)
    assert torch.log(1.0 - torch.softmax(logits, 1))[0, 0] == -torch.inf


def test_log_one_minus_softmax_agrees_with_its_definition():
    logits = torch.randn(20, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = torch.log(1.0 - torch.softmax(logits, 1))
    torch.testing.assert_close(numerics.log_one_minus_softmax(logits), expected, rtol=1e-10, atol=1e-12)


def test_log_at_target_ignores_the_classes_that_are_no_target():
    log_p = torch.log_softmax(torch.tensor([[-200.0, 50.0]]), 1)
    assert numerics.log_at_target(log_p, torch.tensor([[1.0, 0.0]])).item() == pytest.approx(-250.0)
