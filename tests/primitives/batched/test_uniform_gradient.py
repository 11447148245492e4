"""A uniform gradient equals the joint gradient of the same formulas, in fewer calls."""

import pytest
import torch
import torch.nn.functional as F

from lossearch.primitives.batched.joint_gradient import JointGradient
from lossearch.primitives.batched.uniform_gradient import UniformGradient
from lossearch.primitives.catalog import CATALOG
from lossearch.primitives.language.parser import parse
from lossearch.primitives.language.terminals import FEATURES
from lossearch.primitives.programs.lowering import lower

CLASSES, SAMPLES = 4, 6
GENERATOR = torch.Generator().manual_seed(0)
INDEX = torch.arange(SAMPLES) % CLASSES
KNOWN = [loss.bound() for loss in CATALOG.values()]


def features(formulas):
    """Return features [formulas, classes, samples], different for each formula."""
    values = torch.rand(len(FEATURES), formulas, CLASSES, SAMPLES, generator=GENERATOR, dtype=torch.float64)
    given = dict(zip(FEATURES, values, strict=True))
    return given | {"z": 4.0 * given["z"] - 2.0, "norm": given["norm"][:, :1]}


def shared():
    return {
        "index": INDEX.reshape(1, 1, -1),
        "y": F.one_hot(INDEX, CLASSES).T.unsqueeze(0).double(),
        "prior": torch.full((1, CLASSES, 1), 0.25, dtype=torch.float64),
        "num_classes": torch.full((1, 1, 1), float(CLASSES), dtype=torch.float64),
        "progress": torch.full((1, 1, 1), 0.3, dtype=torch.float64),
    }


def uniform(formulas, given):
    gradient = UniformGradient(formulas, torch.float64)
    gradient.prepare(CLASSES, SAMPLES)
    return gradient.run(given, shared()), gradient.values()


def test_gradients_are_the_joint_gradients():
    given = features(len(KNOWN))
    joint = JointGradient(KNOWN, CLASSES, dtype=torch.float64)
    joint.prepare(SAMPLES, 1, [1.0] * len(KNOWN))
    theirs = joint.run({name: feature.unsqueeze(2) for name, feature in given.items()}, shared())
    ours, _ = uniform(KNOWN, given)
    for name, gradient in theirs.items():
        torch.testing.assert_close(ours[name], gradient.squeeze(2), rtol=1e-9, atol=1e-12)


def test_values_are_those_of_each_program():
    over_logits = [formula for formula in KNOWN if not formula.looks_at_embeddings]
    given = features(len(over_logits))
    _, values = uniform(over_logits, given)
    for z, formula, ours in zip(given["z"], over_logits, values, strict=True):
        inputs = {name: value[0].T for name, value in shared().items()} | {"z": z.T, "counted": torch.ones(SAMPLES, 1)}
        theirs = lower(formula).run(inputs)
        torch.testing.assert_close(ours, theirs.squeeze(1).expand(SAMPLES), rtol=1e-9, atol=1e-12)


def test_a_formula_that_is_not_finite_changes_no_other():
    formulas = [parse(text) for text in ("ce(z)", "exp(z)*exp(norm)", "at_target(ce(z))", "-at_target(p)*norm")]
    given = features(4)
    undisturbed, values = uniform(formulas, given)
    with_nan = {name: feature.clone() for name, feature in given.items()}
    for feature in with_nan.values():
        feature[1] = float("nan")
    with_inf, disturbed = uniform(formulas, with_nan)
    assert not torch.isfinite(disturbed[1]).any()
    for place in (0, 2, 3):
        assert torch.equal(disturbed[place], values[place])
        assert all(torch.equal(with_inf[name][place], undisturbed[name][place]) for name in with_inf)


def test_a_second_run_forgets_the_first():
    gradient = UniformGradient(KNOWN, torch.float64)
    gradient.prepare(CLASSES, SAMPLES)
    given = features(len(KNOWN))
    first = {name: values.clone() for name, values in gradient.run(given, shared()).items()}
    gradient.run({name: 1.5 * feature for name, feature in given.items()}, shared())
    gradient.prepare(CLASSES, SAMPLES)
    again = gradient.run(given, shared())
    assert all(torch.equal(first[name], again[name]) for name in first)


@pytest.mark.parametrize("text", ["y", "pi*y", "detach(ce(z))", "sign(z)"])
def test_a_formula_that_nothing_moves_has_no_gradient(text):
    gradients, values = uniform([parse(text), parse("ce(z)")], features(2))
    assert not gradients["z"][0].any()
    assert gradients["z"][1].any()
    assert torch.isfinite(values).all()


def test_formulas_that_differ_in_shapes_and_numbers_share_one_call():
    texts = ["exp(z)", "exp(at_target(z))", "exp(0.5*norm)", "exp(2*prior)"]
    gradient = UniformGradient([parse(text) for text in texts])
    rows = [call.result.stop - call.result.start for call in gradient._plan.calls if call.function.__name__ == "exp"]
    assert rows == [4]
