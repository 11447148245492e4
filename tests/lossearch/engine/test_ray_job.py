"""A search as a Ray job: submitted to a cluster, stopped, and submitted again."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time

import pytest

from lossearch.engine.launch import search
from lossearch.runs.experiment import load_experiment
from tests.clusters import wait_until
from tests.lossearch.small import TOML, records

pytestmark = pytest.mark.xdist_group("ray")

RAY = (sys.executable, "-m", "ray.scripts.scripts")


@pytest.fixture
def head():
    """Address for jobs of a cluster on this machine.

    Ray tells a job the cluster that was last started in the head's temporary folder. Other tests start theirs in the
    usual one, so this head has its own, whose short path leaves room for the names of sockets.
    """
    port, jobs, agent = free_port(), free_port(), free_port()
    words = [*RAY, "start", "--head", "--block", "--num-cpus", "2", "--port", str(port)]
    words += ["--dashboard-host", "127.0.0.1", "--dashboard-port", str(jobs), "--object-store-memory", "100000000"]
    words += ["--dashboard-agent-listen-port", str(agent)]  # another Ray on this machine has the usual one
    with tempfile.TemporaryDirectory(dir="/tmp", ignore_cleanup_errors=True) as folder:
        process = subprocess.Popen(
            [*words, "--temp-dir", folder], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment()
        )
        try:
            wait_until(lambda: answers(jobs))
            yield f"http://127.0.0.1:{jobs}"
        finally:
            process.terminate()
            process.wait()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def answers(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1.0).close()
    except OSError:
        return False
    return True


def environment():
    """Return the environment without variables of an earlier Ray and without tokens."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    return kept | {"RAY_AUTH_MODE": "disabled", "PYTHONWARNINGS": "default"}


def job(head, *words):
    done = subprocess.run(
        [*RAY, "job", *words], capture_output=True, text=True, timeout=1_800, env=environment() | {"RAY_ADDRESS": head}
    )
    return done.returncode, done.stdout + done.stderr


def submit_first(head, words):
    """Submit a job to a head that answers, but may not take jobs yet."""
    end = time.monotonic() + 600
    code, said = job(head, "submit", "--no-wait", "--submission-id", "first", "--", *words)
    while "No available agent" in said and time.monotonic() < end:
        time.sleep(1.0)
        code, said = job(head, "submit", "--no-wait", "--submission-id", "first", "--", *words)
    assert code == 0, said


def events(run):
    log = run / "log.jsonl"
    return [json.loads(line)["event"] for line in log.read_text().splitlines()] if log.exists() else []


@pytest.mark.long
def test_a_stopped_and_resubmitted_job_equals_a_local_search(tmp_path, head):
    file, run = tmp_path / "small.toml", tmp_path / "run"
    file.write_text(TOML.replace('kind = "inline"', 'kind = "ray"'))
    words = [sys.executable, "-m", "lossearch", "search", str(file), "--run-dir", str(run)]
    submit_first(head, words)
    wait_until(lambda: "generation" in events(run) or "FAILED" in job(head, "status", "first")[1])
    assert "generation" in events(run), job(head, "logs", "first")[1]
    code, said = job(head, "stop", "first")
    assert code == 0, said
    assert events(run)[-1] in ("interrupted", "ended")
    code, said = job(head, "submit", "--submission-id", "second", "--", *words, "--resume")
    assert code == 0, said
    assert "succeeded" in said
    assert events(run)[-1] == "ended"
    inline = search(load_experiment(str(file)), run_dir=tmp_path / "inline", executor="inline")
    assert records(run) == records(inline.path)
