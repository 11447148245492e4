"""Searches on failing clusters finish with the same leaderboard."""

import ctypes
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest

from lossearch.engine.launch import search
from lossearch.evaluators.executors import ray_pool
from lossearch.evaluators.executors.ray_worker import Worker
from lossearch.results.leaderboard import Leaderboard
from tests.clusters import blocked_worker, hurry_only, several_nodes
from tests.long_cases import long_unless
from tests.lossearch.small import SMALL, finished_run, records

pytestmark = pytest.mark.xdist_group("ray")


class PoisonedWorker(Worker):
    """Crashes or sleeps for ever at certain formulas."""

    def evaluate(self, work, *more):
        formulas = [candidate.formula for candidate in work.candidates]
        if any("tanh" in formula for formula in formulas):
            ctypes.string_at(0)
        if any("sin" in formula for formula in formulas):
            time.sleep(1_000.0)
        return super().evaluate(work, *more)


@pytest.fixture(scope="module")
def head():
    with several_nodes() as made:
        yield made


@pytest.fixture
def cluster(head):
    """Cluster with only a head, which has no core. Tests share the head and add nodes."""
    yield head
    head.clear()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return finished_run(tmp_path_factory.mktemp("runs") / "undisturbed")


@pytest.mark.long
@pytest.mark.parametrize("mode", long_unless(["generational", "steady"], ("generational",)))
def test_a_node_that_vanishes_during_a_search_costs_no_result(cluster, tmp_path, monkeypatch, undisturbed, mode):
    mark, path = tmp_path / "at work", tmp_path / "run"
    monkeypatch.setattr(ray_pool, "Worker", blocked_worker(mark))
    doomed = cluster.add(DOOMED="1")
    cluster.add()

    over = threading.Event()

    def kill():
        while not over.wait(0.05):
            if mark.exists():
                cluster.kill(doomed)
                return

    killing = threading.Thread(target=kill)
    killing.start()
    experiment = SMALL.model_copy(update={"evolution": SMALL.evolution.model_copy(update={"mode": mode})})
    try:
        search(experiment, run_dir=path, executor="ray")
    finally:
        over.set()
        killing.join()
    assert "is gone" in (path / "log.jsonl").read_text()
    if mode == "generational":
        assert records(path) == records(undisturbed.path)
    else:
        trained = [evaluation for evaluation in Leaderboard(path).evaluations if evaluation.seed is not None]
        assert not any("worker" in (evaluation.reason or "") for evaluation in trained)  # failures are the losses' own
        ids = [evaluation.evaluation_id for evaluation in trained]
        assert len(set(ids)) == len(ids)
        wanted = SMALL.evolution.population * SMALL.evolution.generations
        assert len({evaluation.birth_number for evaluation in trained}) == wanted


@pytest.mark.long
def test_candidates_that_crash_or_hang_fail_and_the_others_are_kept(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(ray_pool, "Worker", PoisonedWorker)
    hurry_only(monkeypatch, lambda formula: "sin" in formula)
    cluster.add(cores=2)
    seeds = ("cross_entropy", "mse", "ce(z) + 0.1*mean_c(tanh(p))", "ce(z) + 0.1*mean_c(sin(p))")
    evolution = SMALL.evolution.model_copy(update={"seeds": seeds, "generations": 1, "population": 4})
    executor = SMALL.executor.model_copy(update={"deadline": 4.0})
    experiment = SMALL.model_copy(update={"evolution": evolution, "executor": executor})
    search(experiment, run_dir=tmp_path / "poisoned", executor="ray")
    reasons = {row.formula: row.reason for row in Leaderboard(tmp_path / "poisoned").rows if row.status == "failed"}
    assert reasons.keys() == {"ce(z) + 0.1*mean_c(tanh(p))", "ce(z) + 0.1*mean_c(sin(p))"}
    assert reasons["ce(z) + 0.1*mean_c(tanh(p))"].startswith("killed its worker twice")
    assert reasons["ce(z) + 0.1*mean_c(sin(p))"] == "stopped: not done within 4 s"
    healthy = search(experiment, run_dir=tmp_path / "healthy", executor="inline")
    assert without_failures(tmp_path / "poisoned", reasons) == without_failures(healthy.path, reasons)
    search(experiment, run_dir=tmp_path / "poisoned", executor="ray", resume=True)
    assert len({evaluation.evaluation_id for evaluation in records(tmp_path / "poisoned")}) == len(
        records(tmp_path / "poisoned")
    )


def without_failures(path, formulas):
    return [replace(evaluation, parents=()) for evaluation in records(path) if evaluation.formula not in formulas]


MEMORY_EATER = """
import os
import sys

GIB = 2**30
facts = dict(line.split(":") for line in open("/proc/meminfo"))
total, free = (1024 * int(facts[name].split()[0]) for name in ("MemTotal", "MemAvailable"))
os.environ["RAY_memory_usage_threshold"] = str((total - free + 2 * GIB) / total)
os.environ["RAY_memory_monitor_refresh_ms"] = "100"

import ray
from lossearch.evaluators.executors import ray_pool
from lossearch.evaluators.settings import TrainingSettings
from lossearch.evaluators.executors.ray_executor import RayExecutor
from lossearch.evaluators.executors.ray_worker import Worker
from lossearch.evaluators.work import Candidate, Work


class Hungry(Worker):
    def evaluate(self, work, *more):
        eaten = []
        while any(candidate.formula == "p" for candidate in work.candidates) and len(eaten) < 80:  # 5 GiB at most
            eaten.append(b"x" * 2**26)
        assert not eaten, "nobody stopped it"
        return super().evaluate(work, *more)


ray_pool.Worker = Hungry
ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False, object_store_memory=100_000_000)
pool = RayExecutor()
candidates = tuple(Candidate(f"id{len(text)}", text, 2, 0, "known", 1) for text in ("ce(z)", "p"))
ate_not, ate = pool.submit(Work(candidates, "digits", TrainingSettings(steps=5, seeds=1), 0)).result()
assert ate_not.status == "evaluated", ate_not
print(ate.reason)
pool.close()
ray.shutdown()
"""


@pytest.mark.long
def test_a_candidate_that_exhausts_memory_fails_alone():
    done = subprocess.run([sys.executable, "-c", MEMORY_EATER], capture_output=True, text=True, timeout=1_800)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == "killed its worker 4 times: the memory of its machine ran out"
