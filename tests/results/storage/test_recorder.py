"""Ctrl-C at every line that records or saves: no record is lost or written twice."""

import sys
from pathlib import Path

from lossearch import results
from lossearch.results.records import Evaluation
from lossearch.results.storage.recorder import Recorder
from lossearch.results.storage.store import EvaluationStore
from lossearch.results.storage.tables import read_records
from tests.results.helpers import evaluation

WATCHED = {str(Path(results.__file__).parent / "storage" / name) for name in ("recorder.py", "store.py", "atomic.py")}


def interrupt_at(line, action):
    """Interrupt an action before it runs line number ``line`` of the watched files. Return True if it came so far."""
    left = [line]

    def watch(frame, event, argument):
        if frame.f_code.co_filename not in WATCHED:
            return None
        if event == "line":
            left[0] -= 1
            if left[0] < 0:
                sys.settrace(None)
                raise KeyboardInterrupt
        return watch

    before = sys.gettrace()
    sys.settrace(watch)
    try:
        action()
        return False
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)


def read_identities(path):
    parts = [read_records(part, Evaluation) for part in sorted(path.glob("*.parquet"))]
    return [evaluation.evaluation_id for part in parts for evaluation in part]


def test_an_interruption_at_any_line_loses_nothing_and_writes_nothing_twice(tmp_path):
    first, second = (evaluation(evaluation_id=name) for name in ("a", "b"))
    line, lost, struck = 0, 0, True
    while struck:
        path = tmp_path / str(line)
        recorder = Recorder(EvaluationStore(path), lambda evaluation: evaluation.evaluation_id)
        recorder.record([first])
        recorder.save()

        def record_and_save(recorder=recorder):
            recorder.record([second])
            recorder.save()

        struck = interrupt_at(line, record_and_save)
        recorder.save()
        identities = read_identities(path)
        assert identities == sorted(set(identities))
        assert set(identities) >= {"a", *recorder.recorded}
        lost += "b" not in identities
        line += 1
    assert line > 20
    assert lost < 6  # interrupted before it was recorded
