"""The model card says what a run's evaluations say, with intervals, and what was measured to fail."""

import pytest

from primitives.catalog import CATALOG
from primitives.parser import parse
from primitives.torch_loss import loss_module
from results.behaviour import failures, least_at
from results.exportable import of_known, of_row
from results.leaderboard import leaderboard_rows
from results.model_card import Evidence, model_card
from results.statistics import interval
from tests.results.helpers import evaluation, refused

OWN = "ce(z) + 0.5*mean_c(p)"
EVALUATIONS = [
    *(evaluation("ce(z)", seed, fitness) for seed, fitness in enumerate((0.90, 0.92, 0.91))),
    *(evaluation(OWN, seed, fitness, birth="point", generation=2) for seed, fitness in enumerate((0.93, 0.94, 0.95))),
    refused("p - p"),
]
TRIAL = {"fitness": 0.93, "cross_entropy": 0.92, "difference": 0.01, "difference_std": 0.06, "seeds": 6}


def evidence(trial=None, evaluations=EVALUATIONS):
    rows = leaderboard_rows(evaluations)
    (row,) = [row for row in rows if row.formula == OWN]
    return Evidence(row, rows, evaluations, trial)


def card(trial=None, evaluations=EVALUATIONS):
    found = evidence(trial, evaluations)
    return model_card(of_row(found.row, "run-7"), found)


def test_students_interval_is_the_textbooks():
    # t(0.975, 2) = 4.302653; mean .03, standard deviation .01, three values
    low, high = interval([0.02, 0.03, 0.04])
    assert (low, high) == (
        pytest.approx(0.03 - 4.302653 * 0.01 / 3**0.5),
        pytest.approx(0.03 + 4.302653 * 0.01 / 3**0.5),
    )
    assert interval([0.5]) is None


def test_results_stand_beside_the_baselines_with_intervals():
    text = card()
    assert "0.9400 ± 0.0100 over 3 seeds, rank 1 of 2 losses" in text
    # differences .03, .02, .04: mean .03, interval .03 -+ 4.302653 * .01/sqrt(3)
    assert "+0.0300 (95 % interval +0.0052 to +0.0548)" in text
    assert "| `cross_entropy` | 0.9100 ± 0.0100 |" in text
    assert "The loss was chosen from 2 by this very score" in text
    assert "run-7" in text


def test_a_trial_is_told_with_its_standard_error():
    assert "difference +0.0100 with a standard error of 0.0245. No difference is shown." in card(TRIAL)
    assert "It was not trained again under fresh seeds." in card()


def test_failed_trainings_are_told():
    failed = evaluation(OWN, 3, None, status="failed", reason="diverged at step 3 of 10: the loss is not finite")
    text = card(evaluations=[*EVALUATIONS, failed])
    assert "a training failed: `diverged at step 3 of 10" in text
    assert "No fitness: failed, `diverged at step 3" in text


def test_a_card_without_a_run_says_that_there_are_no_results():
    text = model_card(of_known(CATALOG["arcface"], CATALOG["arcface"].values()))
    assert "None here" in text
    assert "Deng et al." in text
    assert "| `m` | 0.5 |" in text


def test_text_of_a_run_is_inert():
    hostile = [evaluation(OWN, 0, 0.9, fidelity="<script>alert(1)</script>`|", birth="# [x](javascript:1)")]
    found = Evidence(leaderboard_rows(hostile)[0], leaderboard_rows(hostile), hostile)
    text = model_card(of_row(found.row, "<b>run</b>"), found)
    assert "<script>" not in text
    assert "](" not in text


@pytest.mark.parametrize("field", ["fidelity", "birth", "task"])
def test_markup_of_a_run_stands_as_code(field):
    hostile = "- *bold* https://evil.example @octocat # title"
    changed = [evaluation(OWN, 0, 0.9, **{field: hostile})]
    found = Evidence(leaderboard_rows(changed)[0], leaderboard_rows(changed), changed)
    for line in model_card(of_row(found.row, hostile), found).splitlines():
        outside_code = "".join(line.split("`")[::2])
        assert "evil" not in outside_code
        assert "octocat" not in outside_code


def test_what_breaks_is_found():
    assert failures(loss_module(parse("ce(z)"))) == []
    (first, *_) = failures(loss_module(parse("exp(z)*exp(z)*exp(z) + ce(z)")))
    assert first.startswith("the value is")


def test_a_loss_that_does_not_ask_for_certainty_is_known():
    assert least_at(loss_module(parse("ce(z)"))) == pytest.approx(0.999)
    # sum over classes of -log p + y/p, the rest even: least at p_t = 1/sqrt(C)
    assert least_at(CATALOG["baikal"].module()) == pytest.approx(10**-0.5, abs=2e-3)
    assert "it is least where the target has probability 0.32" in model_card(of_known(CATALOG["baikal"], {}))
