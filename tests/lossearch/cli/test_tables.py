import io
import re

import pytest
from rich.console import Console

from lossearch.cli.progress_bars import SearchBar
from lossearch.cli.tables import LONGEST_FORMULA, MAX_LINES, leaderboard_table, shortened, wrap_formula
from lossearch.evaluators.work import Candidate
from lossearch.results.ranking.rows import leaderboard_rows
from lossearch.runs.progress import Progress
from tests.results.helpers import evaluation


def candidate(name=None, formula="ce(z)"):
    return Candidate("id", formula, 2, 0, "known", 1, name=name)


def progress():
    made = Progress(generations=3, generation=2)
    made.count_training(candidate("cross_entropy"), 0.9)
    made.count_training(candidate(formula="abs(p - y)"), 0.95)
    made.count_training(candidate(), None)
    made.count_refusal("duplicate")
    made.count_refusal("rejected")
    return made


def test_progress_counts_and_remembers_the_best():
    counts = progress().counts()
    assert (counts["evaluated"], counts["failed"], counts["rejected"], counts["duplicates"]) == (2, 1, 1, 1)
    assert (counts["best_formula"], counts["best_fitness"], counts["baseline_fitness"]) == ("abs(p - y)", 0.95, 0.9)


def test_progress_goes_on_counting_from_a_saved_state():
    later = Progress(generations=3)
    later.restore(progress().counts())
    later.count_training(candidate(), 0.5)
    assert later.finished == 4
    assert later.best_formula == "abs(p - y)"


def test_the_live_view_shows_a_bar_the_counts_and_the_best_formula():
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, width=140, color_system=None)
    with SearchBar(console, total=10) as view:
        view.moved(progress())
        view.warned("[bold]a part is torn[/bold]")
    shown = output.getvalue()
    assert "generation 2 of 3" in shown
    assert "3/10" in shown
    assert "1 failed, 1 rejected, 1 duplicates" in shown
    assert "best: 0.9500 (+0.0500 to cross-entropy) abs(p - y)" in shown
    assert "[bold]a part is torn[/bold]" in shown


def test_control_characters_of_a_strangers_file_do_not_reach_the_terminal():
    rows = leaderboard_rows([evaluation("ce(z)", 0, 0.9, name="\x1b[2J\nx", birth="known")])
    output = io.StringIO()
    Console(file=output, width=120, color_system=None).print(leaderboard_table(rows, top=2))
    assert "\x1b" not in output.getvalue()
    assert len(output.getvalue().splitlines()) == 2


def test_a_narrow_terminal_still_shows_the_formula():
    rows = leaderboard_rows([evaluation("abs(p - y) + ce(z)", seed, 0.9, name=None) for seed in (0, 1)])
    output = io.StringIO()
    Console(file=output, width=44, color_system=None).print(leaderboard_table(rows, top=2, narrow=True))
    assert "abs(p - y)" in output.getvalue()


def test_a_long_formula_is_shown_by_its_ends():
    text = "ce(z) + " + " + ".join(f"{n}*mean_c(p**{n})" for n in range(2, 40))
    assert shortened(text, 50) == "ce(z) + 2*mean_c(p**2) + 3* … *mean_c(p**39)"
    assert shortened(text, len(text)) == text
    rows = leaderboard_rows([evaluation(text, 0, 0.9, name=None)])
    output = io.StringIO()
    Console(file=output, width=400, color_system=None).print(leaderboard_table(rows, top=1))
    assert shortened(text) in output.getvalue()
    assert len(shortened(text)) <= LONGEST_FORMULA < len(text)


def test_the_table_shows_plain_text_and_cross_entropy_at_any_rank():
    rows = leaderboard_rows(
        [evaluation(f"ce({n}*z)", 0, 0.9 + n / 1000, name="[red]x[/red]", birth="known") for n in range(2, 9)]
        + [evaluation("ce(z)", 0, 0.5)]
    )
    output = io.StringIO()
    Console(file=output, width=120, color_system=None).print(leaderboard_table(rows, top=2))
    lines = output.getvalue().splitlines()
    assert len(lines) == 4
    assert "[red]x[/red]" in lines[1]
    assert "cross_entropy" in lines[3]


@pytest.mark.parametrize("width", [16, 26, 40])
def test_a_formula_is_wrapped_at_operators_and_never_within_a_name_or_number(width):
    text = "exp(3.3456 - p*(0.805 + y))*ce(30*cosine*cos(arccos(cosine) + p*y)) - 0.0698*mean_c(log(p))"
    lines = wrap_formula(text, width)
    assert max(map(len, lines)) <= width
    assert len(lines) <= MAX_LINES
    words = set(re.findall(r"[\w.]+", text))
    assert {word for line in lines for word in re.findall(r"[\w.]+", line)} <= words
    whole = "".join("".join(lines).split())
    assert "…" in whole or whole == "".join(text.split())
    assert wrap_formula("ce(z)", width) == ["ce(z)"]


def test_a_leaderboard_fits_80_columns_without_a_broken_name():
    formula = "0.391*ce(30*cosine*cos(arccos(cosine) + p*y)) - 0.0698*mean_c(log(p))"
    known = evaluation("at_target((1 - p**0.7)/0.7)", 0, 0.8, name="generalized_cross_entropy", birth="known")
    rows = leaderboard_rows([evaluation(formula, 0, 0.9, name=None), evaluation(formula, 1, 0.92, name=None), known])
    output = io.StringIO()
    table = leaderboard_table(rows, top=5, width=80)
    Console(file=output, width=80, color_system=None).print(table)
    assert max(map(len, output.getvalue().splitlines())) <= 80
    words = set(re.findall(r"[a-z_]{3,}", output.getvalue()))
    assert words >= {"cosine", "arccos", "mean_c", "at_target"}
    assert not words & {"cosi", "arcc", "mean", "cosin"}
