"""Run a small search repeatedly and die in each run: before a call that writes to disk, or at a random moment.

It runs in a process of its own, which has imported everything and computed nothing, so that it can be forked.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

from lossearch.engine.launch import search
from lossearch.runs.experiment import validated

TINY = validated(
    {
        "name": "tiny",
        "task": "digits",
        "seed": 5,
        "fidelity": {"steps": 6, "seeds": 1, "hidden": 8, "rungs": [2]},
        "evolution": {"population": 3, "generations": 2, "seeds": ["cross_entropy", "am_softmax"]},
        "executor": {"kind": "inline", "cohort_size": 2},
    },
    "tiny",
)

STEADY = TINY.model_copy(update={"evolution": TINY.evolution.model_copy(update={"mode": "steady"})})

#: Calls that make a change permanent. A death before each of them covers a death after the previous one.
LASTING = ("fsync", "replace", "unlink")


def dies_at(step):
    """Let the process die before a call that makes a change permanent, given by its number from 0."""
    calls_left = [step]

    def dying(function):
        def call(*arguments, **options):
            if calls_left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            calls_left[0] -= 1
            return function(*arguments, **options)

        return call

    for name in LASTING:
        setattr(os, name, dying(getattr(os, name)))


def forked(work):
    """Run work in a forked child, and return its process id."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            work()
            status = 0
        finally:
            os._exit(status)
    return child


def started(experiment, path, dying=None):
    def work():
        if dying is not None:
            dies_at(dying)
        search(experiment, run_dir=path, resume=(path / "experiment.toml").exists())

    return forked(work)


def ended(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def at_every_step(experiment, root, stride):
    """Die once before every permanent change, or every `stride`-th, each time in a new run, until a run ends."""
    step = 0
    while ended(started(experiment, root / f"step{step}", step)) != 0:
        step += stride
    return [root / f"step{number}" for number in range(0, step, stride)]


def at_random_moments(experiment, root, count, generator):
    """Kill runs at random moments, ``count`` times in all. Start a new run after six kills, or when one ends."""
    runs, num_killed = [], 0
    while num_killed < count:
        path = root / f"random{len(runs)}"
        runs.append(path)
        for _ in range(6):
            child = started(experiment, path)
            time.sleep(generator.uniform(0.0, 0.5))
            os.kill(child, signal.SIGKILL)
            if ended(child) != -signal.SIGKILL:
                break
            num_killed += 1
    return runs


def main():
    root, mode, kind, number = Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
    experiment = STEADY if mode == "steady" else TINY
    if kind == "steps":
        runs = at_every_step(experiment, root, number)
    else:
        runs = at_random_moments(experiment, root, number, random.Random(7))
    unfinished = [path for path in runs if ended(started(experiment, path)) != 0]
    print(len(runs), *(path.name for path in unfinished))


if __name__ == "__main__":
    main()
