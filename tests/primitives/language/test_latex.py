import pytest

from lossearch.primitives.catalog import CATALOG
from lossearch.primitives.language.formula import latex
from lossearch.primitives.language.operators import FUNCTIONS
from lossearch.primitives.language.parser import parse


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("exp(0.707 - p)", r"\exp\left(0.707 - p\right)"),
        ("p/(y*z)", r"\frac{p}{y \cdot z}"),
        ("-(1 - p)**2", r"-{\left(1 - p\right)}^{2}"),
        ("p - (-2)", r"p - \left(-2\right)"),
        ("p - (y - z)", r"p - \left(y - z\right)"),
        ("sqrt(z)**2", r"{\sqrt{z}}^{2}"),
        ("ce(weight_norm*z)", r"\mathrm{CE}\left(\mathrm{weight\_norm} \cdot z\right)"),
        ("at_target(log(p))", r"\left[\ln\left(p\right)\right]_{y}"),
        ("-sum_c(p + y)", r"-\left(\sum_{c} \left(p + y\right)\right)"),
    ],
)
def test_latex_has_the_meaning_of_the_text(text, expected):
    assert latex(parse(text)) == expected


@pytest.mark.parametrize("loss", CATALOG.values(), ids=CATALOG)
def test_known_losses_have_balanced_latex(loss):
    written = latex(loss.formula)
    assert written.count("{") == written.count("}")
    assert written.count(r"\left") == written.count(r"\right")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_operator_has_latex(name):
    arguments = ", ".join(["at_target(z)" if name == "batch_mean" else "z"] * FUNCTIONS[name].arity)
    assert latex(parse(f"{name}({arguments})"))
