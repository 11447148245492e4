"""Logarithms of probabilities have the value and the slope of exact arithmetic where floats underflow."""

import pytest
import torch

from lossearch.primitives.language.parser import parse
from lossearch.primitives.modules.torch_loss import LogitLoss


def exact(formula, z):
    """Compute sum over the classes of a formula over sigmoids and softmaxes, in float64 and without clamps."""
    log_sigmoid, log_softmax = torch.nn.functional.logsigmoid, torch.log_softmax(z, 1)
    return {
        "log(sigmoid(z))": log_sigmoid(z),
        "log(1 - sigmoid(z))": log_sigmoid(-z),
        "log(1 - sigmoid(-z))": log_sigmoid(z),
        "log(1 + -sigmoid(z))": log_sigmoid(-z),
        "log(1 - (1 - sigmoid(z)))": log_sigmoid(z),
        "log(1/(1 + exp(z)))": log_sigmoid(-z),
        "log(1/(exp(-z) + 1))": log_sigmoid(z),
        "log(exp(z)/(1 + exp(z)))": log_sigmoid(z),
        "log(1 - 1/(1 + exp(-z)))": log_sigmoid(-z),
        "log(sigmoid(z)*(1 - sigmoid(z)))": log_sigmoid(z) + log_sigmoid(-z),
        "log(sigmoid(z)**3)": 3.0 * log_sigmoid(z),
        "log(square(1 - sigmoid(z)))": 2.0 * log_sigmoid(-z),
        "log(sqrt(sigmoid(z))/(1 - sigmoid(z)))": log_sigmoid(z) / 2.0 - log_sigmoid(-z),
        "log(0.5*(1 - sigmoid(2*z)))": torch.tensor(0.5).double().log() + log_sigmoid(-2.0 * z),
        "log10(1 - sigmoid(z))": log_sigmoid(-z) / torch.tensor(10.0).double().log(),
        "log(p**2.5)": 2.5 * log_softmax,
        "log(p*p)": 2.0 * log_softmax,
        "log(exp(z))": z,
    }[formula].sum(1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(
    "formula",
    [
        "log(sigmoid(z))",
        "log(1 - sigmoid(z))",
        "log(1 - sigmoid(-z))",
        "log(1 + -sigmoid(z))",
        "log(1 - (1 - sigmoid(z)))",
        "log(1/(1 + exp(z)))",
        "log(1/(exp(-z) + 1))",
        "log(exp(z)/(1 + exp(z)))",
        "log(1 - 1/(1 + exp(-z)))",
        "log(sigmoid(z)*(1 - sigmoid(z)))",
        "log(sigmoid(z)**3)",
        "log(square(1 - sigmoid(z)))",
        "log(sqrt(sigmoid(z))/(1 - sigmoid(z)))",
        "log(0.5*(1 - sigmoid(2*z)))",
        "log10(1 - sigmoid(z))",
        "log(p**2.5)",
        "log(p*p)",
        "log(exp(z))",
    ],
)
def test_a_logarithm_of_probabilities_is_exact_far_from_the_origin(formula, dtype):
    z = torch.tensor([[20.0, -3.0, 0.5], [-45.0, 60.0, 1.0], [0.0, 90.0, -90.0]], dtype=dtype, requires_grad=True)
    double = z.detach().double().requires_grad_()
    value = LogitLoss(parse(f"sum_c({formula})"), reduction="none")(z, torch.tensor([0, 1, 2]))
    expected = exact(formula, double)
    torch.testing.assert_close(value.double(), expected, rtol=1e-6, atol=1e-6)
    (slope,) = torch.autograd.grad(value.sum(), z)
    torch.testing.assert_close(slope.double(), torch.autograd.grad(expected.sum(), double)[0], rtol=1e-5, atol=1e-6)
