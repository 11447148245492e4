import pytest

from lossearch.primitives.batched.joint_program import Builder, mark_needed
from lossearch.primitives.batched.scheduling import schedule
from lossearch.primitives.catalog import CATALOG


def nodes():
    builder = Builder()
    mark_needed(builder.nodes, [builder.add(loss.bound(), index) for index, loss in enumerate(CATALOG.values())])
    return [node for node in builder.nodes if node.needs_value or node.has_gradient], builder.nodes


@pytest.mark.parametrize("patient", [False, True])
def test_every_node_is_in_one_group_after_its_arguments(patient):
    live, everyone = nodes()
    groups = schedule(everyone, lambda node: node.function, patient=patient)
    done = set()
    for group in groups:
        for index in group:
            inner = {argument.index for argument in everyone[index].arguments if argument.source == "node"}
            assert {node for node in inner if everyone[node] in live} <= done
        done |= set(group)
    assert sum(map(len, groups)) == len(done) == len(live)
    assert all(len({everyone[index].function for index in group}) == 1 for group in groups)


def test_patience_finds_fewer_groups():
    _, everyone = nodes()
    counts = [len(schedule(everyone, lambda node: node.function, patient=patient)) for patient in (False, True)]
    assert counts[1] < counts[0]
