"""What the benchmark of filters counts, on histories that are written by hand, and of a search that takes seconds."""

import pytest

from benchmarks.filters import (
    Filter,
    bars,
    check_of,
    experiment,
    filters,
    history_of,
    reaches,
    report,
    share,
    trained,
    trained_after_all,
)
from evaluators.fidelity import Fidelity
from evaluators.work import Candidate, Work, candidate_of, record

WORK = Work((), "digits", Fidelity(steps=80, seeds=2, rungs=(10, 40)), 0)


def candidate(number, loss=None, name=None):
    return Candidate(loss or f"loss-{number}", "p", 1, 0, "random", number, name=name)


def evaluated(number, *fitness, stage=None, **more):
    work = Work((), WORK.task, WORK.fidelity, 0, stage)
    return [
        record(candidate(number, **more), work, seed=seed, status="evaluated", fitness=value)
        for seed, value in enumerate(fitness)
    ]


def failed(number, stage):
    work = Work((), WORK.task, WORK.fidelity, 0, stage)
    return [record(candidate(number), work, seed=0, status="failed", reason="diverged")]


def refused(number, status, reason, loss=None):
    return [record(candidate(number, loss=loss), WORK, status=status, reason=reason)]


BASELINE = evaluated(1, 0.7, 0.9, loss="ce", name="cross_entropy")


@pytest.mark.parametrize(
    ("reason", "check"),
    [
        ("flat or not finite: no gradient on the probe", "flat or not finite"),
        ("not finite: the value is -inf on embeddings of length 1,000", "not finite on embeddings of length 1,000"),
        ("not finite: the gradient is not finite on equal logits", "not finite on equal logits"),
        ("flat: the largest slope is 1e-09", "flat"),
        ("flat: the value depends on no prediction", "flat"),
        ("untrainable: 50% of the predictions reach their targets in 32 steps, 90% must", "untrainable"),
        ("RuntimeError: out of range: 3", "RuntimeError"),
    ],
)
def test_a_reason_tells_its_check(reason, check):
    assert check_of(reason) == check


def test_a_rung_has_those_that_ended_there_and_neither_those_that_went_on_nor_those_that_failed():
    history = [
        *BASELINE,
        *evaluated(2, 0.3, 0.4, stage=10),
        *evaluated(3, 0.5, 0.6, stage=10),
        *evaluated(3, 0.6, 0.7, stage=40),
        *evaluated(4, 0.6, 0.7, stage=10),
        *evaluated(4, 0.6, 0.7, stage=40),
        *evaluated(4, 0.6, 0.7),
        *evaluated(5, 0.6, 0.7, stage=10),
        *failed(5, 40),
        *refused(6, "duplicate", "trains like ce", "ce"),
        *refused(7, "rejected", "flat: the largest slope is 0"),
    ]
    found = {
        each.name: (sorted(one.birth_number for one in each.refused), each.steps_saved) for each in filters(history, 80)
    }
    assert found == {"duplicate": ([6], 80), "flat": ([7], 80), "rung at 10": ([2], 70), "rung at 40": ([3], 40)}
    assert trained(history) == {"ce": pytest.approx(0.8), "loss-4": pytest.approx(0.65)}


def test_the_top_tenth_ends_with_its_worst_and_is_one_loss_at_least():
    many = [*BASELINE, *(each for number in range(2, 31) for each in evaluated(number, number / 100, number / 100))]
    assert bars(many) == {"top_tenth": pytest.approx(0.29), "cross_entropy": pytest.approx(0.8)}  # of .8, .3, .29
    assert bars(BASELINE)["top_tenth"] == pytest.approx(0.8)


def test_a_mean_reaches_a_bar_up_to_rounding_and_a_failure_reaches_none():
    assert reaches(0.1 + 0.2, 0.3)
    assert reaches(0.3, 0.1 + 0.2)
    assert not reaches(0.2999, 0.3)
    assert not reaches(None, 0.0)


def test_intervals_are_exact_ones():
    assert share(0, 200)["interval"] == [0.0, round(1.0 - 0.025 ** (1 / 200), 4)]
    assert share(5, 5)["interval"] == [round(0.025 ** (1 / 5), 4), 1.0]
    assert share(1, 10)["interval"] == [0.0025, 0.445]  # Clopper and Pearson, as tables have it


def test_a_duplicate_is_lost_where_it_is_good_and_its_original_is_not():
    history = [*BASELINE, *evaluated(2, 0.2, 0.2), *evaluated(3, 0.9, 0.9)]
    known = Filter("duplicate", tuple(candidate(*each) for each in ((4, "loss-2"), (5, "loss-3"), (6, "gone"))), 80)
    found = report(known, {4: 0.95, 5: 0.90, 6: None}, history, seeds=2)
    assert found["training_steps_saved"] == 3 * 80 * 2
    assert (found["sample"], found["failed"], found["originals_trained"]) == (3, 1, 2)
    assert (found["top_tenth"]["count"], found["cross_entropy"]["count"]) == (2, 2)
    assert found["top_tenth_but_not_its_original"]["count"] == 1
    assert found["mean_absolute_difference"] == pytest.approx((0.75 + 0.0) / 2)
    assert (found["largest_difference"], found["exactly_as_good"]) == (pytest.approx(0.75), 1)


def test_what_a_search_trained_is_worth_the_same_when_it_is_trained_after_all():
    declared = experiment("digits", with_rungs=True, seed=2, population=12, generations=1)
    history = history_of(declared)
    assert {each.at_a_rung for each in history if each.steps} == {True, False}
    ended = list({each.birth_number: candidate_of(each) for each in history if each.steps == 120}.values())
    known, again = trained(history), trained_after_all(ended, declared)
    assert {each.birth_number: known.get(each.loss_id) for each in ended} == pytest.approx(again)
