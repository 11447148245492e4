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
        ("ce(weight_norm*z)", r"\mathrm{CE}\left(\left\|w\right\| \cdot z\right)"),
        ("max_c(p)*norm", r"\max_{c}\left(p\right) \cdot \left\|e\right\|"),
        ("batch_mean(norm)", r"\operatorname{mean}_{\mathrm{batch}}\left(\left\|e\right\|\right)"),
        ("mean_c(z)", r"\operatorname{mean}_{c}\left(z\right)"),
        ("sum_c(p)*norm + sum_c(y)", r"\left(\sum_{c} p\right) \cdot \left\|e\right\| + \sum_{c} y"),
        ("cosine**2 - dist2**2", r"{\left(\cos\theta\right)}^{2} - {\left(d^{2}\right)}^{2}"),
        ("2.5e-7*p - 1e-5", r"2.5 \cdot 10^{-7} \cdot p - 10^{-5}"),
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
def test_every_operator_has_latex_without_identifiers(name):
    arguments = ", ".join(["at_target(z)" if name == "batch_mean" else "z"] * FUNCTIONS[name].arity)
    written = latex(parse(f"{name}({arguments})"))
    assert written
    assert r"\_" not in written
    assert "_" not in name or name not in written


def test_hyperparameters_have_subscripts():
    names = ("gamma_neg", "lam", "my_long_name", "a_1")
    written = latex(parse("p*gamma_neg + lam*my_long_name*a_1", names))
    assert written == (
        r"p \cdot \gamma_{\mathrm{neg}} + \lambda \cdot \mathrm{my}_{\mathrm{long},\mathrm{name}} \cdot a_{1}"
    )
