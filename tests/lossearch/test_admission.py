from hypothesis import HealthCheck, given, settings

from evaluators.work import Candidate
from lossearch.admission import Admission, Refusal
from lossearch.evolution import Birth
from primitives.parser import parse
from results.export import export_source
from results.exportable import of_row
from results.leaderboard_rows import leaderboard_rows
from tests.primitives.strategies import losses
from tests.results.helpers import evaluation


def decide(admission, text):
    return admission.decide(Birth(parse(text), "random"), generation=2)


def test_the_canonical_form_is_the_candidate():
    candidate = decide(Admission(), "p - p + ce(z)")
    assert isinstance(candidate, Candidate)
    assert (candidate.formula, candidate.complexity, candidate.generation, candidate.birth_number) == ("ce(z)", 2, 2, 1)


def test_one_that_trains_alike_is_a_duplicate_of_the_first_even_if_that_was_rejected():
    admission = Admission()
    first = decide(admission, "ce(z)")
    again = decide(admission, "3*ce(z) + 1")
    assert (again.status, again.candidate.loss_id) == ("duplicate", first.loss_id)
    bad = decide(admission, "-ce(z)")
    worse = decide(admission, "-2*ce(z)")
    assert bad.status == "rejected"
    assert (worse.status, worse.candidate.loss_id) == ("duplicate", bad.candidate.loss_id)
    assert worse.candidate.birth_number == 4


def test_what_is_flat_is_rejected():
    refusal = decide(Admission(), "sum_c(p)")
    assert (refusal.status, refusal.reason) == ("rejected", "flat or not finite: no gradient on the probe")


def test_a_formula_that_breaks_something_is_rejected_and_does_not_end_the_search(monkeypatch):
    def broken(formula, class_weights):
        raise RuntimeError("shape mismatch\nand more")

    monkeypatch.setattr("lossearch.admission.rejection", broken)
    refusal = decide(Admission(), "ce(z)")
    assert (refusal.status, refusal.reason) == ("rejected", "RuntimeError: shape mismatch")


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(losses())
def test_no_formula_breaks_anything(formula):
    decision = Admission().decide(Birth(formula, "random"), 0)
    if isinstance(decision, Refusal):
        assert "Error" not in decision.reason
    (row,) = leaderboard_rows([evaluation(str(formula), 0, 0.9, name=None)])
    compile(export_source(of_row(row, "run")), "exported", "exec")
