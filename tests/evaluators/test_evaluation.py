"""Work is refused, split or trained one at a time, with a note, as candidates, network and memory require."""

import weakref
from dataclasses import replace

import pytest
import torch

from lossearch.evaluators import evaluation as evaluation_module
from lossearch.evaluators.cohort import cohort as cohort_module
from lossearch.evaluators.cohort import memory
from lossearch.evaluators.cohort.cohort import Cohort
from lossearch.evaluators.cohort.memory import free_bytes, read_free_in_control_group
from lossearch.evaluators.cohort.networks import BATCHED
from lossearch.evaluators.evaluation import evaluate
from lossearch.evaluators.networks import DENSE
from lossearch.evaluators.networks.registry import NETWORKS
from lossearch.evaluators.settings import TrainingSettings
from lossearch.evaluators.tasks import TASKS, known_task
from lossearch.evaluators.training.plan import TrainingPlan
from lossearch.evaluators.work import Candidate, Work
from lossearch.primitives.language.parser import parse
from tests.evaluators.loss_ids import loss_id

FIDELITY = TrainingSettings(steps=10, seeds=2)
TEXTS = ("ce(z)", "square(p - y)", "ce(z) + 0.1*mean_c(p)", "at_target(1 - p)")


def work(texts=TEXTS, fidelity=FIDELITY, **options):
    candidates = tuple(Candidate(loss_id(text), text, 2, 0, "known", 1) for text in texts)
    return Work(candidates, "digits", fidelity, 0, device="cpu", **options)


def values(result):
    return [
        (evaluation.evaluation_id, evaluation.status, evaluation.fitness, evaluation.calibration)
        for evaluation in result.evaluations
    ]


def test_a_cohort_larger_than_memory_is_split_with_a_note(monkeypatch):
    plain = evaluate(work())
    formulas = [parse(text) for text in TEXTS]
    bytes_of_one = Cohort(TrainingPlan(formulas[:1], None, known_task("digits"), FIDELITY, [0, 1])).estimate_bytes()
    monkeypatch.setattr(evaluation_module, "free_bytes", lambda device, sharers: int(2.5 * bytes_of_one))
    split = evaluate(work())
    assert values(split) == values(plain)
    assert plain.notes == []
    assert len(split.notes) == 1
    assert split.notes[0].startswith("a cohort of 4 needs 0.00 GiB, 0.00 GiB are free: split")


def test_the_metric_alone_equals_the_metric_among_all_measures():
    everything = evaluate(work((*TEXTS, "mean_c(y)"), measured="validation"))
    alone = evaluate(work((*TEXTS, "mean_c(y)"), measured="validation", metric_alone=True))
    metric = [measurement for measurement in everything.measurements if measurement.measure == "accuracy"]
    reported = [
        (measurement.measurement_id, measurement.value, measurement.reason, measurement.calibration)
        for measurement in alone.measurements
    ]
    assert reported == [
        (measurement.measurement_id, pytest.approx(measurement.value), measurement.reason, measurement.calibration)
        for measurement in metric
    ]
    assert len(everything.measurements) > len(metric) == 2 * 5
    assert metric[-1].value is None


def test_a_single_candidate_is_trained_regardless_of_memory(monkeypatch):
    monkeypatch.setattr(evaluation_module, "free_bytes", lambda device, sharers: 0)
    assert {evaluation.status for evaluation in evaluate(work()).evaluations} == {"evaluated"}


@pytest.mark.parametrize("network", [name for name, network in NETWORKS.items() if network in BATCHED])
def test_the_estimated_memory_grows_with_the_cohort_and_covers_what_it_holds(network):
    def needed(candidates, **settings):
        fidelity = FIDELITY.model_copy(update={"network": network, **settings})
        task = known_task("shapes_segmentation" if network in DENSE else "digits")
        return Cohort(TrainingPlan([parse("ce(z)")] * candidates, None, task, fidelity, [0, 1]))

    small, large, wide = needed(8), needed(64), needed(8, batch_size=256)
    assert 7.0 < large.estimate_bytes() / small.estimate_bytes() < 9.0
    assert wide.estimate_bytes() > 1.5 * small.estimate_bytes()
    large._start()
    held = [*large.members._parameters, *(tensor for kept in large.members._kept for tensor in kept)]
    assert large.estimate_bytes() > 2 * sum(tensor.untyped_storage().nbytes() for tensor in held)


def test_an_out_of_memory_error_halves_the_cohort(monkeypatch):
    train = Cohort.train_and_score

    def greedy(cohort, until):
        if len(cohort.plan.formulas) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")
        return train(cohort, until)

    plain = evaluate(work())
    monkeypatch.setattr(Cohort, "train_and_score", greedy)
    split = evaluate(work())
    assert values(split) == values(plain)
    assert split.notes[0] == (
        "a cohort of 4 could not be trained, OutOfMemoryError: CUDA out of memory. Tried to allocate 9 GiB: split"
    )


def test_a_network_without_a_batched_form_is_noted_and_trained_one_at_a_time(monkeypatch):
    fidelity = FIDELITY.model_copy(update={"rungs": (5,)})
    at_a_rung = evaluate(work(fidelity=fidelity, stage=5))
    together = evaluate(work(fidelity=fidelity), at_a_rung.states)
    monkeypatch.setattr(cohort_module, "BATCHED", {})
    first = evaluate(work(fidelity=fidelity, stage=5))
    alone = evaluate(work(fidelity=fidelity), first.states)
    assert alone.notes == ["the network mlp (Perceptron) has no batched form: candidates are trained one at a time"]
    assert [evaluation.evaluation_id for evaluation in alone.evaluations] == [
        evaluation.evaluation_id for evaluation in together.evaluations
    ]
    for ours, theirs in zip(alone.evaluations, together.evaluations, strict=True):
        assert ours.fitness == pytest.approx(theirs.fitness, abs=1 / 450 + 1e-9)
        assert ours.calibration == pytest.approx(theirs.calibration, rel=1e-4)


def test_a_formula_over_a_terminal_that_the_task_lacks_is_refused_before_training(monkeypatch):
    dense = replace(TASKS["digits"], gives=frozenset({"p", "y", "z"}))
    monkeypatch.setitem(TASKS, "digits", dense)
    monkeypatch.setattr(Cohort, "_start", lambda cohort: pytest.fail("trained"))
    (refused,) = evaluate(work(["ce(16*cosine)"])).evaluations
    assert (refused.status, refused.fitness) == ("failed", None)
    assert refused.reason == "ce(16*cosine) looks at cosine, which the task digits cannot give; it gives p, y, z."


def test_only_candidates_that_did_not_fail_leave_states_and_only_at_rungs():
    fidelity = FIDELITY.model_copy(update={"rungs": (5,)})
    result = evaluate(work(["ce(z)", "sum_c(y)"], fidelity, stage=5))
    assert [evaluation.status for evaluation in result.evaluations] == ["evaluated", "evaluated", "failed"]
    assert result.states.keys() == {loss_id("ce(z)")}
    assert evaluate(work(fidelity=fidelity)).states == {}


def test_candidates_with_and_without_a_state_are_trained_side_by_side():
    fidelity = FIDELITY.model_copy(update={"rungs": (5,)})
    half = evaluate(work(TEXTS[:2], fidelity, stage=5)).states
    assert values(evaluate(work(fidelity=fidelity), half)) == values(evaluate(work(fidelity=fidelity)))


def test_a_cohort_that_failed_is_freed_before_its_halves_are_trained(monkeypatch):
    train, alive = Cohort.train_and_score, weakref.WeakSet()

    def greedy(cohort, until):
        assert not alive
        alive.add(cohort)
        if len(cohort.plan.formulas) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return train(cohort, until)

    monkeypatch.setattr(Cohort, "train_and_score", greedy)
    assert {evaluation.status for evaluation in evaluate(work()).evaluations} == {"evaluated"}


def test_free_memory_is_shared_among_workers_and_limited_by_the_container(monkeypatch):
    cpu = torch.device("cpu")
    alone = free_bytes(cpu)
    assert 0 < free_bytes(cpu, 4) < alone
    monkeypatch.setattr(memory, "read_free_in_control_group", lambda: 1_000)
    assert free_bytes(cpu, 2) == int(memory.USABLE * 500)


def test_the_limit_of_a_container_is_read_in_both_versions_of_control_groups(tmp_path):
    assert read_free_in_control_group(tmp_path) == memory.UNLIMITED
    first = tmp_path / "memory"
    first.mkdir()
    for name, text in (("limit_in_bytes", "1000"), ("usage_in_bytes", "700")):
        (first / f"memory.{name}").write_text(text + "\n")
    (first / "memory.stat").write_text("inactive_file 1\ntotal_inactive_file 50\n")
    assert read_free_in_control_group(tmp_path) == 350
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("5\n")
    assert read_free_in_control_group(tmp_path) == 350
    (tmp_path / "memory.max").write_text("105\n")
    (tmp_path / "memory.stat").write_text("inactive_file 7\n")
    assert read_free_in_control_group(tmp_path) == 107
