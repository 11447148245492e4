import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lossearch.engine.admission import Admission, Refusal
from lossearch.evaluators.screening.screening import rejections
from lossearch.evaluators.work import Candidate
from lossearch.evolution.population import Birth
from lossearch.primitives.catalog import CATALOG
from lossearch.primitives.language.parser import parse
from lossearch.primitives.modules.class_weights import KINDS, suits
from lossearch.results.export.exportable import of_row
from lossearch.results.export.python_file import export_source
from lossearch.results.ranking.rows import leaderboard_rows
from tests.primitives.strategies import losses
from tests.results.helpers import evaluation


def decide(admission, text):
    return admission.decide(Birth(parse(text), "random"), generation=2)


def test_the_canonical_form_is_the_candidate():
    candidate = decide(Admission(), "p - p + ce(z)")
    assert isinstance(candidate, Candidate)
    assert (candidate.formula, candidate.complexity, candidate.generation, candidate.birth_number) == ("ce(z)", 2, 2, 1)


def test_a_candidate_that_trains_like_a_rejected_one_is_its_duplicate():
    admission = Admission()
    first = decide(admission, "ce(z)")
    again = decide(admission, "3*ce(z) + 1")
    assert (again.status, again.candidate.loss_id) == ("duplicate", first.loss_id)
    bad = decide(admission, "-ce(z)")
    worse = decide(admission, "-2*ce(z)")
    assert bad.status == "rejected"
    assert (worse.status, worse.candidate.loss_id) == ("duplicate", bad.candidate.loss_id)
    assert worse.candidate.birth_number == 4


def test_a_flat_formula_is_rejected():
    refusal = decide(Admission(), "sum_c(p)")
    assert (refusal.status, refusal.reason) == ("rejected", "flat or not finite: no gradient on the probe")


def test_a_formula_that_raises_an_error_is_rejected_and_the_search_continues(monkeypatch):
    def broken(formula, class_weights):
        raise RuntimeError("shape mismatch\nand more")

    monkeypatch.setattr("lossearch.engine.admission.rejections", broken)
    refusal = decide(Admission(), "ce(z)")
    assert (refusal.status, refusal.reason) == ("rejected", "RuntimeError: shape mismatch")


def test_only_the_formula_that_raises_an_error_is_rejected_and_its_twin_is_screened_separately(monkeypatch):
    bad = parse("ce(2*z)")

    def broken(formulas, class_weights):
        if bad in formulas:
            raise RuntimeError("shape mismatch")
        return rejections(formulas, class_weights)

    monkeypatch.setattr("lossearch.engine.admission.rejections", broken)
    texts = ["ce(z)", "ce(2*z)", "ce(3*z)", "2*ce(2*z)", "sum_c(p)"]
    decisions = Admission().screen([Birth(parse(text), "random") for text in texts], 0)
    assert [getattr(decision, "reason", None) for decision in decisions] == [
        None,
        "RuntimeError: shape mismatch",
        None,
        None,
        "flat or not finite: no gradient on the probe",
    ]


def test_a_twin_in_one_batch_is_a_duplicate_of_the_first():
    texts = ["ce(z)", "-ce(z)", "2*ce(z)", "ce(z) + 1", "-3*ce(z)"]
    first, bad, *twins = Admission().screen([Birth(parse(text), "random") for text in texts], 0)
    assert [twin.status for twin in twins] == ["duplicate"] * 3
    assert [twin.candidate.loss_id for twin in twins] == [first.loss_id, first.loss_id, bad.candidate.loss_id]
    assert [twin.candidate.birth_number for twin in twins] == [3, 4, 5]


known = st.sampled_from(sorted(CATALOG)).map(lambda name: CATALOG[name].bound())


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(st.lists(st.tuples(st.one_of(losses(), known), st.sampled_from(KINDS)), min_size=1, max_size=12))
def test_screening_a_batch_equals_screening_one_by_one(chosen):
    births = [
        Birth(formula, "random", class_weights=kind if formula.looks_at_embeddings else None)
        for formula, kind in chosen
        if not formula.looks_at_embeddings or suits(kind, formula)
    ]
    together, by_turns = Admission(), Admission()
    half = len(births) // 2
    decisions = [*together.screen(births[:half], 0), *together.screen(births[half:], 0)]
    assert decisions == [by_turns.decide(birth, 0) for birth in births]
    assert [loss_id for _, loss_id in together.archive.entries] == [loss_id for _, loss_id in by_turns.archive.entries]


@pytest.mark.parametrize("wanted", [1, 2, 9])
def test_screening_stops_after_the_last_wanted_candidate(wanted):
    births = [Birth(parse(text), "random") for text in ("ce(z)", "2*ce(z)", "square(p - y)", "ce(2*z)", "mean_c(y)")]
    whole, part = Admission(), Admission()
    decisions = part.screen(births, 0, wanted)
    assert decisions == whole.screen(births, 0)[: {1: 1, 2: 3, 9: 5}[wanted]]
    assert sum(isinstance(decision, Candidate) for decision in decisions) == min(wanted, 3)
    assert part.births == len(decisions)
    rest = part.screen(births[len(decisions) :], 0)
    assert [*decisions, *rest] == Admission().screen(births, 0)


def test_screening_all_known_losses_equals_screening_one_by_one():
    births = [Birth(loss.bound(), "known", class_weights=loss.class_weights) for loss in CATALOG.values()]
    by_turns = Admission()
    assert Admission().screen(births, 0) == [by_turns.decide(birth, 0) for birth in births]


@settings(max_examples=80, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(losses())
def test_screening_any_formula_raises_no_error(formula):
    decision = Admission().decide(Birth(formula, "random"), 0)
    if isinstance(decision, Refusal):
        assert "Error" not in decision.reason
    (row,) = leaderboard_rows([evaluation(str(formula), 0, 0.9, name=None)])
    compile(export_source(of_row(row, "run")), "exported", "exec")
