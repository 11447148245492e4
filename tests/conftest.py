"""Settings and fixtures of all tests: threads, groups of tests that run in one worker, and a Ray that tests share."""

import os

#: Two workers share two cores, and so do all processes that tests start. Set before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Ray starts its workers with niceness 15. On a busy machine one of them would take minutes to start.
os.environ.setdefault("RAY_worker_niceness", "0")

from pathlib import Path

import pytest
from hypothesis import settings

from tests.long_cases import ALWAYS_LONG

# No test fails for its duration, which depends on the machine and its other work.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

ROOT = Path(__file__).parent

#: The longest groups, in the order in which they begin: a long group that begins last would prolong the whole run.
LONGEST = (
    "ray",
    "lossearch/engine/test_kills.py",
    "lossearch/engine/test_disks.py",
    "docs/test_guides.py",
    "primitives/modules/test_any_module.py",
    "lossearch/cli/test_cli.py",
    "lossearch/studies/test_explain.py",
    "lossearch/engine/test_launch.py",
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give every test a group, whose tests run in one worker: its file, or that of its mark. Begin with the longest.

    So a file's fixtures are made once. The group ``ray`` holds the tests that start a Ray: two Rays that
    start at once on one machine could want the same ports.
    """
    places = {group: place for place, group in enumerate(LONGEST)}
    groups, short, everything = {}, set(), set()
    for item in items:
        mark = item.get_closest_marker("xdist_group")
        groups[item] = mark.args[0] if mark is not None else item.path.relative_to(ROOT).as_posix()
        if mark is None:
            item.add_marker(pytest.mark.xdist_group(groups[item]))
        test = item.nodeid.partition("[")[0]
        everything.add(test)
        if item.get_closest_marker("long") is None:
            short.add(test)
    config.stash[ALWAYS_LONG] = everything - short
    items.sort(key=lambda item: places.get(groups[item], len(places)))


@pytest.fixture(autouse=True)
def patience(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let tests of Ray wait for its workers for as long as they take to start on a busy machine."""
    mark = request.node.get_closest_marker("xdist_group")
    if mark is not None and mark.args == ("ray",):
        from lossearch.evaluators.executors import ray_pool

        monkeypatch.setattr(ray_pool, "START_TIMEOUT", 1_800.0)


@pytest.fixture
def shared_ray():
    """A Ray on this machine, started by the first test that wants one and left running for the next."""
    import ray

    from lossearch.evaluators.executors.ray_cluster import connect
    from tests.clusters import start_patiently

    if not ray.is_initialized():
        start_patiently(lambda: connect(None))


@pytest.fixture
def no_ray():
    """End the shared Ray: the test starts or joins one of its own."""
    import ray

    ray.shutdown()
