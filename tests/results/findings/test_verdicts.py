"""Verdicts from measurements made up by hand."""

import numpy as np
import pytest

from lossearch.results.findings.verdict_table import VerdictTable, read_verdicts
from lossearch.results.findings.verdicts import Judged, SceneMeasurements, verdicts
from lossearch.results.records import Measurement

SEEDS = 12


def measured(loss, values, right=None, measure="accuracy"):
    """Measure a loss under each seed. None is a failed training."""
    return [
        Measurement(
            f"{loss}-{seed}",
            "digits",
            loss,
            "ce(z)",
            None,
            "mlp64-10x64",
            seed,
            "test",
            measure,
            value,
            reason=None if value is not None else "diverged",
            right=() if right is None or value is None else tuple(right[seed]),
        )
        for seed, value in enumerate(values)
    ]


def scene(*groups, judged=("found",), baselines=("cross_entropy", "mse"), validation=1000, random=None):
    return SceneMeasurements(
        "own",
        [measurement for group in groups for measurement in group],
        [Judged(loss, 1) for loss in judged],
        list(baselines),
        baselines[-1],
        random,
        1532,
        validation,
    )


def around(center, step=0.0005, seeds=SEEDS):
    """Return different values for each seed, so that no two differences tie."""
    return [center + step * seed for seed in range(seeds)]


CROSS_ENTROPY = measured("cross_entropy", [0.8] * SEEDS)
MSE = measured("mse", [0.82] * SEEDS)


def judge(*groups, **options):
    return verdicts(scene(*groups, **options))[0]


def test_a_loss_that_beats_every_baseline_under_every_seed_is_better():
    verdict = judge(CROSS_ENTROPY, MSE, measured("found", around(0.85)))
    assert verdict.verdict == "better than every baseline"
    assert (verdict.closest, verdict.baselines, verdict.chosen_from) == ("mse", 2, 1532)
    assert verdict.difference == pytest.approx(0.03 + 0.0005 * 5.5)
    assert verdict.p == pytest.approx(2 / 2**SEEDS)  # the largest of two that are alike, of one loss


def test_one_unbeaten_baseline_is_enough_for_no_difference_shown():
    level = measured("mse", [0.85 + 0.01 * (-1) ** seed for seed in range(SEEDS)])
    verdict = judge(CROSS_ENTROPY, level, measured("found", [0.85 + 0.0001 * seed for seed in range(SEEDS)]))
    assert verdict.verdict == "no difference shown"
    assert verdict.why == "not shown to be better than mse"


def test_p_values_are_corrected_for_the_losses_that_are_judged_and_not_for_the_baselines():
    many = [measured(f"known{number}", [0.8] * SEEDS) for number in range(20)]
    names = [f"known{number}" for number in range(20)]
    judged = {"judged": ("found", "other"), "baselines": names}
    both = verdicts(scene(*many, measured("found", around(0.85)), measured("other", around(0.84)), **judged))
    assert [verdict.p for verdict in both] == [pytest.approx(2 * 2 / 2**SEEDS)] * 2


def test_a_loss_behind_the_best_known_one_is_worse():
    verdict = judge(CROSS_ENTROPY, MSE, measured("found", around(0.75)))
    assert verdict.verdict == "worse than a known loss"
    assert "worse than mse" in verdict.why


def test_a_deficit_to_another_baseline_counts_after_correction():
    level = measured("found", [0.8145 + 0.001 * seed for seed in range(SEEDS)])  # about as good as mse, the favourite
    ahead = measured("ahead", [0.9] * SEEDS)
    few = judge(MSE, ahead, level, baselines=("ahead", "mse"))
    assert (few.verdict, few.why) == ("worse than a known loss", "worse than ahead")
    names = [f"known{number}" for number in range(200)]  # 2/2**12 * 202 is no evidence
    many = judge(
        MSE, ahead, *(measured(name, [0.5] * SEEDS) for name in names), level, baselines=(*names, "ahead", "mse")
    )
    assert many.verdict == "no difference shown"


def test_five_seeds_are_too_few():
    groups = [measured(loss, [0.8] * 5) for loss in ("cross_entropy", "mse")]
    verdict = judge(*groups, measured("found", around(0.9, seeds=5)))
    assert verdict.verdict == "too few seeds"
    assert verdict.why == "5 seeds; to judge one loss takes 6"


def test_a_loss_that_failed_under_a_seed_has_failed():
    values = [*around(0.9)[1:], None]
    verdict = judge(CROSS_ENTROPY, MSE, measured("found", values))
    assert (verdict.verdict, verdict.why, verdict.mean) == ("failed", "diverged", None)


def test_a_baseline_that_failed_is_not_compared_with():
    verdict = judge(CROSS_ENTROPY, measured("mse", [None] * SEEDS), measured("found", around(0.85)))
    assert (verdict.verdict, verdict.baselines) == ("better than every baseline", 1)
    assert "better than each of 1 baselines; mse failed" in verdict.why
    none = judge(
        *(measured(name, [None] * SEEDS) for name in ("cross_entropy", "mse")), measured("found", around(0.85))
    )
    assert none.verdict == "baselines failed"


def test_a_baseline_that_failed_under_one_seed_must_be_beaten_under_the_others():
    ahead = measured("mse", [None, *around(0.95)[1:]])
    verdict = judge(CROSS_ENTROPY, ahead, measured("found", around(0.85)))
    assert verdict.verdict == "no difference shown"
    assert verdict.why == "not shown to be better than mse, which failed, under the seeds that were finished"
    behind = measured("mse", [None, *around(0.7, step=0.001)[1:]])
    assert judge(CROSS_ENTROPY, behind, measured("found", around(0.85))).verdict == "better than every baseline"


def test_seeds_are_the_same_for_all_losses():
    right = rows(0.8, 100)
    more = measured("mse", [0.8] * (SEEDS + 1), [*right, right[0]])
    with pytest.raises(ValueError, match="one shape"):
        judge(measured("cross_entropy", [0.8] * SEEDS, right), more, measured("found", around(0.82), rows(0.82, 100)))


def rows(accuracy, samples, shift=0):
    """Correct samples, [seeds, samples]: the same ones under every seed."""
    right = np.zeros((SEEDS, samples), int)
    right[:, shift : shift + int(accuracy * samples)] = 1
    return right


def test_a_task_with_few_errors_left_is_saturated():
    right = rows(0.97, 100)
    groups = [measured(loss, [0.97] * SEEDS, right) for loss in ("cross_entropy", "mse")]
    verdict = judge(*groups, measured("found", around(0.99, 0.0001), rows(0.99, 100)))
    assert verdict.verdict == "saturated"
    assert "3.0 errors on 100 samples" in verdict.why


def test_a_loss_that_is_clearly_behind_is_worse_even_on_a_saturated_task():
    groups = [measured(loss, [0.97] * SEEDS, rows(0.97, 100)) for loss in ("cross_entropy", "mse")]
    verdict = judge(*groups, measured("found", around(0.5), rows(0.5, 100)))
    assert (verdict.verdict, verdict.why) == ("worse than a known loss", "worse than mse")


def test_a_metric_without_samples_is_judged_by_the_seeds_alone():
    verdict = judge(CROSS_ENTROPY, MSE, measured("found", around(0.85)))
    assert "by the seeds alone" in verdict.why


def test_a_difference_that_other_samples_might_not_show_is_not_claimed():
    # right on two samples more of 100, under every seed: the seeds are sure, the samples are not
    groups = [measured(loss, [0.80] * SEEDS, rows(0.8, 100)) for loss in ("cross_entropy", "mse")]
    small = judge(*groups, measured("found", around(0.82, 1e-5), rows(0.82, 100)))
    assert small.low is not None
    assert small.low > 0.0
    assert small.verdict == "split too small"
    assert "100 samples" in small.why
    large = judge(
        *(measured(loss, [0.80] * SEEDS, rows(0.8, 2000)) for loss in ("cross_entropy", "mse")),
        measured("found", around(0.82, 1e-5), rows(0.82, 2000)),
    )
    assert large.verdict == "better than every baseline"
    assert large.low_on_other_samples is not None
    assert large.low_on_other_samples > 0.0


def test_a_difference_of_less_than_one_validation_sample_is_not_claimed():
    groups = (CROSS_ENTROPY, MSE, measured("found", around(0.825, 1e-5)))
    assert judge(*groups, validation=100).verdict == "split too small"
    assert judge(*groups, validation=1000).verdict == "better than every baseline"
    assert judge(*groups, validation=None).verdict == "better than every baseline"


def test_the_best_of_a_random_search_is_compared():
    verdict = judge(
        CROSS_ENTROPY, MSE, measured("found", around(0.85)), measured("grown", [0.84] * SEEDS), random="grown"
    )
    assert verdict.random_search == "grown"
    assert verdict.random_difference == pytest.approx(0.01 + 0.0005 * 5.5)
    assert verdict.random_p == pytest.approx(2 / 2**SEEDS)


def test_written_verdicts_are_read_back(tmp_path):
    lines = verdicts(scene(CROSS_ENTROPY, MSE, measured("found", around(0.85))))
    VerdictTable(lines).write(tmp_path)
    assert read_verdicts(tmp_path).lines == lines
    text = (tmp_path / "verdicts.md").read_text()
    assert "chosen from 1,532 candidates" in text
    assert "better than every baseline" in text
    assert read_verdicts(tmp_path / "nowhere") is None
