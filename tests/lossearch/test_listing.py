"""lossearch.losses() and lossearch.tasks(): lists of plain data that show themselves as tables."""

import json

import lossearch
from lossearch.evaluators.tasks import TASKS
from lossearch.primitives.catalog import CATALOG


def test_lists_are_what_the_command_prints_as_json():
    losses, tasks = lossearch.losses(), lossearch.tasks()
    assert [loss["name"] for loss in losses] == list(CATALOG)
    assert [task["name"] for task in tasks] == list(TASKS)
    assert json.loads(json.dumps(losses)) == json.loads(json.dumps([loss.describe() for loss in CATALOG.values()]))
    focal = next(loss for loss in losses if loss["name"] == "focal")
    assert focal["hyperparameters"][0].keys() >= {"name", "default", "low", "high"}


def test_lists_show_themselves_as_tables():
    lines = repr(lossearch.losses()).splitlines()
    assert lines[0].split() == ["name", "formula", "origin"]
    assert any(line.startswith("cross_entropy ") and "ce(z)" in line for line in lines)
    assert "<td>digits</td>" in lossearch.tasks()._repr_html_()
