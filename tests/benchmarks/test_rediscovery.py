"""Counts of the benchmark of re-discovery, on histories written by hand."""

import json
import math
from pathlib import Path

import pytest

from benchmarks.rediscovery import BUDGET, CASES, experiment, identical, quartiles, reached, summary
from lossearch.engine.admission import Admission, Refusal
from lossearch.engine.breeding import birth_of_named
from lossearch.evaluators.work import Candidate, Work, record
from lossearch.evolution.population import Birth
from lossearch.primitives.language.parser import parse
from lossearch.runs.experiment import load_experiment

KEPT = Path(__file__).parents[2] / "benchmarks" / "rediscovery.json"
FIDELITY = load_experiment("rediscovery").fidelity
WORK = Work((), "digits", FIDELITY, 0)


def candidate(number, formula="p", loss="other", name=None):
    return Candidate(f"{loss}-{number}" if loss == "other" else loss, formula, 1, 0, "random", number, name=name)


def trained(number, *accuracies, **more):
    return [
        record(candidate(number, **more), WORK, seed=seed, status="evaluated", fitness=accuracy)
        for seed, accuracy in enumerate(accuracies)
    ]


def failed(number):
    return [record(candidate(number), WORK, seed=0, status="failed", reason="diverged")]


def refused(number, status, loss="other"):
    return [record(candidate(number, loss=loss), WORK, status=status, reason="seen")]


BASELINE = trained(1, 0.90, 0.94, loss="ce", name="cross_entropy")


def test_the_first_candidate_as_good_as_cross_entropy_counts_all_earlier_births():
    history = [
        *BASELINE,
        *refused(2, "rejected"),
        *trained(3, 0.99, 0.80),  # its mean is below 0.92
        *failed(4),
        *trained(6, 0.95, 0.95),
        *trained(5, 0.92, 0.92),  # arrives after 6, and was born before
        *refused(7, "duplicate", loss="ce"),
    ]
    first, same = reached(history), identical(history)
    assert (first.births, first.trained, first.accuracy) == (4, 3, pytest.approx(0.92))
    assert (same.births, same.trained, same.accuracy) == (6, 4, None)


def test_cross_entropy_itself_reaches_cross_entropy():
    history = [*BASELINE, *trained(2, 0.5, 0.5), *refused(3, "duplicate", loss="ce"), *trained(4, 1.0, 1.0)]
    assert reached(history) == identical(history)
    assert reached(history).trained == 1


def test_a_duplicate_of_another_loss_and_a_candidate_below_the_line_reach_nothing():
    history = [*BASELINE, *trained(2, 0.90, 0.9399), *refused(3, "duplicate", loss="other-2")]
    assert reached(history) is None
    assert identical(history) is None


@pytest.mark.parametrize(
    "text", ["-at_target(log(p))", "3*log(1/at_target(p)) + 2", "log(sum_c(exp(z))) - at_target(z)"]
)
def test_cross_entropy_in_another_form_is_a_duplicate_of_the_baseline(text):
    admission = Admission()
    baseline = admission.decide(birth_of_named("cross_entropy", "baseline"), 0)
    again = admission.decide(Birth(parse(text), "random"), 0)
    assert isinstance(again, Refusal)
    assert (again.status, again.candidate.loss_id) == ("duplicate", baseline.loss_id)


def test_quartiles_lie_between_values_and_unreached_searches_come_last():
    assert quartiles([4, 1, 2, 3]) == [1.75, 2.5, 3.25]
    assert quartiles([5, None, 1, 3, None]) == [3, 5, None]
    assert quartiles([None, 1]) == [None, None, None]
    assert not any(isinstance(value, float) and math.isnan(value) for value in quartiles([None, None, 1, 1]))


@pytest.mark.parametrize("case", CASES)
def test_no_case_has_the_operator_or_a_known_loss(case):
    evolution = experiment(case, 3, 500).evolution
    assert "ce" not in evolution.operators
    assert evolution.seeds == ()
    assert evolution.population * evolution.generations == 500


@pytest.mark.parametrize("case", CASES)
def test_the_kept_figures_are_those_of_ten_searches(case):
    kept = json.loads(KEPT.read_text(encoding="utf-8"))["rediscovery"]["cases"][case]
    assert [search["seed"] for search in kept["each"]] == list(range(10))
    assert {search["budget"] for search in kept["each"]} == {BUDGET[case]}
    assert {name: value for name, value in kept.items() if name != "each"} == summary(kept["each"])
