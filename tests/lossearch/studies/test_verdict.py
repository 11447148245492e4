"""From a finished search to verdicts: tuning, a random search, three scenes."""

import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from lossearch.cli.app import app
from lossearch.engine.export_check import load_exported
from lossearch.engine.launch import search
from lossearch.evaluators.tasks import TASKS
from lossearch.evaluators.training.training import Training
from lossearch.evaluators.work import training_seed
from lossearch.primitives.catalog import CATALOG
from lossearch.primitives.errors import UserError
from lossearch.primitives.identity.algebra import canonical
from lossearch.primitives.language.parser import parse
from lossearch.results.findings.tuned_losses import read_tuned
from lossearch.results.findings.verdict_table import read_verdicts, scene_folder
from lossearch.results.leaderboard import Leaderboard
from lossearch.results.records import Measurement
from lossearch.results.storage.store import RecordStore
from lossearch.runs.directory import RunDirectoryError
from lossearch.runs.experiment import validated
from lossearch.runs.named_loss import candidate_of
from lossearch.runs.seed_ranges import TUNING as FIRST_SEED
from lossearch.runs.session import RunInterrupted, running
from lossearch.studies import verdict as launch_verdict
from lossearch.studies.comparison import ComparisonDirectory
from lossearch.studies.runner import StudyInterrupted
from lossearch.studies.survivors import Survivor, suitable_baselines, survivors
from lossearch.studies.tune import (
    CONFIRM,
    TUNING,
    _make_records,
    _SearchResult,
    random_experiment,
    search_at_random,
    tune,
)
from lossearch.studies.tuning import Tuned
from lossearch.studies.verdict import VERDICT, _declared, _select_entering, _with_own_second_tasks, scenes_of, verdict
from tests.lossearch.small import SMALL, finished_run, stopped_at

KNOWN = ["cross_entropy", "mse", "am_softmax"]
OPTIONS = {"top": 2, "trials": 4, "seeds": 2, "baselines": KNOWN}


@pytest.fixture(scope="module", autouse=True)
def _quick():
    """Train for a moment on the tasks of the second scenes, too."""
    with pytest.MonkeyPatch.context() as patched:
        for name in ("digits", "digits_noisy"):
            fidelity = TASKS[name].fidelity.model_copy(update={"steps": 24})
            patched.setitem(TASKS, name, replace(TASKS[name], fidelity=fidelity))
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return finished_run(tmp_path_factory.mktemp("judged") / "run").path


@pytest.fixture(scope="module")
def tuned(run):
    return tune(run, **OPTIONS)


@pytest.fixture(scope="module")
def judged(run, tuned):
    return verdict(run, seeds=7, top=1)


def test_losses_that_differ_by_their_numbers_alone_are_tuned_once(run):
    board = Leaderboard(run)
    selected = survivors(board, 100)
    assert all(board[survivor.rank - 1].row.name is None for survivor in selected)
    assert [survivor.rank for survivor in selected] == sorted(survivor.rank for survivor in selected)
    assert len({survivor.loss for survivor in selected}) == len(selected) < len([row for row in board.rows if row.rank])


def test_a_known_loss_with_other_numbers_was_not_found_and_a_discovered_one_may_be_found_again():
    known = ["ce(z + 1.15*log(prior))", "at_target((1 - p**0.3)/0.3)", "ce(z) + 0.7*at_target(dist2)"]
    discovered = str(CATALOG["logit_adjusted_hinge"].bound())
    rows = [
        SimpleNamespace(rank=rank, formula=str(canonical(parse(text))), name=None, class_weights=weights)
        for rank, (text, weights) in enumerate(zip([*known, discovered], [None, None, "learned", None], strict=True), 1)
    ]
    selected = survivors(SimpleNamespace(rows=rows, path="a"), 100)
    assert [survivor.rank for survivor in selected] == [4]
    with pytest.raises(UserError, match="expected a loss that is no known one"):
        survivors(SimpleNamespace(rows=rows[:3], path="a"), 100)


def test_a_loss_that_trains_nearly_like_a_better_one_is_not_tuned():
    texts = [
        "log(ce(z/3))",
        "sqrt(1.0 + 0.001*ce(sin(z)))",
        "0.01 + log(0.001 + ce(z/3))",
        "ce(tanh(z))",
        "log(ce(cosine))",
    ]
    rows = [
        SimpleNamespace(rank=rank, formula=text, name=None, class_weights=weights)
        for rank, (text, weights) in enumerate(zip(texts, [None, None, None, None, "learned"], strict=True), 1)
    ]
    rows.append(SimpleNamespace(rank=6, formula=texts[-1], name=None, class_weights="pedcc"))
    selected = survivors(SimpleNamespace(rows=rows, path="a"), 100)
    assert [survivor.rank for survivor in selected] == [1, 2, 4, 5, 6]
    assert [survivor.rank for survivor in survivors(SimpleNamespace(rows=rows, path="a"), 3)] == [1, 2, 4]


def test_every_loss_gets_the_same_budget(tuned):
    assert {loss.kind for loss in tuned.losses} == {"found", "random search", "baseline"}
    assert {loss.trials for loss in tuned.losses} == {4}
    assert [loss.loss for loss in tuned.losses if loss.kind == "baseline"] == KNOWN
    assert all("learning_rate" in loss.settings_by_name() for loss in tuned.losses)
    assert read_tuned(tuned.path) == tuned.losses


def test_the_value_of_the_best_settings_is_measured_under_other_seeds(tuned):
    store = RecordStore(tuned.path / "tuning", Measurement)
    measured = [measurement for measurement in store.read()[0] if measurement.measure == "accuracy"]
    chosen_by = range(FIRST_SEED, FIRST_SEED + OPTIONS["seeds"])
    for loss in tuned.losses:
        of_loss = [
            measurement
            for measurement in measured
            if (measurement.formula, measurement.learning_rate) == (loss.formula, _rate(loss))
        ]
        fresh = {measurement.seed: measurement.value for measurement in of_loss if measurement.seed not in chosen_by}
        assert len(fresh) == CONFIRM
        assert loss.value == pytest.approx(sum(fresh.values()) / CONFIRM)
    assert {measurement.seed for measurement in measured} == {
        *chosen_by,
        *range(chosen_by.stop, chosen_by.stop + CONFIRM),
    }


def _rate(loss):
    return loss.settings_by_name()["learning_rate"]


def test_a_random_search_trains_the_same_number_of_candidates_without_breeding(run, tuned):
    theirs = Leaderboard(run / "random_search")
    born = {row.birth for row in theirs.rows if row.rank is not None}
    assert born <= {"known", "random", "baseline"}
    wanted = SMALL.evolution.population * SMALL.evolution.generations
    assert sum(row.rank is not None or row.status == "failed" for row in theirs.rows) == wanted
    assert random_experiment(SMALL).evolution.random_trees == 1.0


def test_finished_tuning_is_not_repeated(run, tuned, monkeypatch):
    monkeypatch.setattr(
        "lossearch.evaluators.executors.executor.InlineExecutor.submit", lambda *given: pytest.fail("trained again")
    )
    assert tune(run, **OPTIONS).losses == tuned.losses


def test_resumed_tuning_equals_uninterrupted_tuning(run, tuned, tmp_path, monkeypatch):
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    shutil.rmtree(copy / TUNING)
    with stopped_at(monkeypatch, 3, StudyInterrupted):
        tune(copy, **OPTIONS)
    assert tune(copy, **OPTIONS).losses == tuned.losses


def test_tuning_with_other_options_keeps_earlier_results(run, tuned, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    tune(copy, **(OPTIONS | {"trials": 2}))
    assert read_tuned(copy / f"{TUNING}-1") == tuned.losses
    assert {loss.trials for loss in read_tuned(copy / TUNING)} == {2}


def test_a_loss_is_judged_on_its_task_on_a_second_network_and_on_a_second_task(judged):
    assert [(line.scene, line.task) for line in judged.table.lines] == [
        ("own", "digits"),
        ("second network", "digits"),
        ("second task", "digits_noisy"),
    ]
    networks = [line.fidelity[:3] for line in judged.table.lines]
    assert networks == ["mlp", "cnn", "mlp"]
    assert {line.seeds for line in judged.table.lines} == {7}
    assert all(line.random_difference is not None for line in judged.table.lines)
    for line in judged.table.lines:  # at its best learning rate a loss may diverge under another seed
        scene = scene_folder(line.scene, line.task)
        measured, _ = RecordStore(judged.path / scene / "measurements", Measurement).read()
        failed = {measurement.loss for measurement in measured if measurement.value is None} & set(KNOWN)
        assert line.baselines == len(KNOWN) - len(failed)
    assert read_verdicts(judged.path).lines == judged.table.lines


def test_the_judged_loss_is_the_best_on_the_validation_split(tuned, judged):
    candidates = [loss for loss in tuned.losses if loss.kind == "found"]
    best = max(candidates, key=lambda loss: loss.value)
    first = judged.table.lines[0]
    assert (first.loss, first.formula, first.rank) == (best.loss, best.formula, best.rank)
    at_random = [loss for loss in tuned.losses if loss.kind == "random search"]
    assert first.random_search == max(at_random, key=lambda loss: loss.value).loss


@pytest.mark.long
def test_a_verdict_names_the_number_of_candidates_a_loss_was_chosen_from(run, judged):
    counts = Leaderboard(run).counts()
    assert {line.chosen_from for line in judged.table.lines} == {counts["evaluated"] + counts.get("failed", 0)}


@pytest.mark.long
def test_a_second_scene_keeps_constants_and_tunes_the_learning_rate(tuned, judged):
    first, second, _ = judged.table.lines
    assert first.formula == second.formula
    log = (judged.path / "second_network_digits" / "log.jsonl").read_text().splitlines()
    tried = [json.loads(line) for line in log if '"tuned"' in line]
    assert {loss["trials"] for loss in tried} == {6}
    assert all(
        loss.formula in {record["formula"] for record in tried} for loss in tuned.losses if loss.kind == "baseline"
    )


@pytest.mark.long
def test_stopped_judging_continues_and_more_seeds_keep_earlier_measurements(run, judged, tmp_path, monkeypatch):
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    shutil.rmtree(copy / VERDICT)
    with stopped_at(monkeypatch, 2, StudyInterrupted):
        verdict(copy, seeds=6, top=1, tasks=[])
    few = verdict(copy, seeds=6, top=1, tasks=[])
    judged_again = verdict(copy, seeds=7, top=1, tasks=[])
    assert judged_again.table.lines == judged.table.lines[:2]
    assert not list((copy / VERDICT).glob("own*-1"))
    assert verdict(copy, seeds=6, top=1, tasks=[]).table.lines == few.table.lines  # and the seventh seed is left aside
    assert {line.seeds for line in few.table.lines} == {6}


@pytest.mark.long
def test_the_judged_losses_are_recorded_before_the_next_scene_begins(run, judged, tmp_path, monkeypatch):
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    (copy / VERDICT / "verdicts.parquet").unlink()

    measure = launch_verdict._measure

    def measure_own_scene(declared, path, *more):
        if not path.name.startswith("own"):
            raise KeyboardInterrupt
        return measure(declared, path, *more)

    monkeypatch.setattr(launch_verdict, "_measure", measure_own_scene)
    with pytest.raises(KeyboardInterrupt):
        verdict(copy, seeds=7, top=1)
    assert read_verdicts(copy / VERDICT).lines == judged.table.lines[:1]


def test_a_folder_that_another_process_writes_to_is_not_set_aside(run, tuned, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    declared = ComparisonDirectory.recorded(copy / TUNING)
    with running(ComparisonDirectory, declared, copy / TUNING, True, RunInterrupted):
        assert ComparisonDirectory.set_aside(copy / TUNING, declared) is None
        with pytest.raises(RunDirectoryError, match="another process is writing"):
            tune(copy, **(OPTIONS | {"trials": 2}))
    assert read_tuned(copy / TUNING) == tuned.losses


def test_an_extended_search_gets_a_random_search_of_the_same_length(run, tuned, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    evolution = SMALL.evolution.model_copy(update={"generations": SMALL.evolution.generations + 1})
    search(SMALL.model_copy(update={"evolution": evolution}), run_dir=copy, resume=True, force=True)
    search_at_random(copy)
    theirs = Leaderboard(copy / "random_search")
    wanted = SMALL.evolution.population * evolution.generations
    assert sum(row.rank is not None or row.status == "failed" for row in theirs.rows) == wanted


def test_a_loss_that_both_searches_found_is_judged_and_is_the_best_of_the_random_search():
    both, known = (Tuned(text, candidate_of(text), {"learning_rate": 0.1}, 0.9, 4, 0) for text in ("ce(2*z)", "mse"))
    searches = [
        _SearchResult("found", [Survivor(3, "ce(2*z)")], 100),
        _SearchResult("random search", [Survivor(1, "ce(2*z)")], 90),
    ]
    losses = [record for loss in (both, known) for record in _make_records("digits", loss, searches)]
    assert [(loss.kind, loss.rank, loss.chosen_from) for loss in losses] == [
        ("found", 3, 100),
        ("random search", 1, 90),
        ("baseline", None, None),
    ]
    assert _select_entering(losses, 1) == losses
    declared = _declared(SMALL, scenes_of(SMALL)[0], losses, 7)
    assert list(declared.all_losses()) == ["ce(2*z)", "mse"]


def test_invalid_verdicts_are_refused(run, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    shutil.rmtree(copy / TUNING, ignore_errors=True)
    with pytest.raises(UserError, match="Run 'lossearch tune'"):
        verdict(copy)
    with pytest.raises(UserError, match=r"Unknown task 'digts'.*digits"):
        scenes_of(SMALL, tasks=["digts"])
    with pytest.raises(UserError, match="that the search was not on"):
        scenes_of(SMALL, tasks=["digits"])
    with pytest.raises(UserError, match="dense"):
        scenes_of(SMALL, network="dense")
    with pytest.raises(UserError, match="did you mean resnet"):
        scenes_of(SMALL, network="resnet2")
    with pytest.raises(UserError, match="another network than the search's, got mlp"):
        scenes_of(SMALL, network="mlp")
    np.savez(tmp_path / "wine.npz", inputs=np.zeros((40, 3)) + np.arange(40)[:, None], targets=np.arange(40) % 2)
    with_wine, names = _with_own_second_tasks(SMALL, [tmp_path / "wine.npz"])
    scene = scenes_of(with_wine, tasks=names)[-1]
    assert (scene.folder, with_wine.task_named(scene.task).shape) == ("second_task_wine", (3,))
    with pytest.raises(UserError, match="does not exist"):
        _with_own_second_tasks(SMALL, [tmp_path / "vine.npz"])
    assert len(scenes_of(SMALL, tasks=["shapes", "shapes"])) == len(scenes_of(SMALL, tasks=["shapes"]))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"baselines": ["crossentropy"]}, r"crossentropy.*cross_entropy"),
        ({"baselines": []}, "known losses to tune beside"),
        ({"trials": 0}, "Expected trials to be 2 or more"),
        ({"top": 0}, "Expected top to be 1 or more, got 0"),
        ({"seeds": 0}, "Expected seeds to be 1 or more, got 0"),
    ],
)
def test_invalid_tuning_is_refused_before_anything_is_trained(run, monkeypatch, options, words):
    monkeypatch.setattr("lossearch.studies.tune.search", lambda *given, **more: pytest.fail("searched"))
    with pytest.raises(UserError, match=words):
        tune(run, **(OPTIONS | options))
    if {"top", "seeds"} & options.keys():
        with pytest.raises(UserError, match=words):
            verdict(run, **options)


def test_baselines_are_the_known_losses_that_the_task_can_give(run):
    names = suitable_baselines(SMALL)
    assert names[0] == "cross_entropy"
    assert {"logit_adjustment", "pedcc", "ramp"} <= set(names)


def test_the_commands_print_verdicts_and_their_limits(run, judged):
    runner = CliRunner()
    words = [str(run), "--top", "2", "--trials", "4", "--seeds", "2", "--baselines", ",".join(KNOWN)]
    printed = runner.invoke(app, ["tune", *words, "--json"])
    assert printed.exit_code == 0, printed.output
    assert {line["kind"] for line in json.loads(printed.stdout)} == {"found", "random search", "baseline"}
    printed = runner.invoke(app, ["compare", str(run), "--seeds", "7", "--top", "1", "--json"])
    assert printed.exit_code == 0, printed.output
    assert [line["verdict"] for line in json.loads(printed.stdout)] == [line.verdict for line in judged.table.lines]
    printed = runner.invoke(app, ["compare", str(run), "--seeds", "7", "--top", "1"])
    assert "chosen from" in printed.stderr
    assert runner.invoke(app, ["tune", str(run / "nowhere")]).exit_code == 2


def test_the_random_search_runs_once(run, tuned, monkeypatch):
    monkeypatch.setattr("lossearch.studies.tune.search", lambda *given, **more: pytest.fail("searched again"))
    search_at_random(run)


def test_the_exported_file_trains_to_the_verdict(run, judged, tmp_path):
    """Walk the chain: what search, tune and compare proved is what a plain training with the exported file gives."""
    line, file = judged.table.lines[0], tmp_path / "judged.py"
    printed = CliRunner().invoke(app, ["export", str(run), "--out", str(file), "--card"])
    assert printed.exit_code == 0, printed.output
    assert f"{line.verdict}; {line.why}" in printed.stderr
    best = Leaderboard(run).best()
    work = replace(_declared(SMALL, scenes_of(SMALL)[0], read_tuned(run / TUNING), 7).work("digits"), measured="test")
    settings = {"learning_rate": best.learning_rate, "seeds": 7}
    fidelity, task = work.fidelity.model_copy(update=settings), work.get_task()
    module, accuracies = load_exported(file), []
    for seed in work.seeds:
        sizes = (task.classes, fidelity.hidden) if best.over_embeddings else ()
        training = Training(module.Loss(*sizes), task, fidelity, training_seed(work, seed), calibration=1.0)
        training.run(fidelity.steps)
        accuracies.append(training.metric_on(task.load_test()))
    # The factor is one number for all seeds. A cohort sums in another order, which may flip a sample on the boundary.
    one_sample = 1.0 / len(task.load_test())
    assert sum(accuracies) / len(accuracies) == pytest.approx(line.mean, abs=one_sample)
    assert (str(best.formula), best.rank) == (line.formula, line.rank)
    text, card = file.read_text(), (tmp_path / "judged.py.md").read_text()
    assert f"with learning rate {best.learning_rate:g} of SGD with momentum 0.9" in " ".join(text.split())
    assert f"start from the learning rate {best.learning_rate:g}, as it is" in card
    assert f"**{line.verdict}**" in card


def test_tuned_and_untuned_forms_are_chosen_by_option(run, judged, tmp_path):
    runner, line = CliRunner(), judged.table.lines[0]
    words = ["export", str(run), "--out", str(tmp_path / "loss.py"), "--force"]
    printed = runner.invoke(app, [*words, "--rank", str(line.rank)])
    assert f"--rank {line.rank} --tuned writes those" in printed.stderr
    assert "Untuned form" in runner.invoke(app, [*words, "--untuned"]).stderr
    other = next(loss for loss in read_tuned(run / TUNING) if loss.kind == "found" and loss.rank != line.rank)
    printed = runner.invoke(app, [*words, "--rank", str(other.rank), "--tuned"])
    assert "Not judged. To judge it: " in printed.stderr
    assert Leaderboard(run)[other.rank - 1].tuned().calibration is not None
    untuned = next(row.rank for row in Leaderboard(run).rows if row.name == "ngl")  # no baseline of this tuning
    printed = runner.invoke(app, [*words, "--rank", str(untuned), "--tuned"])
    assert printed.exit_code == 2
    assert "lossearch tune" in printed.stderr
    assert runner.invoke(app, ["export", "focal", "--tuned", "--out", str(tmp_path / "x.py")]).exit_code == 2
    printed = runner.invoke(app, ["compare", str(run), "--seeds", "7", "--top", "1"])
    assert f"export {run} --out my_loss.py" in printed.stderr.splitlines()[-1]


def test_a_card_and_the_leaderboard_show_the_verdicts(run, judged):
    runner = CliRunner()
    first = judged.table.lines[0]
    printed = runner.invoke(app, ["leaderboard", str(run), "--top", "1000", "--json"])
    rows = {row["rank"]: row["verdicts"] for row in json.loads(printed.stdout)}
    assert [row["verdict"] for row in rows[first.rank]] == [line.verdict for line in judged.table.lines]
    assert all(not said for rank, said in rows.items() if rank != first.rank)
    file = run.parent / "loss.py"
    printed = runner.invoke(app, ["export", str(run), "--rank", str(first.rank), "--out", str(file), "--card"])
    assert printed.exit_code == 0, printed.output
    card = (run.parent / "loss.py.md").read_text()
    assert f"**{first.verdict}**" in card
    assert f"chosen from {first.chosen_from:,} candidates" in card


def test_a_second_task_has_data_of_the_same_kind(tmp_path):
    rows, images = np.arange(120.0).reshape(40, 3), np.zeros((40, 1, 8, 8)) + np.arange(40)[:, None, None, None]
    found = {}
    for name, inputs in (("table", rows), ("pictures", images)):
        np.savez(tmp_path / f"{name}.npz", inputs=inputs.astype(np.float32), targets=np.arange(40) % 2)
        declared = {"name": "a", "task": name, "data": {name: {"arrays": str(tmp_path / f"{name}.npz")}}}
        found[name] = [scene.task for scene in scenes_of(validated(declared, "a")) if scene.name == "second task"]
    assert found == {"table": [], "pictures": ["shapes"]}
