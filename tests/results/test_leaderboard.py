import copy
import pickle

import pandas
import pytest

from lossearch.results.leaderboard import Leaderboard, NotARun, UnknownLoss
from lossearch.results.ranking.order import difference_noise
from lossearch.results.ranking.rows import leaderboard_rows
from lossearch.results.statistics.intervals import noise_of_a_difference, paired_differences, spread
from lossearch.results.storage.store import EvaluationStore
from tests.results.helpers import evaluation, refused

GOOD, SIMPLE, BAD = "abs(p - y) + ce(z)", "abs(p - y)", "ce(p)"
EVALUATIONS = [
    evaluation("ce(z)", 0, 0.80),
    evaluation("ce(z)", 1, 0.84),
    evaluation(GOOD, 0, 0.90, complexity=7),
    evaluation(GOOD, 1, 0.92, complexity=7),
    evaluation(SIMPLE, 0, 0.82, complexity=4),
    evaluation(SIMPLE, 1, 0.82, complexity=4),
    evaluation(BAD, 0, 0.70),
    evaluation(BAD, 1, None, status="failed", reason="diverged at step 3"),
    refused("y", reason="flat: no slope"),
    refused("2*(" + GOOD + ")", "duplicate", "trains like it", loss_id=evaluation(GOOD).loss_id),
]


def by_formula():
    return {row.formula: row for row in leaderboard_rows(EVALUATIONS)}


def test_rows_are_ranked_by_fitness_and_then_by_complexity():
    rows = leaderboard_rows(EVALUATIONS)
    assert [(row.rank, row.formula) for row in rows] == [(1, GOOD), (2, "ce(z)"), (3, SIMPLE), (None, BAD), (None, "y")]


def test_rows_have_mean_spread_and_paired_difference_to_cross_entropy():
    row = by_formula()[GOOD]
    assert row.fitness_mean == pytest.approx(0.91)
    assert row.fitness_std == pytest.approx(0.02 / 2**0.5)
    assert row.difference_to_cross_entropy == pytest.approx(((0.90 - 0.80) + (0.92 - 0.84)) / 2)
    assert row.difference_low is row.difference_high is None
    assert by_formula()["ce(z)"].difference_to_cross_entropy == 0.0


def test_a_difference_has_an_interval_from_three_seeds_on():
    fitness = {"ce(z)": (0.80, 0.84, 0.82, 0.81), "mse": (0.90, 0.92, 0.91, 0.92), "p": (0.81, 0.85, 0.83, 0.82)}
    for seeds, limits in ((2, (None, None)), (3, (0.09 - 0.024841, 0.09 + 0.024841))):
        rows = leaderboard_rows(
            evaluation(formula, seed, values[seed]) for formula, values in fitness.items() for seed in range(seeds)
        )
        intervals = {row.formula: (row.difference_low, row.difference_high) for row in rows}
        assert intervals["mse"] == (limits if limits == (None, None) else pytest.approx(limits, rel=1e-4))
        assert intervals["ce(z)"] == intervals["p"] == (None, None)  # equal under every seed: no spread


def test_no_loss_beats_one_on_the_pareto_front_in_fitness_and_simplicity():
    assert {row.formula for row in leaderboard_rows(EVALUATIONS) if row.pareto} == {GOOD, "ce(z)"}


def test_a_loss_that_failed_under_one_seed_has_no_rank_and_a_reason():
    row = by_formula()[BAD]
    assert (row.rank, row.fitness_mean, row.status, row.reason) == (None, None, "failed", "diverged at step 3")


def test_a_rejected_loss_is_kept_with_its_reason():
    assert (by_formula()["y"].status, by_formula()["y"].reason) == ("rejected", "flat: no slope")


def test_duplicates_are_counted_for_the_loss_that_they_equal():
    assert by_formula()[GOOD].duplicates == 1


def test_on_several_tasks_the_means_over_them_are_compared():
    values = {("ce(z)", "a"): 0.8, ("ce(z)", "b"): 0.1, (GOOD, "a"): 0.7, (GOOD, "b"): 0.4}
    rows = leaderboard_rows(evaluation(text, 0, value, task=task) for (text, task), value in values.items())
    assert [(row.formula, row.fitness_mean) for row in rows] == [(GOOD, pytest.approx(0.55)), ("ce(z)", 0.45)]
    assert rows[0].difference_to_cross_entropy == pytest.approx(0.1)
    assert rows[0].fitness_by_task == ("a 0.7000", "b 0.4000")


def test_the_spread_of_one_value_is_unknown():
    assert spread([0.5]) is None


def test_differences_are_paired_by_seed():
    assert paired_differences({0: 1.0, 1: 2.0, 2: 9.0}, {1: 1.5, 0: 0.0, 7: 3.0}) == [1.0, 0.5]


def test_noise_is_the_pooled_standard_error():
    # variances 2 and 0 with one degree of freedom each: pooled 1; two seeds
    assert noise_of_a_difference([[1.0, 3.0], [5.0, 5.0]]) == pytest.approx((1.0 / 2) ** 0.5)
    assert noise_of_a_difference([[1.0]]) is None


def test_noise_is_taken_over_the_better_half():
    # the best of two others is GOOD: its differences are 0.10 and 0.08
    assert difference_noise(EVALUATIONS[:6]) == pytest.approx(0.01)


@pytest.fixture
def run(tmp_path):
    EvaluationStore(tmp_path / "evaluations").append(EVALUATIONS)
    return tmp_path


def test_a_leaderboard_reads_a_run(run):
    board = Leaderboard(run)
    assert len(board) == board.ranked == 3
    assert str(board[0].formula) == GOOD
    assert board[0].fitness_mean == pytest.approx(0.91)
    assert board[0].loss().formula == board[0].formula
    assert board[0].loss(calibrated=True).scale == 1.0
    assert GOOD in repr(board[0])
    assert [entry.rank for entry in board] == [1, 2, 3]
    assert [(entry.rank, entry.status != "evaluated") for entry in board.rejected()] == [(None, True)] * 2
    assert len(board.rows) == 5


def test_a_leaderboard_is_a_data_frame_and_a_file(run):
    board = Leaderboard(run)
    frame = board.to_pandas()
    written = pandas.read_parquet(board.write())
    pandas.testing.assert_frame_equal(frame, written)
    assert frame["formula"].tolist()[0] == GOOD
    assert [row["rank"] for row in board.to_dicts()] == [1, 2, 3, None, None]


def test_a_leaderboard_is_a_sequence(run):
    board = Leaderboard(run)
    assert [entry.rank for entry in board[:2]] == [1, 2]
    assert repr(board) == f"<Leaderboard of {run}: 3 ranked losses, 2 others>"
    assert copy.copy(board[0]).rank == 1
    assert pickle.loads(pickle.dumps(board)).rows == board.rows
    assert pickle.loads(pickle.dumps(board[0])).formula == board[0].formula
    assert (board[-1].rank, [entry.rank for entry in board[1:9]]) == (3, [2, 3])
    with pytest.raises(IndexError):
        board[99]


def test_a_leaderboard_is_asked_for_a_loss_by_name_or_id(run):
    board = Leaderboard(run)
    assert board["cross_entropy"].row == board.baseline
    for row in board.rows:
        assert board[row.loss_id].row == board[row.loss_id[:8]].row == row
    with pytest.raises(UnknownLoss, match="got 'cross_entropi'; did you mean cross_entropy"):
        board["cross_entropi"]
    with pytest.raises(KeyError, match="known: cross_entropy"):
        board[""]


def test_a_damaged_part_causes_a_warning(run):
    (run / "evaluations" / "000002.parquet").write_bytes(b"PAR1")
    with pytest.warns(UserWarning, match=r"000002\.parquet: expected a whole Parquet file"):
        board = Leaderboard(run)
    assert len(board.rows) == 5


def test_a_path_that_is_no_run_is_refused(tmp_path):
    (tmp_path / "digits-1").mkdir()
    with pytest.raises(NotARun, match="got no such directory; did you mean digits-1"):
        Leaderboard(tmp_path / "digits-2")
    with pytest.raises(NotARun, match="with a folder named evaluations in it"):
        Leaderboard(tmp_path / "digits-1")
    with pytest.raises(FileNotFoundError, match="expected the directory of a run"):
        Leaderboard(tmp_path / "nothing")
