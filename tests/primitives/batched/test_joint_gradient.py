"""Joint gradients equal those that autograd computes formula by formula."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from lossearch.primitives.batched.joint_gradient import JointGradient
from lossearch.primitives.catalog import CATALOG
from lossearch.primitives.identity.probe import bind_free_names
from lossearch.primitives.language.formula import FormulaError
from lossearch.primitives.language.parser import parse
from lossearch.primitives.modules.torch_loss import loss_module
from tests.primitives.strategies import losses

CLASSES, SAMPLES, SEGMENTS = 4, 5, 2
GENERATOR = torch.Generator().manual_seed(0)
PRIOR = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
LOGITS = 2.0 * torch.randn(CLASSES, SEGMENTS, SAMPLES, generator=GENERATOR, dtype=torch.float64)
INDEX = torch.randint(0, CLASSES, (SEGMENTS, SAMPLES), generator=GENERATOR)
OVER_LOGITS = [name for name, loss in CATALOG.items() if not loss.formula.looks_at_embeddings]


def shared():
    index = INDEX.reshape(1, 1, -1)
    return {
        "index": index,
        "y": F.one_hot(index[0, 0], CLASSES).T.unsqueeze(0).double(),
        "prior": PRIOR.reshape(1, -1, 1),
        "num_classes": torch.full((1, 1, 1), float(CLASSES), dtype=torch.float64),
        "progress": torch.full((1, 1, 1), 0.3, dtype=torch.float64),
    }


def joint(formulas, logits=None, factors=None):
    """Return gradients at the logits [formulas, classes, segments, samples]; zeros where no formula looks at them."""
    logits = LOGITS.expand(len(formulas), -1, -1, -1) if logits is None else logits
    gradient = JointGradient(formulas, CLASSES, dtype=torch.float64)
    gradient.prepare(SAMPLES, SEGMENTS, factors or [1.0] * len(formulas))
    return gradient.run({"z": logits}, shared()).get("z", torch.zeros(len(formulas), *LOGITS.shape))


def alone(formula, logits=LOGITS, one_hot=False):
    """Return gradients by autograd, one segment at a time, on class indices or on the same targets one-hot."""
    loss = loss_module(formula, prior=PRIOR).double()
    loss.set_progress(0.3)
    gradients = []
    for segment in range(SEGMENTS):
        z = logits[:, segment].T.clone().requires_grad_()
        value = loss(z, F.one_hot(INDEX[segment], CLASSES).double() if one_hot else INDEX[segment])
        gradient = torch.zeros_like(z)
        if value.requires_grad:
            (gradient,) = torch.autograd.grad(value, z, allow_unused=True, materialize_grads=True)
        gradients.append(gradient.T)
    return torch.stack(gradients, 1)


def require_close(ours, formula):
    """Require autograd's gradient, as closely as autograd agrees with itself one rounding step away."""
    theirs = alone(formula).to(ours.dtype)
    others = [alone(formula, one_hot=True), alone(formula, LOGITS * (1.0 + 1e-14))]
    finite = torch.stack([torch.isfinite(gradient) for gradient in (theirs, *others)]).all(0)
    noise = max((float((gradient - theirs)[finite].abs().max()) for gradient in others if finite.any()), default=0.0)
    size = float(theirs[finite].abs().max()) if finite.any() else 0.0
    torch.testing.assert_close(ours[finite], theirs[finite], rtol=1e-7, atol=max(1e-10 * size, 10.0 * noise, 1e-15))
    nowhere_finite = ~torch.stack([torch.isfinite(gradient) for gradient in (theirs, *others)]).any(0)
    assert not torch.isfinite(ours[nowhere_finite]).any()


def test_every_known_loss_over_logits_together():
    gradients = joint([CATALOG[name].bound() for name in OVER_LOGITS])
    for name, ours in zip(OVER_LOGITS, gradients, strict=True):
        require_close(ours, CATALOG[name].bound())


@pytest.mark.parametrize(
    "text",
    [
        "z",
        "at_target(z)",
        "batch_mean(ce(z))*ce(z) + batch_mean(at_target(p))**2",
        "p**2.5 + (1 - p)**1.5 + z**2 + z**3 + 2**p + p**(-2) + (p + 1)**y",
        "log(1 - p) - log(1 + exp(z)) + log(sum_c(exp(z))) - log(at_target(p)) + sqrt(p)",
        "minimum(0.5, p) + maximum(z, y) - max_c(z)*y + minimum(z, 2.5) + minimum(z, p) + maximum(p, 0.1)",
        "minimum(z, z) + maximum(p, p)",
        "log10(p) + erf(z) + arctan(z) + tanh(z) + sigmoid(z) + softplus(30*z) + relu(z) + abs(z) + sin(z)*cos(z)",
        "floor(z)*z + sign(z)*z + detach(z)*z + arccos(p) + exp(20*z)",
        "prior*z/num_classes + progress*ce(z) + log(prior)*p + y*log(y + 1)*z",
        "z/(y - 0.5) + z/(p - p) + 1/p",
        "softmax_c(at_target(z)*y) + log_softmax_c(max_c(p))",
        "ce(z + 0.3*y) + ce(0.5*z) + ce(p)",
        "z + (0 + num_classes)",
    ],
)
def test_every_kind_of_call(text):
    formula = parse(text)
    require_close(joint([formula])[0], formula)


@settings(max_examples=60)
@given(st.lists(losses(max_leaves=12), min_size=2, max_size=6))
def test_random_formulas_together(formulas):
    formulas = [bind_free_names(formula) for formula in formulas if not formula.looks_at_embeddings]
    if formulas:
        for formula, ours in zip(formulas, joint(formulas), strict=True):
            require_close(ours, formula)


def test_a_formula_that_is_not_finite_changes_no_other():
    texts = ["ce(z)", "exp(exp(exp(z)))*exp(exp(z))*exp(exp(9*z))", "square(p - y)", "-at_target(p)"]
    logits = LOGITS.expand(4, -1, -1, -1).clone()
    logits[1] = float("nan")
    disturbed, undisturbed = (joint([parse(text) for text in texts], given) for given in (logits, None))
    assert not torch.isfinite(disturbed[1]).any()
    for k in (0, 2, 3):
        assert torch.equal(disturbed[k], undisturbed[k])


def test_formulas_that_differ_in_numbers_share_calls():
    def calls(texts):
        return len(JointGradient([parse(text) for text in texts], CLASSES).calls)

    first = calls(["ce(z) + 0.5*mean_c(p*p)"])
    assert calls([f"ce(z) + {k / 10}*mean_c(p*p)" for k in range(1, 100)]) == first


def test_calls_shared_by_many_formulas_are_computed_once():
    gradient = JointGradient([parse(f"ce({k}*tanh(z) + sin(p))") for k in range(2, 12)], CLASSES)
    rows = {call.function.__name__: call.rows for call in gradient.calls}
    assert len(rows) == len(gradient.calls)
    assert set(rows.values()) == {10}


def test_values_that_no_derivative_needs_are_not_computed():
    gradient = JointGradient([parse("ce(z)")], CLASSES)
    assert [call.start is not None for call in gradient.calls] == [True, False, False]  # log-softmax; at target; minus


def test_factors_multiply_gradients():
    formulas = [parse("ce(z)"), parse("square(p - y)")]
    plain, scaled = joint(formulas), joint(formulas, factors=[3.0, 0.5])
    torch.testing.assert_close(scaled[0], 3.0 * plain[0])
    torch.testing.assert_close(scaled[1], 0.5 * plain[1])


def test_a_second_run_forgets_the_first():
    formulas = [CATALOG[name].bound() for name in OVER_LOGITS]
    gradient = JointGradient(formulas, CLASSES, dtype=torch.float64)
    gradient.prepare(SAMPLES, SEGMENTS, [1.0] * len(formulas))
    features = {"z": LOGITS.expand(len(formulas), -1, -1, -1)}
    first = gradient.run(features, shared())["z"].clone()
    gradient.run({"z": 3.0 * features["z"]}, shared())
    assert torch.equal(first, gradient.run(features, shared())["z"])


def test_formulas_without_a_gradient_have_none():
    assert JointGradient([parse("y"), parse("detach(ce(z))"), parse("sign(z)")], CLASSES).used["z"] == []
    gradients = joint([parse("y"), parse("ce(z)")])
    assert torch.equal(gradients[0], torch.zeros_like(gradients[0]))
    require_close(gradients[1], parse("ce(z)"))


def test_a_feature_that_nothing_moves_has_a_gradient_of_zeros():
    texts = ["ce(z + sign(cosine))", "ce(z)*detach(max_c(cosine))", "at_target(p)*detach(norm)"]
    logits = LOGITS.unsqueeze(0)
    for text in texts:
        gradient = JointGradient([parse(text)], CLASSES, dtype=torch.float64)
        gradient.prepare(SAMPLES, SEGMENTS, [1.0])
        gradients = gradient.run({"z": logits, "cosine": logits.cos(), "norm": logits[:, :1].exp()}, shared())
        for name, feature in {"cosine": logits, "norm": logits[:, :1]}.items():
            if name in gradients:
                assert torch.equal(gradients[name], torch.zeros_like(feature))
        assert gradients["z"].abs().max() > 0


def test_a_formula_that_is_a_feature_has_its_gradient():
    gradient = JointGradient([parse("norm"), parse("ce(z)")], CLASSES, dtype=torch.float64)
    gradient.prepare(SAMPLES, SEGMENTS, [2.0, 1.0])
    norm = torch.ones(2, 1, SEGMENTS, SAMPLES, dtype=torch.float64)
    of_norm = gradient.run({"z": LOGITS.expand(2, -1, -1, -1), "norm": norm}, shared())["norm"]
    assert torch.equal(of_norm[0], torch.full_like(norm[0], 2.0 / SAMPLES))
    assert not of_norm[1].any()


def test_a_number_beyond_the_language_is_refused_when_it_is_parsed():
    with pytest.raises(FormulaError):
        parse("1e300*z")
