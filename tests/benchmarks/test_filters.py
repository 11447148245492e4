"""Counts of the benchmark of filters, on histories written by hand and on a search that takes seconds."""

import json
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

import benchmarks.filters
from benchmarks import parts
from benchmarks.filters import (
    Filter,
    bars,
    check_of,
    experiment,
    filters,
    good_ones,
    history_of,
    reaches,
    report,
    share,
    trained,
    trained_after_all,
)
from lossearch.evaluators.settings import TrainingSettings
from lossearch.evaluators.work import Candidate, Work, candidate_of, record

WORK = Work((), "digits", TrainingSettings(steps=80, seeds=2, rungs=(10, 40)), 0)


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
def test_a_reason_names_its_check(reason, check):
    assert check_of(reason) == check


def test_a_rung_lists_only_candidates_that_stopped_there_without_failing():
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
    by_filter = {
        filter_.name: (sorted(candidate.birth_number for candidate in filter_.refused), filter_.steps_saved)
        for filter_ in filters(history, 80)
    }
    assert by_filter == {"duplicate": ([6], 80), "flat": ([7], 80), "rung at 10": ([2], 70), "rung at 40": ([3], 40)}
    assert trained(history) == {"ce": pytest.approx(0.8), "loss-4": pytest.approx(0.65)}


def test_the_bar_is_the_worst_of_the_top_tenth_which_has_at_least_one_loss():
    many = [
        *BASELINE,
        *(evaluation for number in range(2, 31) for evaluation in evaluated(number, number / 100, number / 100)),
    ]
    assert bars(many) == {"top_tenth": pytest.approx(0.29), "cross_entropy": pytest.approx(0.8)}  # of .8, .3, .29
    assert bars(BASELINE)["top_tenth"] == pytest.approx(0.8)


def test_a_mean_reaches_a_bar_up_to_rounding_and_a_failure_reaches_none():
    assert reaches(0.1 + 0.2, 0.3)
    assert reaches(0.3, 0.1 + 0.2)
    assert not reaches(0.2999, 0.3)
    assert not reaches(None, 0.0)


def test_intervals_are_exact_binomial_intervals():
    assert share(0, 200)["interval"] == [0.0, round(1.0 - 0.025 ** (1 / 200), 4)]
    assert share(5, 5)["interval"] == [round(0.025 ** (1 / 5), 4), 1.0]
    assert share(1, 10)["interval"] == [0.0025, 0.445]  # Clopper and Pearson, as tables have it


def test_a_duplicate_is_lost_where_it_is_good_and_its_original_is_not():
    history = [*BASELINE, *evaluated(2, 0.2, 0.2), *evaluated(3, 0.9, 0.9)]
    known = Filter("duplicate", tuple(candidate(*facts) for facts in ((4, "loss-2"), (5, "loss-3"), (6, "gone"))), 80)
    result = report(known, {4: 0.95, 5: 0.90, 6: None}, history, seeds=2)
    assert result["training_steps_saved"] == 3 * 80 * 2
    assert (result["sample"], result["failed"], result["originals_trained"]) == (3, 1, 2)
    assert (result["top_tenth"]["count"], result["cross_entropy"]["count"]) == (2, 2)
    assert result["top_tenth_but_not_its_original"]["count"] == 1
    assert result["mean_absolute_difference"] == pytest.approx((0.75 + 0.0) / 2)
    assert (result["largest_difference"], result["exactly_as_good"]) == (pytest.approx(0.75), 1)


def searched(*reports, trained_to_the_end=180):
    """Make a report of filters from the number refused, the size of the sample and the number of good ones in it."""
    rows = [{"refused": refused, "sample": sample, "top_tenth": {"count": lost}} for refused, sample, lost in reports]
    return {"trained_to_the_end": trained_to_the_end, "filters": rows}


def test_the_number_lost_is_known_if_every_refused_candidate_was_trained():
    good = good_ones(searched((10, 10, 2), (4, 4, 1)), kept=9)
    assert (good["lost"], good["lost_interval"]) == (3.0, [3.0, 3.0])
    assert (good["kept"], good["kept_is"]) == (9, "exact")
    assert (good["share_lost"], good["interval"]) == (0.25, [0.25, 0.25])


def test_the_share_lost_is_that_of_the_sample():
    good = good_ones(searched((1_000, 200, 10)), kept=150)
    low, high = (1_000 * limit for limit in share(10, 200)["interval"])
    assert (good["lost"], good["share_lost"]) == (50.0, 0.25)
    assert good["lost_interval"] == pytest.approx([low, high], abs=0.1)
    assert good["interval"] == pytest.approx([low / (low + 150), high / (high + 150)], abs=1e-3)


def test_limits_of_filters_are_the_sides_of_a_right_angle():
    most = 1.0 - 0.025 ** (1 / 200)  # of none in 200, Clopper and Pearson
    good = good_ones(searched((3_000, 200, 0), (4_000, 200, 0)), kept=10)
    assert good["lost_interval"] == pytest.approx([0.0, 5_000 * most], abs=0.1)


def test_the_number_lost_is_at_least_the_number_lost_in_the_sample():
    assert good_ones(searched((1_000, 200, 1)), kept=10)["lost_interval"][0] == 1.0  # 1,000 times 0.0001 is less


def test_an_unknown_number_kept_is_at_least_the_top_tenth():
    good = good_ones(searched((1_000, 1_000, 18), trained_to_the_end=189))
    assert (good["kept"], good["kept_is"], good["share_lost"]) == (18, "at least", 0.5)
    assert good_ones(searched((10, 10, 0), trained_to_the_end=9))["kept"] == 1


def test_a_good_duplicate_is_lost_if_its_original_is_not_good():
    search = searched((10, 10, 6))
    search["filters"][0]["top_tenth_but_not_its_original"] = {"count": 2}
    assert good_ones(search, kept=2)["share_lost"] == 0.5


def test_losses_of_the_kept_searches_follow_from_their_counts():
    for search in json.loads((parts.HERE / "filters.json").read_text(encoding="utf-8"))["filters"]:
        assert good_ones(search) == search["good_ones"]


def test_a_measured_search_reports_how_many_good_losses_it_kept():
    result = benchmarks.filters.measure(experiment("digits", True, seed=2, population=12, generations=1), 3)
    assert result["good_ones"] == good_ones(result, result["good_ones"]["kept"])
    assert 1 <= result["good_ones"]["kept"] <= result["trained_to_the_end"]
    assert {filter_["filter"] for filter_ in result["filters"]} == {"rung at 15"}  # none is left to stop at the second


def test_searches_are_written_as_they_end_and_a_rerun_adds_only_missing_ones(tmp_path, monkeypatch, capsys):
    begun, broken = [], {("digits", True)}

    def measured(declared, size):
        begun.append((declared.tasks[0], bool(declared.fidelity.rungs)))
        if begun[-1] in broken:
            raise RuntimeError("no memory")
        return benchmarks.filters.case_of(declared, size) | {"found": len(begun)}

    def run(*more):
        monkeypatch.setattr(sys, "argv", ["filters", "--processes", "1", "--out", str(out), *more])
        begun.clear()
        benchmarks.filters.main()
        return json.loads(capsys.readouterr().out)["filters"]

    monkeypatch.setattr(benchmarks.filters, "ProcessPoolExecutor", ThreadPoolExecutor)
    monkeypatch.setattr(benchmarks.filters, "measure", measured)
    out = tmp_path / "new" / "filters.jsonl"
    with pytest.raises(SystemExit, match="1 of 4 searches failed"):
        run()
    assert "RuntimeError: no memory" in capsys.readouterr().err
    assert len(out.read_text().splitlines()) == 3
    broken.clear()
    printed = run()
    assert begun == [("digits", True)]
    tasks = ["digits", "digits", "digits_noisy", "digits_noisy"]
    assert [(search["task"], bool(search["rungs"])) for search in printed] == list(
        zip(tasks, [False, True] * 2, strict=True)
    )
    assert run() == printed
    assert begun == []
    run("--sample", "7")
    assert len(begun) == 4


def test_training_a_candidate_again_gives_the_fitness_of_its_search():
    declared = experiment("digits", with_rungs=True, seed=2, population=12, generations=1)
    history = history_of(declared)
    assert {evaluation.at_a_rung for evaluation in history if evaluation.steps} == {True, False}
    steps = declared.fidelity.steps
    ended = list(
        {
            evaluation.birth_number: candidate_of(evaluation) for evaluation in history if evaluation.steps == steps
        }.values()
    )
    assert ended
    known, again = trained(history), trained_after_all(ended, declared)
    assert {evaluation.birth_number: known.get(evaluation.loss_id) for evaluation in ended} == pytest.approx(again)
