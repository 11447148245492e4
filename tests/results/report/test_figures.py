"""Figures of a report: one meaning for each color, ranges that show what matters, labels in full."""

import math

import pytest

from lossearch.primitives.catalog import CATALOG
from lossearch.results.findings.curves import Drawn
from lossearch.results.ranking.rows import leaderboard_rows
from lossearch.results.report import run_figures
from lossearch.results.report.contents import Generation
from lossearch.results.report.drawing import CROSS_ENTROPY, log_axis
from lossearch.results.report.loss_facts import Family, drawn_curves
from lossearch.results.report.ranges import fitness_range, progress_range
from tests.results.helpers import evaluation


@pytest.fixture(scope="module")
def rows():
    """Thirty losses: most are bad, and the four that matter lie within two hundredths."""
    bad = [evaluation(f"ce({number}*z)", fitness=0.1 + number / 100, complexity=4) for number in range(2, 28)]
    child = evaluation("ce(9.5*z)", fitness=0.97, birth="crossover", parents=(evaluation().loss_id,), generation=1)
    focal = evaluation("ce(8.5*z)", fitness=0.955, name="focal", complexity=20)
    return list(leaderboard_rows([evaluation(fitness=0.95), child, focal, evaluation("ce(7.5*z)", fitness=0.96), *bad]))


def test_one_color_has_one_meaning(rows):
    generations = [Generation(number, 3, 0, 1, 2, 1, 0.9, 0.5) for number in (1, 2)]
    curves = drawn_curves(Drawn("found", CATALOG["cross_entropy"].bound(), 1.0))
    figures = [
        run_figures.pareto(rows, rows[:1]),
        run_figures.progress(generations, "accuracy", 0.9),
        run_figures.outcomes(generations),
        run_figures.curve(curves, "target", "slope"),
        run_figures.family(Family(rows).ancestors(rows[0]), "accuracy"),
    ]
    names = {}
    for trace in (trace for figure in figures for trace in figure.data):
        is_line = trace.type == "scatter" and "lines" in trace.mode
        color = trace.line.color if is_line else trace.marker.color
        names.setdefault(color, set()).add(trace.name)
    assert names[CROSS_ENTROPY.color] == {"cross-entropy", "cross_entropy"}
    assert not any(names[CROSS_ENTROPY.color] & other for color, other in names.items() if color != CROSS_ENTROPY.color)


def test_a_plot_shows_what_matters_and_counts_the_rest(rows):
    shown = fitness_range(rows, rows[:1])
    assert 0.85 < shown.low < 0.95 < 0.97 < shown.high
    assert len(shown.below) == 26
    assert fitness_range(rows[:3], rows[:1]).below == ()
    assert fitness_range([], []) is None
    late = progress_range([0.95, 0.97], [0.1, 0.2], 0.94)
    assert (late.low > 0.5, list(late.below)) == (True, [0.1, 0.2])


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([2, 30], ["2", "3", "5", "7", "10", "20", "30"]),
        ([1, 400], ["1", "3", "10", "30", "100", "300"]),
        ([0.01, 1e6], ["0.01", "1", "100", "10,000", "1,000,000"]),
        ([7], ["6", "7", "8"]),
    ],
)
def test_a_logarithmic_axis_has_numbers_in_full(values, labels):
    axis = log_axis(values)
    assert axis["ticktext"] == labels
    assert axis["range"][0] < math.log10(min(values)) <= math.log10(max(values)) < axis["range"][1]


def test_an_axis_without_positive_values_is_drawn():
    assert log_axis([None, 0.0]) == {"type": "log"}
