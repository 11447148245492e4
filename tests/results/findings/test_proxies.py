"""Proxy tables from values whose taus are known by hand."""

from dataclasses import replace

import pytest
from scipy.stats import kendalltau

from lossearch.results.findings.proxies import (
    CEILING,
    FULL,
    PROXIES,
    ProxyValue,
    as_markdown,
    cells,
    find_cheapest,
    proxy_lines,
    read_lines,
    read_values,
    summarize,
    write_lines,
    write_values,
)
from lossearch.results.findings.table_text import code

LOSSES = [f"loss{number}" for number in range(12)]
RANKED = [number / 20 for number in range(12)]
REVERSED = RANKED[::-1]
#: Neighbours swapped: of 66 pairs, 6 disagree, 60 agree.
SWAPPED = [RANKED[number + 1 - 2 * (number % 2)] for number in range(12)]
FULL_STEPS, FULL_SEEDS = 80, 4


def values(task="digits", full=RANKED, **of_proxy):
    """Return values of twelve losses, the same under every seed. ``of_proxy`` gives values that differ."""
    trainings = [(FULL, FULL_STEPS, full, range(FULL_SEEDS))]
    for number, (proxy, divisor) in enumerate(PROXIES.items()):
        worth = of_proxy.get(f"p{divisor}", full)
        trainings.append((proxy, FULL_STEPS // divisor, worth, range(100, 100 + (4 if number == 3 else 2))))
    return [
        ProxyValue(task, loss, f"ce({loss}*z)", None, None, proxy, steps, FULL_STEPS, seed, "accuracy", worth, None)
        for proxy, steps, of_losses, seeds in trainings
        for loss, worth in zip(LOSSES, of_losses, strict=True)
        for seed in seeds
    ]


def failing(scores, loss, proxy, seed):
    """Replace one value by a failure."""
    return [
        replace(value, fitness=None, reason="diverged")
        if (value.loss_id, value.proxy, value.seed) == (loss, proxy, seed)
        else value
        for value in scores
    ]


def by_proxy(lines):
    return {(line.proxy, line.seeds): line for line in lines}


def test_every_part_of_the_steps_has_a_line_for_each_number_of_seeds_and_the_ceiling_comes_last():
    lines = proxy_lines(values())
    assert [(line.proxy, line.seeds, line.steps) for line in lines] == [
        ("1/8", 1, 10), ("1/8", 2, 10), ("1/4", 1, 20), ("1/4", 2, 20), ("1/2", 1, 40), ("1/2", 2, 40),
        ("all steps", 1, 80), ("all steps", 2, 80), (CEILING, 4, 80),
    ]  # fmt: skip
    assert [line.ceiling for line in lines] == [False] * 8 + [True]


def test_cost_is_a_share_of_the_steps_of_the_full_training_under_all_of_its_seeds():
    lines = by_proxy(proxy_lines(values()))
    assert lines["1/8", 1].cost == 1 / 32
    assert lines["1/2", 2].cost == 1 / 4
    assert lines[CEILING, 4].cost == 1.0


def test_tau_is_kendalls():
    line = by_proxy(proxy_lines(values(p8=SWAPPED)))["1/8", 1]
    assert line.tau == pytest.approx((60 - 6) / 66)
    assert line.low < line.tau < line.high


def test_the_better_half_is_chosen_by_full_training():
    """The worse half is ranked rightly and the better one reversed."""
    line = by_proxy(proxy_lines(values(p8=[*RANKED[:6], *RANKED[:5:-1]])))["1/8", 2]
    assert line.tau_of_better_half == -1.0
    assert line.tau == pytest.approx((66 - 2 * 15) / 66)


def test_more_seeds_are_averaged():
    """The first seed reverses the ranking. The second has the full ranking, with larger differences."""
    scores = [
        replace(value, fitness=REVERSED[LOSSES.index(value.loss_id)] / 4) if (value.proxy, value.seed) == ("1/8", 100)
        else value
        for value in values()
    ]  # fmt: skip
    lines = by_proxy(proxy_lines(scores))
    assert (lines["1/8", 1].tau, lines["1/8", 2].tau) == (-1.0, 1.0)


def test_the_cheapest_good_proxy_is_chosen():
    lines = proxy_lines(values(p8=REVERSED, p4=SWAPPED))
    assert [line.cheapest for line in lines].count(True) == 1
    assert (find_cheapest(lines, "digits").proxy, find_cheapest(lines, "digits").seeds) == ("1/4", 1)


def test_the_better_of_two_proxies_at_one_cost_is_chosen():
    """An eighth under two seeds costs as much as a quarter under one; its first seed ranks nothing."""
    scores = [
        replace(value, fitness=0.5) if (value.proxy, value.seed) == ("1/8", 100) else value
        for value in values(p8=SWAPPED)
    ]
    lines = by_proxy(proxy_lines(scores))
    assert lines["1/8", 1].tau is None
    assert 0.6 < lines["1/8", 2].tau < lines["1/4", 1].tau
    assert lines["1/4", 1].cheapest


def test_the_full_training_under_other_seeds_is_no_proxy():
    wrong = {f"p{divisor}": REVERSED for divisor in PROXIES.values()}
    lines = proxy_lines(values(**wrong))
    assert find_cheapest(lines, "digits") is None
    assert "no proxy reaches a tau of 0.6, so that the full training is to be used" in summarize(lines)
    assert not any(line.cheapest for line in lines)


def test_a_training_at_the_cost_of_the_full_one_is_no_proxy():
    """With a full training of one seed, all steps under one seed cost as much, and under two more."""
    cheap = {"p8": REVERSED, "p4": REVERSED, "p2": REVERSED}
    scores = [value for value in values(**cheap) if value.proxy != FULL or value.seed == 0]
    lines = by_proxy(proxy_lines(scores))
    assert (lines["all steps", 1].cost, lines["all steps", 2].cost) == (1.0, 2.0)
    assert (lines["all steps", 1].tau, lines["all steps", 2].tau) == (1.0, 1.0)
    assert not any(line.cheapest for line in lines.values())


def test_a_candidate_that_fails_under_one_seed_ranks_last():
    lines = by_proxy(proxy_lines(failing(values(), "loss11", "1/2", 101)))
    last = [-1.0 if number == 11 else worth for number, worth in enumerate(RANKED)]
    assert lines["1/2", 2].tau == pytest.approx(kendalltau(RANKED, last).statistic)
    assert (lines["1/2", 1].tau, lines["1/2", 1].failed, lines["1/2", 2].failed) == (1.0, 0, 1)
    assert "1 candidate of 12 failed, which ranks last." in summarize(list(lines.values()))


def test_candidates_that_are_all_equal_leave_tau_undefined():
    lines = proxy_lines(values(full=[0.1] * 12))
    assert {(line.tau, line.low, line.high, line.tau_of_better_half) for line in lines} == {(None,) * 4}
    assert "tau is undefined, since all candidates are worth the same" in summarize(lines)
    assert cells(lines[0])[4] == "undefined"
    assert find_cheapest(lines, "digits") is None


def test_a_proxy_that_cannot_tell_candidates_apart_is_not_chosen():
    lines = proxy_lines(values(p8=[0.1] * 12))
    assert by_proxy(lines)["1/8", 1].tau is None
    assert find_cheapest(lines, "digits").proxy == "1/4"


def test_tasks_are_judged_separately():
    lines = proxy_lines([*values("digits", p8=REVERSED), *values("glyphs")])
    assert find_cheapest(lines, "digits").proxy == "1/4"
    assert find_cheapest(lines, "glyphs").proxy == "1/8"


def test_files_give_back_what_was_written(tmp_path):
    written = failing(values(), "loss3", FULL, 2)
    write_values(tmp_path, written)
    write_lines(tmp_path, proxy_lines(written))
    assert read_values(tmp_path) == written
    assert read_lines(tmp_path) == proxy_lines(read_values(tmp_path))


def test_the_page_has_every_line_and_says_which_is_chosen():
    lines = proxy_lines(values(p8=SWAPPED))
    page = as_markdown(lines)
    assert f"### {code('digits')}: accuracy on the validation split, full training 80 steps x 4 seeds" in page
    assert "| 1/8 | 10 | 1 | 3.12 % | 0.82 |" in page
    assert page.count("\n|") == 2 + len(lines)
    assert "with a tau of 0.6 or more has 10 steps and 1 seed, 3.12 % of the full training." in page
