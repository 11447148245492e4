"""Texts of tables: two seeds have neither spread nor interval, and a verdict agrees with the interval beside it."""

import pytest

from lossearch.results.findings.comparison import ComparisonTable
from lossearch.results.findings.table_text import BY_P_MEANS, explain_by_p, interval_of, outcome_text, with_deviation
from tests.results.findings.test_comparison import measured


@pytest.mark.parametrize(
    ("verdict", "low", "high", "text"),
    [
        ("no difference shown", -0.1, 0.2, "no difference shown"),
        ("no difference shown", 0.1, 0.2, "no difference shown (by p)"),
        ("no difference shown", -0.2, -0.1, "no difference shown (by p)"),
        ("no difference shown", None, None, "no difference shown"),
        ("better", 0.1, 0.2, "better"),
    ],
)
def test_a_verdict_against_its_interval_says_what_decided(verdict, low, high, text):
    assert outcome_text(verdict, low, high) == text
    assert (explain_by_p([(verdict, low, high)]) == BY_P_MEANS) == ("by p" in text)


def test_two_seeds_have_no_spread_and_no_interval():
    assert with_deviation(0.9, 0.01, 2, " ±") == "0.9000"
    assert with_deviation(0.9, 0.01, 3, " ±") == "0.9000 ±0.0100"
    assert interval_of(0.1, None, None, 2) == "two seeds: no interval"
    assert interval_of(None, None, None, 2) == ""


def test_a_comparison_under_two_seeds_prints_means_and_words():
    table = ComparisonTable([*measured("base", [0.8, 0.82]), *measured("ours", [0.9, 0.93])], "base")
    ours, base = table.lines
    assert (ours.low, ours.high) == (None, None)
    assert ours.numbers(" ±") == ("0.9150", "+0.1050", "two seeds: no interval", "")
    assert base.numbers(" ±") == ("0.8100", "", "", "")
    assert "±" not in table.as_markdown().split("|---|")[1]


def test_a_markdown_table_explains_a_verdict_that_p_decided():
    gains = [0.03, -0.004, 0.03, -0.004, 0.02, 0.01, -0.005, 0.03, 0.02, 0.01, -0.005, 0.03]
    alike = [0.001, -0.001] * 6
    groups = [measured("base", [0.8] * 12), measured("ahead", [0.8 + gain for gain in gains])]
    groups += [measured(f"loss{number}", [0.8 + gain for gain in alike]) for number in range(9)]
    table = ComparisonTable([measurement for group in groups for measurement in group], "base")
    (line,) = [line for line in table.lines if line.loss == "ahead"]
    assert line.low > 0.0
    assert line.verdict == "no difference shown"
    assert "no difference shown (by p)" in table.as_markdown()
    assert BY_P_MEANS in table.as_markdown()
