"""Every rule agrees with autograd: on ordinary values, at ties, at zero and beyond the edges of total functions."""

import operator

import pytest
import torch
import torch.nn.functional as F

from lossearch.primitives.catalog import CATALOG
from lossearch.primitives.language import numerics
from lossearch.primitives.language.operators import OPERATORS
from lossearch.primitives.programs.derivatives import RULES, clamped_above, clamped_below, gradients
from lossearch.primitives.programs.lowering import lower

ROWS, CLASSES, BATCH = 2, 4, 6
INDEX = torch.tensor([[[0, 1, 2, 3, 1, 0]], [[3, 3, 0, 1, 2, 2]]])
EDGES = (0.0, 1.0, -1.0, 1e-40, -1e-40, 25.0, -25.0, 400.0, 2.0, 0.5)

#: Functions of two tensors of any shapes.
BINARY = (
    operator.add,
    operator.sub,
    operator.mul,
    numerics.divide,
    torch.minimum,
    torch.maximum,
)


def tensor(seed, *shape):
    values = torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    flat = values.flatten()
    flat[: min(len(EDGES), len(flat))] = torch.tensor(EDGES[: len(flat)], dtype=torch.float64)
    return flat[torch.randperm(len(flat), generator=torch.Generator().manual_seed(seed))].reshape(shape)


def arguments_of(function):
    """Return arguments for a function, and True for those that have a gradient."""
    x = tensor(1, ROWS, CLASSES, BATCH)
    if function in BINARY:
        return [(x, tensor(2, ROWS, CLASSES, BATCH)), (x, tensor(2, ROWS, 1, BATCH)), (tensor(3, ROWS, 1, BATCH), x)]
    if function is operator.truediv:
        return [(x, tensor(2, ROWS, 1, 1) + 30.0)]
    target = torch.softmax(tensor(2, ROWS, CLASSES, BATCH), 1)
    further = {
        numerics.at_target: (target,),
        numerics.cross_entropy: (target,),
        numerics.log_at_target: (target,),
        numerics.take_target: (INDEX,),
        numerics.over_classes: (torch.zeros(ROWS, CLASSES, BATCH, dtype=torch.float64),),
        numerics.put_at_target: (INDEX, tensor(4, ROWS, 1, BATCH)),
        numerics.add_at_target: (INDEX, tensor(4, ROWS, 1, BATCH)),
        numerics.power: (2.5,),
        clamped_above: (torch.full((1, 1, 1), 0.37, dtype=torch.float64),),
        clamped_below: (torch.full((1, 1, 1), 0.37, dtype=torch.float64),),
    }
    if function is numerics.log_at_target:
        x = torch.log_softmax(x, 1)
    if function is numerics.over_classes:
        x = tensor(1, ROWS, 1, BATCH)
    return [(x, *further.get(function, ()))]


def by_autograd(function, arguments, g, wanted):
    leaves = [
        argument.clone().requires_grad_() if needed else argument
        for argument, needed in zip(arguments, wanted, strict=True)
    ]
    inputs = [leaf for leaf, needed in zip(leaves, wanted, strict=True) if needed]
    result = function(*leaves)
    if not result.requires_grad:
        return [torch.zeros_like(tensor) for tensor in inputs]
    return torch.autograd.grad(result, inputs, g, allow_unused=True, materialize_grads=True)


FUNCTIONS = {function.__name__: function for function in (*RULES, numerics.log_one_minus_softmax, numerics.power)}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_rule_agrees_with_autograd(name):
    function = FUNCTIONS[name]
    for arguments in arguments_of(function):
        wanted = [torch.is_tensor(argument) and argument.is_floating_point() for argument in arguments]
        result = function(*arguments)
        g = tensor(9, *result.shape).clamp(-3.0, 3.0)
        rules = RULES.get(function)
        if rules is not None:  # an argument without a rule has no gradient by the language
            wanted = [needed and rule is not None for needed, rule in zip(wanted, rules, strict=True)]
        by_rules = [gradient for gradient in gradients(function, g, result, arguments, wanted) if gradient is not None]
        expected = by_autograd(function, arguments, g, wanted)
        assert len(by_rules) == sum(wanted)
        for ours, theirs in zip(by_rules, expected, strict=True):
            assert ours.shape == theirs.shape
            torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


def test_a_clamp_has_the_gradient_of_torchs_at_a_tie_too():
    x = torch.tensor([[[-1.0], [0.5], [2.0]]], dtype=torch.float64)
    bound = torch.full((1, 1, 1), 0.5, dtype=torch.float64)
    for function, options in ((clamped_above, {"max": 0.5}), (clamped_below, {"min": 0.5})):
        by_rule = gradients(function, torch.ones_like(x), function(x, bound), (x, bound), (True, False))
        leaf = x.clone().requires_grad_()
        leaf.clamp(**options).sum().backward()
        torch.testing.assert_close(by_rule, [leaf.grad, None])


def test_functions_with_zero_slope_have_no_gradient():
    x = tensor(1, ROWS, CLASSES, BATCH)
    for function in (torch.sign, torch.floor, torch.detach):
        assert gradients(function, torch.ones_like(x), function(x), (x,), (True,)) == [None]


def test_all_but_a_few_functions_of_the_language_have_rules():
    called = {operator.tensor for operator in OPERATORS.values()}
    for loss in CATALOG.values():
        called |= {step.function for step in lower(loss.bound(), hard=True).steps}
    features = {
        numerics.cosine_similarity,
        numerics.squared_distance,
        numerics.squared_distance_at_target,
        numerics.embedding_norm,
        numerics.class_weight_norm,
    }
    without = called - RULES.keys() - features - {numerics.scalar}
    assert {function.__name__ for function in without} == {
        "power",
        "log_one_minus_softmax",
        "batch_mean",
        "minimum",
        "maximum",
    }
    assert F.softplus in RULES
