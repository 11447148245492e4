"""The judged loss is the one that leaves a run, with its own numbers, factor, learning rate and verdict."""

from dataclasses import replace

import pytest

from lossearch.primitives.errors import UserError
from lossearch.results.findings.tuned_forms import training_text
from lossearch.results.findings.tuned_losses import TunedLoss, write_tuned
from lossearch.results.findings.verdict_table import VerdictTable, scene_folder
from lossearch.results.findings.verdicts import Verdict
from lossearch.results.leaderboard import Leaderboard
from lossearch.results.records import Measurement, loss_id
from lossearch.results.storage.store import EvaluationStore, RecordStore
from tests.results.helpers import evaluation

FIRST, SECOND, THIRD = "ce(2.5*z)", "ce(cosine)", "abs(p - y) + 0.5*ce(z)"
SECOND_WITH_PEDCC = f"{SECOND} [pedcc]"
LABEL = "mlp64-100x64-lr0.12-m0.9"


def verdict(loss, formula, rank, outcome="no difference shown", scene="own", task="digits"):
    numbers = dict.fromkeys(Verdict.__dataclass_fields__)
    given = {"scene": scene, "task": task, "fidelity": LABEL, "measure": "accuracy", "loss": loss, "rank": rank}
    given |= {"formula": formula, "seeds": 7, "mean": 0.9, "verdict": outcome, "why": "so it is"}
    return Verdict(**{**numbers, **given, "baselines": 3, "chosen_from": 40})


def measurement(formula, seed, factor, class_weights=None, task="digits", **changes):
    values = {"measurement_id": f"{formula}{class_weights}{task}{seed}", "task": task, "loss": formula}
    values |= {"formula": formula, "class_weights": class_weights, "fidelity": LABEL, "seed": seed, "split": "test"}
    values |= {"measure": "accuracy", "value": 0.9, "calibration": factor, "learning_rate": 0.12}
    return Measurement(**{**values, **changes})


def tuned(loss, formula, rank, kind="found", rate=0.12, value=0.9, task="digits"):
    return TunedLoss(task, kind, rank, loss, formula, (f"learning_rate={rate}", "c1=3.5"), value, 8, 0, 40)


@pytest.fixture
def run(tmp_path):
    evaluations = [
        evaluation("ce(z)", 0, 0.80),
        evaluation(FIRST, 0, 0.92),
        evaluation(SECOND, 0, 0.91, class_weights="learned"),
        evaluation(SECOND, 1, 0.90, class_weights="pedcc", loss_id=loss_id(SECOND, "pedcc")),
        evaluation(THIRD, 0, 0.85, calibration=4.0),
    ]
    EvaluationStore(tmp_path / "evaluations").append(evaluations)
    for folder in ("tuning", "verdict"):
        (tmp_path / folder).mkdir()
    return tmp_path


def judge(run, *lines, measured=()):
    VerdictTable(lines).write(run / "verdict")
    for task in {record.task for record in measured}:
        of_task = [record for record in measured if record.task == task]
        scene = run / "verdict" / scene_folder("own", task)
        scene.mkdir(parents=True)
        RecordStore(scene / "measurements", Measurement).append(of_task)


def test_without_verdicts_the_best_loss_is_rank_1(run):
    best = Leaderboard(run).best()
    assert (best.rank, best.form, best.learning_rate, best.verdicts) == (1, None, None, ())
    write_tuned(run / "tuning", [tuned(FIRST, "ce(3.5*z)", 1)])
    assert Leaderboard(run).best().form is None


def test_the_judged_form_has_its_numbers_factor_rate_and_verdicts(run):
    formula = "abs(p - y) + 0.25*ce(z)"
    other = measurement("ce(3.5*z)", 0, 9.0)
    lines = [verdict(THIRD, formula, 4), verdict(THIRD, formula, 4, "saturated", "second task", "digits_noisy")]
    judge(run, *lines, measured=[other, *(measurement(formula, seed, 2.0) for seed in range(2))])
    best, untuned = Leaderboard(run).best(), Leaderboard(run)[3]
    assert (str(best.formula), best.calibration, best.learning_rate) == (formula, 2.0, 0.12)
    assert [line.verdict for line in best.verdicts] == ["no difference shown", "saturated"]
    assert (best.loss().scale, best.loss(calibrated=False).scale) == (2.0, 1.0)
    assert (str(untuned.formula), untuned.calibration, untuned.form) == (THIRD, 4.0, None)
    assert str(untuned.tuned().formula) == formula
    assert best.untuned().form is None
    assert "no difference shown" in repr(best)
    assert "saturated" in best._repr_html_()
    text = " ".join(best.export(run / "best.py").read_text().split())
    assert "its own task, digits: no difference shown; so it is" in text
    assert "with learning rate 0.12 of SGD with momentum 0.9, falling along a cosine, in 100 steps of 64" in text
    assert "calibration = 2.0" in text


def test_a_better_loss_comes_first_and_a_failed_one_last_whatever_their_means(run):
    failed, neutral = verdict(FIRST, FIRST, 1, "failed"), replace(verdict(SECOND, SECOND, 2), mean=0.99)
    better = replace(verdict(THIRD, THIRD, 4, "better than every baseline"), mean=0.5)
    judge(run, failed, neutral, better)
    assert [str(entry.formula) for entry in Leaderboard(run).judged()] == [THIRD, SECOND, FIRST]


def test_a_loss_is_recognised_by_formula_and_class_weights_after_ranks_have_changed(run):
    judge(run, verdict(SECOND_WITH_PEDCC, SECOND, 1), measured=[measurement(SECOND, 0, 3.0, "pedcc")])
    best = Leaderboard(run).best()
    assert (best.class_weights, best.rank, best.calibration) == ("pedcc", 3, 3.0)
    assert Leaderboard(run).with_form(Leaderboard(run).rows[0]) is None  # the loss that has the verdict's rank now
    with pytest.raises(UserError, match="the loss of rank 1, which was not"):
        Leaderboard(run)[0].tuned()


def test_a_judged_loss_that_is_not_on_the_leaderboard_is_named(run):
    judge(run, verdict("ce(sin(z))", "ce(sin(z))", 1))
    with pytest.warns(UserWarning, match=r"the judged loss ce\(sin\(z\)\) .* is not on the leaderboard"):
        assert Leaderboard(run).best().form is None


def test_a_run_without_measurements_keeps_the_loss_and_says_that_no_factor_is_known(run):
    judge(run, verdict(THIRD, THIRD, 4))
    best = Leaderboard(run).best()
    assert (best.calibration, best.learning_rate, best.loss().scale) == (None, None, 1.0)
    assert "Calibration: unknown" in " ".join(best.export(run / "best.py").read_text().split())
    measured = [measurement(THIRD, seed, 5.0, measure="accuracy", split="validation") for seed in (4, 5)]
    RecordStore(run / "tuning" / "tuning", Measurement).append(measured)
    write_tuned(run / "tuning", [tuned(THIRD, THIRD, 4)])
    best = Leaderboard(run).best()
    assert (best.calibration, best.learning_rate) == (5.0, 0.12)  # of the same loss on the same task


def test_a_tuned_loss_that_was_not_judged_has_the_factor_of_its_tuning(run):
    formula, random = "ce(3.5*z)", "ce(9.5*z)"
    trials = [
        measurement(formula, 3, 0.7),
        measurement(formula, 0, 0.8, learning_rate=0.5),
        measurement(random, 0, 0.1),
    ]
    RecordStore(run / "tuning" / "tuning", Measurement).append(trials)
    write_tuned(run / "tuning", [tuned(FIRST, random, 1, "random search"), tuned(FIRST, formula, 1)])
    entry = Leaderboard(run)[0].tuned()
    assert (str(entry.formula), entry.calibration, entry.learning_rate) == (formula, 0.7, 0.12)
    assert [str(loss.formula) for loss in Leaderboard(run).tuned()] == [formula]


def test_on_several_tasks_the_numbers_are_those_of_the_first(run):
    lines = [
        verdict(FIRST, "ce(3.5*z)", 1, "better than every baseline"),
        verdict(THIRD, THIRD, 4, "better than every baseline"),
        verdict(FIRST, "ce(4.5*z)", 1, task="shapes"),
        verdict(THIRD, THIRD, 4, "better than every baseline", task="shapes"),
    ]
    judge(run, *lines, measured=[measurement("ce(3.5*z)", 0, 2.0), measurement("ce(4.5*z)", 0, 3.0, task="shapes")])
    best, second = Leaderboard(run).judged()
    assert str(best.formula) == THIRD  # better on both
    assert (str(second.formula), second.calibration) == ("ce(3.5*z)", 2.0)
    assert [line.task for line in second.verdicts] == ["digits"]


def test_a_task_of_a_strangers_verdict_names_no_folder(run):
    judge(run, verdict(THIRD, THIRD, 4, task="../../x"))
    assert Leaderboard(run).best().calibration is None


@pytest.mark.parametrize(
    ("label", "found"),
    [
        ("vgg64-9x8-lr1e-05-m0-wd0.0001-adam-constant", "0.12 of Adam, constant, in 9 steps of 8 samples"),
        ("cnn64-9x8-lr0.3-m0.9-step3+6x0.1", "0.12 of SGD with momentum 0.9, lowered at milestones, in 9 steps"),
        ("some text", "0.12, from the record (some text)"),
    ],
)
def test_the_training_is_described_by_its_label(run, label, found):
    judge(run, verdict(THIRD, THIRD, 4), measured=[measurement(THIRD, 0, 2.0)])
    assert found in training_text(replace(Leaderboard(run).best().form, fidelity=label))
