"""Clusters that cannot be joined: each is reported within seconds, with advice."""

import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from lossearch.evaluators.executors.cluster_address import (
    CONNECT_TIMEOUT,
    ClusterUnreachable,
    job_address,
    require_answer,
)
from lossearch.evaluators.executors.ray_cluster import ADMISSION_TIMEOUT
from tests.clusters import wait_until
from tests.long_cases import long_unless

pytestmark = pytest.mark.xdist_group("ray")

STARTED = """
import os, sys, time
{before}
import ray
{between}
context = ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False,
                   object_store_memory=100_000_000)
print(context.address_info["address"], flush=True)
time.sleep(10_000)
"""

#: Seconds for which Ray itself tries to join a cluster that refuses it. Our report must come earlier.
RAYS_OWN_PATIENCE = 800

JOINING = """
import sys
from lossearch.evaluators.executors.cluster_address import ClusterUnreachable
from lossearch.evaluators.executors.ray_executor import RayExecutor
try:
    pool = RayExecutor(sys.argv[1])
    while not pool._pool.idle:
        pool.advance(0.5)
    print("joined")
except ClusterUnreachable as error:
    print(error)
"""


ALONE_BEFORE = """
import os
from ray._private import ray_constants
before = ray_constants.ENABLE_RAY_CLUSTER, ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR in os.environ
from lossearch.evaluators.executors.ray_executor import RayExecutor
RayExecutor(workers=1).close()
assert before == (ray_constants.ENABLE_RAY_CLUSTER, ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR in os.environ)
"""


@pytest.fixture
def listening():
    """Function that listens on a port with a given answer, and returns the address."""
    servers = []

    def listen(answer):
        server = socket.create_server(("127.0.0.1", 0))
        servers.append(server)

        def serve():
            try:
                connection, _ = server.accept()
                with connection:
                    if answer is None:
                        time.sleep(30.0)
                    else:
                        connection.recv(100)
                        connection.sendall(answer)
            except OSError:
                return

        threading.Thread(target=serve, daemon=True).start()
        return f"127.0.0.1:{server.getsockname()[1]}"

    yield listen
    for listener in servers:
        listener.close()


def test_an_address_of_another_service_is_recognised(listening):
    with pytest.raises(ClusterUnreachable, match=r"something other than Ray answers there.*not the dashboard's"):
        require_answer(listening(b"HTTP/1.1 400 Bad Request\r\n\r\n"))


def test_a_silent_address_is_given_up_soon(listening, monkeypatch):
    monkeypatch.setattr("lossearch.evaluators.executors.cluster_address.CONNECT_TIMEOUT", 0.5)
    started = time.monotonic()
    with pytest.raises(ClusterUnreachable, match="no answer within"):
        require_answer(listening(None))
    assert time.monotonic() - started < 10.0


@contextmanager
def cluster(before="", between="", **environment):
    """Start a Ray in another process and yield its address."""
    words = [sys.executable, "-c", STARTED.format(before=before, between=between)]
    process = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=without_ray() | environment
    )
    try:
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def without_ray():
    """Return the environment without the variables that a Ray of an earlier test left."""
    return {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}


def joined(address, folder, before="", **environment):
    """Join a cluster from a new process in a folder. Return its output."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", before + JOINING, address],
        capture_output=True,
        text=True,
        timeout=RAYS_OWN_PATIENCE,
        cwd=folder,
        env=without_ray() | environment,
    )
    return done.stdout + done.stderr


def test_a_cluster_has_less_than_half_a_minute_to_answer():
    assert CONNECT_TIMEOUT + ADMISSION_TIMEOUT < 30.0


def test_another_version_of_ray_is_named_with_both(tmp_path):
    with cluster(between="ray.__version__ = '2.9.9'", RAY_AUTH_MODE="disabled") as address:
        message = joined(address, tmp_path)
    assert "Version mismatch" in message
    assert "2.9.9" in message
    assert "install the same versions" in message


def test_a_wrong_token_is_reported(tmp_path):
    with cluster() as address:
        message = joined(address, tmp_path, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN="0" * 64)
    assert "token" in message
    assert "RAY_AUTH_TOKEN as on its head" in message


def test_auto_uses_the_token_that_ray_start_left_on_this_machine(tmp_path):
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("7" * 64)
    program = (
        "import os; from lossearch.evaluators.executors import ray_cluster\n"
        "ray_cluster._use_token_of_this_machine(); print(os.environ.get('RAY_AUTH_MODE'))"
    )
    for home, mode in ((tmp_path, "token"), (tmp_path / "other", "None")):
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, env=without_ray() | {"HOME": str(home)}
        )
        assert done.stdout.split() == [mode], done.stderr


@pytest.mark.long
def test_a_cluster_is_joined_with_its_token(tmp_path):
    with_token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "7" * 64}
    with cluster(**with_token) as address:
        assert joined(address, tmp_path, **with_token) == "joined\n"


@pytest.mark.long
def test_a_process_that_had_a_ray_of_its_own_may_join_a_cluster(tmp_path):
    with cluster(RAY_AUTH_MODE="disabled") as address:
        assert joined(address, tmp_path, ALONE_BEFORE, RAY_AUTH_MODE="disabled") == "joined\n"


@pytest.mark.long
def test_a_worker_without_the_package_is_reported(tmp_path):
    (tmp_path / "lossearch.py").write_text("raise ModuleNotFoundError(\"No module named 'lossearch'\")")
    (tmp_path / "elsewhere").mkdir()
    with cluster(PYTHONPATH=str(tmp_path), RAY_AUTH_MODE="disabled") as address:
        message = joined(address, tmp_path / "elsewhere")
    assert "A worker could not start" in message
    assert "No module named 'lossearch'" in message
    assert "install" in message.lower()


@pytest.mark.parametrize(
    ("job", "address"),
    [
        ('{"metadata": {"job_submission_id": "raysubmit_1"}}', "auto"),
        ('{"metadata": {}}', None),
        ("", None),
        ("[]", None),
        ("null", None),
    ],
)
def test_a_ray_job_uses_its_cluster(monkeypatch, job, address):
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", job)
    assert job_address() == address
    monkeypatch.delenv("RAY_JOB_CONFIG_JSON_ENV_VAR")
    assert job_address() is None


STARTS = {
    "ray is imported last": ("-m", "lossearch"),
    "ray is imported first": ("-c", "import ray, lossearch.cli.app; lossearch.cli.app.main()"),
}


@pytest.mark.long
@pytest.mark.parametrize("start", long_unless(STARTS, ("ray is imported first",)))
def test_a_local_search_listens_only_locally(tmp_path, start):
    """While a search runs, no process of its Ray is bound to an address that others reach."""
    words = [sys.executable, *STARTS[start], "search", "digits", "--run-dir", str(tmp_path / "run")]
    search = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=without_ray())
    try:
        log = tmp_path / "run" / "log.jsonl"
        wait_until(lambda: log.exists() and "has started" in log.read_text())
        time.sleep(3.0)  # workers have begun
        ports = open_ports(descendants(search.pid))
    finally:
        search.terminate()
        search.wait()
    assert len(ports) > 3  # the head, the node and their workers do listen
    assert not {address for address, _ in ports if address not in ("0100007F", LOOPBACK_6, MAPPED_LOOPBACK)}


LOOPBACK_6 = "00000000000000000000000001000000"
MAPPED_LOOPBACK = "0000000000000000FFFF00000100007F"


def descendants(pid):
    """Return a process and all of its descendants."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    family = {pid}
    while more := {child for child, parent in parents.items() if parent in family} - family:
        family |= more
    return family


def open_ports(pids):
    """Return addresses and ports that processes listen on, as the kernel writes them."""
    sockets = set()
    for path in (link for pid in pids for link in Path(f"/proc/{pid}/fd").glob("*")):
        with suppress(OSError):
            sockets.add(os.readlink(path))
    ports = set()
    for name in ("/proc/net/tcp", "/proc/net/tcp6"):
        with open(name) as lines:
            rows = [line.split() for line in lines][1:]
        ports |= {tuple(row[1].split(":")) for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in sockets}
    return ports
