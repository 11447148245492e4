"""Counts of candidates by what became of them."""

from lossearch.results.ranking.counts import CandidateCounts
from lossearch.results.ranking.rows import leaderboard_rows
from lossearch.results.records import loss_id
from tests.results.helpers import evaluation, refused

#: A loss, one that failed under a later seed, one that failed, two births of a rejected one, and a duplicate.
RECORDS = [
    evaluation("ce(z)"),
    evaluation("abs(p - y)"),
    evaluation("abs(p - y)", 2, None, status="failed", reason="diverged"),
    evaluation("mse", 0, None, status="failed", reason="diverged"),
    refused("p", birth_number=3),
    refused("p", birth_number=4, evaluation_id="another"),
    refused("2*ce(z)", status="duplicate", reason="like ce(z)", loss_id=loss_id("ce(z)")),
    evaluation("exp(z)", 0, 0.5, steps=5, full_steps=10),
]


def test_each_candidate_is_counted_once():
    counts = leaderboard_rows(RECORDS).ranking.candidate_counts()
    assert counts == CandidateCounts(evaluated=1, stopped=1, failed=2, rejected=2, duplicates=1)
    assert counts.trained == 4


def test_the_counts_have_one_wording():
    few, many = CandidateCounts(2, 0, 1, 4, 5), CandidateCounts(1_500, 30, 10, 4_000, 0)
    assert few.sentence() == "3 trained, of which 2 evaluated and 1 failed, 4 rejected, 5 duplicates"
    assert many.sentence(" (2.0/s)") == (
        "1,540 trained (2.0/s), of which 1,500 evaluated, 30 stopped at a rung and 10 failed, "
        "4,000 rejected, 0 duplicates"
    )
    assert few.named() == {"trained": 3, "evaluated": 2, "failed": 1, "rejected": 4, "duplicates": 5}
