"""Texts of tables: two seeds have neither spread nor interval, and a verdict agrees with the interval beside it."""

from lossearch.results.findings.comparison import ComparisonTable
from lossearch.results.findings.table_text import interval_of, with_deviation
from tests.results.findings.test_comparison import measured


def test_two_seeds_have_no_spread_and_no_interval():
    assert with_deviation(0.9, 0.01, 2, " ±") == "0.9000"
    assert with_deviation(0.9, 0.01, 3, " ±") == "0.9000 ±0.0100"
    assert interval_of(0.1, None, None, 2) == "two seeds: no interval"
    assert interval_of(0.1, None, None, 7) == "7 seeds: no interval"
    assert interval_of(None, None, None, 2) == ""


def test_a_comparison_under_two_seeds_prints_means_and_words():
    table = ComparisonTable([*measured("base", [0.8, 0.82]), *measured("ours", [0.9, 0.93])], "base")
    ours, base = table.lines
    assert (ours.low, ours.high) == (None, None)
    assert ours.numbers(" ±") == ("0.9150", "+0.1050", "two seeds: no interval", "")
    assert base.numbers(" ±") == ("0.8100", "", "", "")
    assert "±" not in table.as_markdown().split("|---|")[1]


def test_many_losses_widen_the_interval_that_decides_and_the_table_says_so():
    gains = [0.03, -0.004, 0.03, -0.004, 0.02, 0.01, -0.005, 0.03, 0.02, 0.01, -0.005, 0.03]
    alike = [0.001, -0.001] * 6
    two = [*measured("base", [0.8] * 12), *measured("ahead", [0.8 + gain for gain in gains])]
    (alone,) = [line for line in ComparisonTable(two, "base").lines if line.loss == "ahead"]
    others = [measured(f"loss{number}", [0.8 + gain for gain in alike]) for number in range(9)]
    table = ComparisonTable([*two, *(measurement for group in others for measurement in group)], "base")
    (line,) = [line for line in table.lines if line.loss == "ahead"]
    assert (alone.verdict, alone.low > 0.0) == ("better", True)
    assert (line.verdict, line.low < 0.0 < line.high) == ("no difference shown", True)
    assert "Intervals and p-values hold for all 10 losses of a table together." in table.as_markdown()
