import pytest

from evaluators.screening import rejection
from primitives.catalog import CATALOG
from primitives.parser import parse


@pytest.mark.parametrize("loss", CATALOG.values(), ids=CATALOG)
def test_known_losses_pass(loss):
    assert rejection(loss.bound()) is None


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
def test_what_cannot_train_is_rejected_with_a_reason(text, reason):
    assert rejection(parse(text)).startswith(reason)


@pytest.mark.parametrize("text", ["1000*ce(z)", "1e-9*ce(z)", "batch_mean(ce(z))", "at_target(dist2) - mean_c(dist2)"])
def test_neither_scale_nor_kind_matters(text):
    assert rejection(parse(text)) is None
