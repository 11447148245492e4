import pytest

from lossearch.primitives.catalog import CATALOG
from lossearch.primitives.identity.fingerprint import FingerprintArchive, fingerprint, fingerprints
from lossearch.primitives.language.formula import FormulaError
from lossearch.primitives.language.parser import parse


def same(first, second):
    archive = FingerprintArchive()
    archive.add(fingerprint(parse(first)), "first")
    return archive.find(fingerprint(parse(second))) == "first"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ce(z)", "10*ce(z)"),
        ("ce(z)", "-at_target(log(p))"),
        ("ce(z)", "ce(z) + 3"),
        ("ce(z)", "1e-9*ce(z)"),
        ("ce(cosine) + at_target(dist2 - dist2)", "ce(cosine)"),
        ("ce(z)", "lse_c(z) - at_target(z)"),
        ("ce(30*(cosine - 0.35*y))", "0.1*ce(30*cosine - 10.5*y)"),
    ],
)
def test_formulas_that_train_alike_have_one_fingerprint(one, other):
    assert same(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ce(z)", "-ce(z)"),
        ("ce(z)", "ce(1.001*z)"),
        ("ce(z)", "ce(z) + 0.001*at_target(p)"),
        ("ce(z)", "ce(cosine)"),
        ("ce(z)", "progress*ce(z)"),
        ("progress*ce(z)", "(1 - progress)**2*ce(z)"),
        ("ce(z)*detach(at_target(p))", "ce(z)*at_target(p)"),
        # terms that act on right predictions alone
        ("ce(z)", "ce(z) + 2*maximum(at_target(p) - 0.25, 0)"),
        ("ce(z)", "ce(z) + 2*maximum(at_target(p) - 0.95, 0)"),
        ("ce(z)", "ce(z)*minimum(1, exp(1 - 4*at_target(p)))"),
        ("square(at_target(p) - 1)", "square(minimum(at_target(p), 0.3) - 1)"),
        ("ce(cosine)", "ce(cosine) + maximum(at_target(cosine) - 0.97, 0)"),
        ("ce(cosine*norm)", "ce(cosine*norm) + 0.1*maximum(at_target(p) - 0.99, 0)"),
    ],
)
def test_formulas_that_train_differently_have_different_fingerprints(one, other):
    assert not same(one, other)


@pytest.mark.parametrize("text", ["3*y", "sum_c(p)", "batch_mean(norm) - batch_mean(norm)"])
def test_a_flat_formula_has_no_fingerprint(text):
    assert fingerprint(parse(text)) is None


def test_an_archive_is_the_same_after_being_rebuilt_from_its_entries():
    archive = FingerprintArchive()
    for number, text in enumerate(["ce(z)", "abs(p - y)", "ce(cosine)"]):
        archive.add(fingerprint(parse(text)), str(number))
    again = FingerprintArchive(list(archive.entries))
    assert again.find(fingerprint(parse("2*abs(p - y)"))) == "1"
    assert again.find(fingerprint(parse("square(p - y)"))) is None


def test_fingerprints_of_many_are_those_of_each_alone():
    losses = [(loss.bound(), loss.class_weights) for loss in CATALOG.values()]
    losses += [(parse(text), None) for text in ("3*y", "sum_c(p)", "progress*ce(z)", "norm", "exp(exp(exp(9*z)))")]
    for fingerprint_of_one, (formula, kind) in zip(fingerprints(*zip(*losses, strict=True)), losses, strict=True):
        alone = fingerprint(formula, kind)
        assert (fingerprint_of_one is None) == (alone is None)
        if fingerprint_of_one is not None:
            assert fingerprint_of_one[0] == alone[0]
            assert fingerprint_of_one[1:] == pytest.approx(alone[1:], abs=1e-12)


def test_a_formula_with_a_free_name_has_no_fingerprint():
    with pytest.raises(FormulaError, match="without free names, got one with gamma"):
        fingerprint(parse("gamma*ce(z)", {"gamma"}))
