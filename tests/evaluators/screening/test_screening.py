import pytest

from lossearch.evaluators.screening.screening import rejection, rejections
from lossearch.primitives.catalog import CATALOG
from lossearch.primitives.errors import UserError
from lossearch.primitives.language.parser import parse

#: Losses that are flat or untrainable for an untrained network: they need a warm-up under another loss.
FOR_LATER = {"truncated_generalized_cross_entropy": "flat", "ramp": "untrainable"}


@pytest.mark.parametrize("loss", [loss for loss in CATALOG.values() if loss.name not in FOR_LATER], ids=str)
def test_known_losses_pass(loss):
    assert rejection(loss.bound(), loss.class_weights) is None


@pytest.mark.parametrize("name", FOR_LATER)
def test_a_loss_that_needs_a_warm_up_is_rejected_with_its_reason(name):
    assert rejection(CATALOG[name].bound()).startswith(FOR_LATER[name])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("y", "flat: the value depends on no prediction"),
        ("sum_c(p)", "flat: the largest slope is"),
        ("detach(ce(z))", "flat: the value depends on no prediction"),
        ("-ce(z)", "untrainable: 0% of the predictions reach their targets"),
        ("sum_c(p*z)", "untrainable"),
        ("norm", "untrainable"),
        ("exp(z)*exp(z)*exp(z)*exp(z)*(z - z)", "not finite"),
    ],
)
def test_a_loss_that_cannot_train_is_rejected_with_a_reason(text, reason):
    assert rejection(parse(text)).startswith(reason)


@pytest.mark.parametrize("text", ["1000*ce(z)", "1e-9*ce(z)", "batch_mean(ce(z))", "at_target(dist2) - mean_c(dist2)"])
def test_losses_of_any_scale_and_kind_pass(text):
    assert rejection(parse(text)) is None


def test_losses_screened_together_get_the_same_answers_as_alone():
    texts = ["ce(z)", "y", "sum_c(p)", "-ce(z)", "exp(z)*exp(z)*exp(z)*exp(z)*(z - z)", "norm", "weight_norm", "ce(p)"]
    losses = [(loss.bound(), loss.class_weights) for loss in CATALOG.values()]
    losses += [(parse(text), kind) for text in texts for kind in ("learned", "pedcc")]
    formulas, kinds = zip(*losses, strict=True)
    assert rejections(formulas, kinds) == [rejection(*loss) for loss in losses]
    assert rejections([], []) == []


def test_fixed_class_weights_do_not_count_as_predictions():
    assert rejection(parse("weight_norm"), "learned").startswith("untrainable")
    assert rejection(parse("weight_norm"), "pedcc") == "flat: the value depends on no prediction"


def test_the_first_reason_is_given():
    infinite = "square(square(exp(100*max_c(y))))"
    assert rejection(parse(infinite)) == "not finite: the value is inf on equal logits"
    assert rejection(parse(f"ce(cosine) + {infinite}")) == "not finite: the value is inf on embeddings at zero"
    assert rejection(parse(f"-{infinite}*max_c(p - 0.5)*max_c(p)")).startswith("not finite: the value is ")


def test_class_weights_that_do_not_suit_are_refused():
    with pytest.raises(UserError, match="Expected a formula over cosine for sub_centers"):
        rejection(parse("ce(cosine) + ce(z)"), "sub_centers")
