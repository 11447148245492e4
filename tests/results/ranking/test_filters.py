"""Conditions, orders and tasks by which a person chooses rows of a leaderboard."""

import pytest

from lossearch.primitives.errors import UserError
from lossearch.results.ranking.filters import condition, on_task, ordered
from lossearch.results.ranking.rows import leaderboard_rows
from tests.results.helpers import evaluation, refused

ROWS = list(
    leaderboard_rows(
        [
            evaluation("ce(z)", complexity=2, fitness=0.8),
            evaluation("square(p - y)", complexity=4, fitness=0.9, birth="crossover"),
            evaluation("ce(30*cosine)", complexity=4, fitness=0.7, class_weights="learned"),
            refused("p", complexity=1),
        ]
    )
)


@pytest.mark.parametrize(
    ("text", "formulas"),
    [
        ("complexity<4", {"ce(z)", "p"}),
        ("complexity >= 4", {"square(p - y)", "ce(30*cosine)"}),
        ("birth=crossover", {"square(p - y)"}),
        ("birth!=crossover", {"ce(z)", "ce(30*cosine)", "p"}),
        ("formula~COSINE", {"ce(30*cosine)"}),
        ("class_weights=learned", {"ce(30*cosine)"}),
        ("fitness_mean>0.75", {"square(p - y)", "ce(z)"}),
        ("status==rejected", {"p"}),
        ("pareto=true", {"square(p - y)", "ce(z)"}),
        ("rank=1", {"square(p - y)"}),
        ("formula=square(p - y)", {"square(p - y)"}),
    ],
)
def test_a_condition_holds_for_its_rows(text, formulas):
    assert {row.formula for row in ROWS if condition(text)(row)} == formulas


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("complexit<4", "did you mean complexity?"),
        ("complexity<many", "Expected a number beside complexity, got 'many'"),
        ("pareto=yes", "Expected true or false beside pareto, got 'yes'"),
        ("complexity", "Expected a condition such as"),
        ("__class__=x", "Expected a column of the leaderboard"),
        ("\x1b[2J<1", "Expected a condition such as"),
    ],
)
def test_invalid_conditions_are_refused(text, message):
    with pytest.raises(UserError, match="Expected") as refusal:
        condition(text)
    assert message in str(refusal.value)
    assert str(refusal.value).isprintable()


def test_rows_without_a_value_come_last_in_either_order():
    up, down = (ordered(ROWS, order) for order in ("fitness_mean", "-fitness_mean"))
    assert [row.fitness_mean for row in up] == [0.7, 0.8, 0.9, None]
    assert [row.fitness_mean for row in down] == [0.9, 0.8, 0.7, None]
    with pytest.raises(UserError, match="did you mean seconds"):
        ordered(ROWS, "second")


def test_rows_are_ranked_by_one_task_of_several():
    both = [
        evaluation(formula, fitness=fitness, task=task, evaluation_id=f"{formula}{task}")
        for formula, fitnesses in {"ce(z)": (0.9, 0.2), "ce(2*z)": (0.8, 0.7)}.items()
        for task, fitness in zip(("digits", "shapes"), fitnesses, strict=True)
    ]
    rows = list(leaderboard_rows(both))
    assert [row.formula for row in rows] == ["ce(2*z)", "ce(z)"]
    assert [(row.rank, row.formula, row.fitness_mean) for row in on_task(rows, "digits")] == [
        (1, "ce(z)", 0.9),
        (2, "ce(2*z)", 0.8),
    ]
    with pytest.raises(UserError, match="did you mean digits"):
        on_task(rows, "digit")
