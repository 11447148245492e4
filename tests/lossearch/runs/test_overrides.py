"""A search declared or changed by keyword arguments: keys of the file, with or without their table."""

import numpy as np
import pytest

from lossearch.engine.launch import _declared
from lossearch.evaluators.data.data_home import DataMissing
from lossearch.primitives.errors import UserError
from lossearch.runs.declaration import ExperimentError
from lossearch.studies.explain import _plan
from lossearch.studies.fidelity import fidelity
from tests.evaluators.small_images import write_folder


@pytest.fixture
def arrays(tmp_path):
    inputs = np.random.default_rng(0).normal(size=(48, 5)).astype(np.float32)
    np.savez(tmp_path / "wines 2.npz", inputs=inputs, targets=np.arange(48) % 3)
    return tmp_path / "wines 2.npz"


def test_flat_keys_declare_a_search():
    losses = ["cross_entropy", "focal"]
    search = _declared(None, {"task": "digits", "population": 6, "generations": 2, "seeds": losses, "steps": 30})
    assert (search.name, search.task, search.evolution.seeds) == ("search", "digits", tuple(losses))
    assert (search.evolution.population, search.evolution.generations, search.fidelity.steps) == (6, 2, 30)


def test_flat_keys_and_tables_mean_the_same():
    flat = {"population": 20, "seeds": 3, "network": "cnn", "workers": 2}
    tables = {"evolution": {"population": 20}, "fidelity": {"seeds": 3, "network": "cnn"}, "executor": {"workers": 2}}
    assert _declared("digits", flat) == _declared("digits", tables)
    assert _declared("digits", flat).evolution.generations == _declared("digits", {}).evolution.generations


def test_a_declared_experiment_is_changed_in_the_same_way():
    declared = _declared("digits", {})
    assert _declared(declared, {"population": 20, "seed": 5}) == _declared("digits", {"population": 20, "seed": 5})
    assert _declared(declared, {"seed": None}) is declared


def test_a_training_setting_applies_to_every_task():
    tasks = ["digits", "digits_noisy"]
    search = _declared(None, {"task": tasks, "fidelity_of": {name: {"seeds": 1} for name in tasks}})
    assert {_declared(search, {"steps": 7}).training_on(name).steps for name in tasks} == {7}


def test_a_task_may_be_a_path(arrays, tmp_path):
    search = _declared("digits", {"task": arrays, "fidelity": {"steps": 5}})
    assert (search.task, search.task_named("wines_2").classes) == ("wines_2", 3)
    folder = write_folder(tmp_path / "photos", ("cats", "dogs"), each=12)
    both = _declared(None, {"task": [str(arrays), "digits"], "steps": 5})
    assert both.tasks == ("wines_2", "digits")
    assert _declared(search, {"task": str(folder)}).data.keys() == {"photos"}


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"populaton": 20}, "populaton: unknown key of a search; did you mean population"),
        ({"tasks": ["digits"]}, "tasks: unknown key of a search; did you mean task"),
        ({"population": 20, "evolution": {"population": 10}}, "population: expected it once"),
        ({"evolution": {"populaton": 20}}, "evolution.populaton: unknown key; did you mean population"),
        ({"population": 20, "evolution": 3}, "evolution: expected a dictionary"),
        ({"task": "digitz"}, "Unknown task 'digitz'; did you mean digits"),
        ({"network": "resnet", "task": "digits", "steps": "many"}, "fidelity.steps: expected"),
    ],
)
def test_a_bad_override_is_refused_with_what_to_do(overrides, said):
    with pytest.raises((UserError, ExperimentError, DataMissing), match=said):
        _declared("digits", overrides)


def test_a_path_is_a_task_of_an_explanation_and_of_a_fidelity_study(arrays, monkeypatch, tmp_path):
    plan, folder = _plan("focal", 1, arrays, 2, tmp_path)
    assert (plan.tasks, plan.data["wines_2"].arrays, folder) == (("wines_2",), str(arrays), tmp_path)

    def stop(plan, tasks):
        raise UserError(f"{plan.tasks} of {plan.task_named('wines_2').classes} classes")

    monkeypatch.setattr("lossearch.studies.fidelity.require_data", stop)
    with pytest.raises(UserError, match=r"\('wines_2', 'digits'\) of 3 classes"):
        fidelity([arrays, "digits"], candidates=10, seeds=1, executor="inline")
