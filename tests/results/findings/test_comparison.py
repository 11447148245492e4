"""Comparison tables from measurements made up by hand."""

import polars
import pytest

from lossearch.results.findings.comparison import ComparisonTable, why_no_winner
from lossearch.results.records import Measurement, digest
from lossearch.results.statistics.paired_tests import paired_test

BASE = [0.80, 0.82, 0.81, 0.79, 0.83, 0.80, 0.81, 0.82]


def measurement(loss, seed, value, measure="accuracy", task="digits", **changes):
    values = {
        "measurement_id": digest(loss, seed, measure, task),
        "task": task,
        "loss": loss,
        "formula": "ce(z)",
        "class_weights": None,
        "fidelity": "mlp64-10x64",
        "seed": seed,
        "split": "test",
        "measure": measure,
        "value": value,
        "seconds": 0.5,
    }
    return Measurement(**{**values, **changes})


def measured(loss, values, **changes):
    return [measurement(loss, seed, value, **changes) for seed, value in enumerate(values)]


def lines(*groups, **options):
    table = ComparisonTable([measurement for group in groups for measurement in group], "base", **options)
    return {line.loss: line for line in table.lines}


def test_a_loss_that_is_better_under_every_seed_is_better():
    by_loss = lines(
        measured("base", BASE), measured("ours", [value + 0.02 + 0.001 * k for k, value in enumerate(BASE)])
    )
    ours = by_loss["ours"]
    assert ours.verdict == "better"
    assert ours.difference == pytest.approx(0.0235)
    assert 0.0 < ours.low < ours.difference < ours.high
    assert ours.p_corrected == pytest.approx(2 / 2**8)
    assert by_loss["base"].verdict == "baseline"
    assert by_loss["base"].difference is None


def test_differences_are_of_pairs_under_one_seed_and_not_of_means():
    shuffled = [*BASE[4:], *BASE[:4]]
    line = lines(measured("base", BASE), measured("ours", shuffled))["ours"]
    test = paired_test([ours - theirs for ours, theirs in zip(shuffled, BASE, strict=True)])
    assert (line.low, line.high, line.p_corrected) == (test.low, test.high, test.p)
    assert line.verdict == "no difference shown"


def test_intervals_and_p_values_hold_for_all_losses_of_a_table():
    others = {f"loss{k}": [value + 0.01 * k + 0.001 * place for place, value in enumerate(BASE)] for k in range(4)}
    by_loss = lines(measured("base", BASE), *(measured(name, values) for name, values in others.items()))
    for name, values in others.items():
        line, test = by_loss[name], paired_test([ours - theirs for ours, theirs in zip(values, BASE, strict=True)], 4)
        assert (line.low, line.high, line.p_corrected, line.verdict) == (test.low, test.high, test.p, test.verdict)


def test_five_seeds_call_no_winner_and_say_why():
    table = ComparisonTable([*measured("base", BASE[:5]), *measured("ours", [0.99] * 5)], "base")
    assert {line.verdict for line in table.lines} == {"baseline", "too few seeds"}
    assert "fewer than 6 seeds among 1 loss beside" in why_no_winner(table.lines)
    assert why_no_winner(lines(measured("base", BASE), measured("ours", BASE)).values()) is None


def test_among_many_losses_more_seeds_are_needed():
    # 2/2**7 * 4 = 0.0625; 2/2**8 * 4 = 0.03125
    for seeds, verdicts in ((7, {"too few seeds"}), (8, {"better"})):
        groups = [measured(f"loss{k}", [value + 0.1 + 0.001 * k for value in BASE[:seeds]]) for k in range(4)]
        by_loss = lines(measured("base", BASE[:seeds]), *groups)
        assert {line.verdict for line in by_loss.values()} == verdicts | {"baseline"}
    table = ComparisonTable(
        [measurement for group in groups for measurement in group if measurement.seed < 7] + measured("base", BASE[:7]),
        "base",
    )
    assert "fewer than 8 seeds among 4 losses" in why_no_winner(table.lines)


def test_where_less_is_better_a_smaller_error_is_better_and_comes_first():
    name = "calibration error"
    accuracies = measured("base", BASE), measured("ours", BASE)
    errors = (
        measured("base", [0.2] * 8, measure=name),
        measured("ours", [0.1 + 0.001 * k for k in range(8)], measure=name),
    )
    table = ComparisonTable([measurement for group in (*accuracies, *errors) for measurement in group], "base", name)
    assert [(line.loss, line.verdict) for line in table.lines] == [("ours", "better"), ("base", "baseline")]


def test_a_loss_that_failed_under_one_seed_has_no_mean_and_comes_last_with_the_reason():
    failed = [*measured("ours", [0.99] * 7), measurement("ours", 7, None, reason="diverged at step 3 of 10")]
    table = ComparisonTable([*failed, *measured("base", BASE)], "base")
    last = table.lines[-1]
    assert (last.loss, last.mean, last.seeds, last.failed, last.verdict) == ("ours", None, 7, 1, "failed")
    assert "diverged at step 3 of 10" in table.as_markdown()


def test_each_task_has_its_own_lines():
    table = ComparisonTable([*measured("base", BASE), *measured("base", BASE, task="shapes")], "base")
    assert table.tasks == ["digits", "shapes"]
    assert [line.task for line in table.of_task("shapes")] == ["shapes"]
    assert table.as_markdown().count("## ") == 2


def test_hostile_names_cannot_break_the_table():
    hostile = "`|<script>\n# x"
    text = ComparisonTable([*measured("base", BASE), *measured(hostile, BASE)], "base").as_markdown()
    assert "<script>" not in text
    assert "\n# x" not in text


def test_the_lines_open_in_polars(tmp_path):
    table = ComparisonTable([*measured("base", BASE), *measured("ours", BASE)], "base")
    table.write(tmp_path / "comparison.parquet")
    frame = polars.read_parquet(tmp_path / "comparison.parquet")
    assert frame["verdict"].to_list() == [line.verdict for line in table.lines]
    assert list(table.to_pandas()["loss"]) == frame["loss"].to_list()
