"""Experiments: valid TOML files, and reports of their mistakes."""

from dataclasses import replace

import pytest

from lossearch.evaluators.tasks import TASKS
from lossearch.runs.declaration import ExperimentError
from lossearch.runs.experiment import load_experiment, validated
from lossearch.runs.named_loss import named_loss

MINIMAL = 'name = "x"\ntask = "digits"\n'


def loaded(tmp_path, text):
    path = tmp_path / "x.toml"
    path.write_text(text)
    return load_experiment(str(path))


def test_a_file_needs_only_name_and_task(tmp_path):
    experiment = loaded(tmp_path, MINIMAL)
    assert experiment.fidelity == TASKS[experiment.task].proxy
    assert "cross_entropy" in experiment.evolution.seeds


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (MINIMAL + "sed = 3", r"sed: unknown key; did you mean seed\?"),
        (MINIMAL + "[evolution]\npopulatoin = 3", r"evolution\.populatoin: unknown key; did you mean population"),
        (MINIMAL + "[fidelity]\nsteps = 0", r"fidelity\.steps: expected greater than or equal to 1, got 0"),
        (MINIMAL + '[fidelity]\nsteps = "many"', r"fidelity\.steps: expected integer, got 'many'"),
        (MINIMAL + "[evolution]\nmax_nodes = 20.5", r"evolution\.max_nodes: expected integer, got 20\.5"),
        ('name = "x"\ntask = "digit"', r"task: Unknown task 'digit'; did you mean digits"),
        ('task = "digits"', "name: expected a value, got none"),
        ('name = "../x"\ntask = "digits"', r"name: .*got '\.\./x'"),
        (MINIMAL + '[evolution]\nseeds = ["fokal"]', r"evolution\.seeds: Unknown loss 'fokal'; did you mean focal"),
        (MINIMAL + '[evolution]\noperators = ["expp"]', r"operators: unknown operator 'expp'; did you mean exp"),
        (MINIMAL + '[evolution]\nterminals = ["cosin"]', r"terminals: unknown terminal 'cosin'; did you mean cosine"),
        (MINIMAL + '[evolution]\nseeds = ["mse", "mse"]', "loss named twice"),
        (MINIMAL + "[evolution]\ninitial_depth = [5, 2]", "expected 0 <= least <= greatest"),
        (MINIMAL + '[executor]\nkind = "rai"', r"executor\.kind: expected 'ray' or 'inline', got 'rai'"),
        (
            MINIMAL + "[evolution]\nmax_nodes = 8",
            "evolution: seeds: focal has 12 nodes and 5 levels, more than max_nodes",
        ),
        (MINIMAL + "[evolution]\ncrossover = inf", r"evolution\.crossover: expected .*finite"),
        (
            MINIMAL + '[evolution]\noperators = ["add"]\nterminals = ["z"]',
            "random trees cannot see the target: add y to terminals",
        ),
        (
            MINIMAL + '[evolution]\nseeds = []\nterminals = ["y", "prior"]',
            "seeds: expected a loss to start from, since random trees cannot see a prediction",
        ),
        (MINIMAL + "[[[", r"x\.toml: expected TOML, got:.*line 3"),
        (MINIMAL + "evolution = 3", "evolution: expected"),
        ('name = "x"\ntask = 3', "x.toml: task: expected string or an array, got 3$"),
        (
            'name = "x"\ntask = ["digits", 3]',
            r"x.toml: task\[1\]: expected string, got 3$",
        ),
        (MINIMAL + "[executor]\ncohort_size = 1.5", r"executor\.cohort_size: expected 'auto' or integer, got 1\.5$"),
        (
            MINIMAL + '[fidelity]\nnetwork = "mlpp"',
            r"fidelity\.network: expected .* got 'mlpp'; did you mean mlp",
        ),
        ('name = "x"\ntask = "a"\n[data.a]\nfolder = 3', r"x.toml: data\.a\.folder: expected string, got 3"),
    ],
)
def test_a_mistake_is_named_with_file_key_and_allowed_values(tmp_path, text, message):
    with pytest.raises(ExperimentError, match=message) as error:
        loaded(tmp_path, text)
    assert "x.toml: " in str(error.value)
    assert "\n" not in str(error.value)


def test_all_mistakes_are_named_at_once(tmp_path):
    with pytest.raises(ExperimentError, match=r"evolution\.populaton: .*; sed: "):
        loaded(tmp_path, MINIMAL + "sed = 3\n[evolution]\npopulaton = 2")


def test_a_missing_file_is_refused_with_the_nearest_shipped_experiment():
    with pytest.raises(
        ExperimentError, match="no such file, and no shipped experiment of that name; did you mean digits"
    ):
        load_experiment("digit")


def test_seeds_are_known_losses_aliases_and_formulas(tmp_path):
    text = MINIMAL + '[evolution]\nseeds = ["cosface", "pedcc", "ce(z) + 0.5*mean_c(p)", "ce(cosine)"]'
    seeds = [named_loss(seed) for seed in loaded(tmp_path, text).evolution.seeds]
    assert [(seed.name, seed.class_weights) for seed in seeds] == [
        ("am_softmax", "learned"),
        ("pedcc", "pedcc"),
        (None, None),
        (None, "learned"),
    ]


@pytest.mark.parametrize(
    ("seed", "message"),
    [("ce(z", "Position 4 of the formula"), ("ce(z) + m", "unknown terminal or hyper-parameter 'm'")],
)
def test_a_seed_that_is_no_formula_is_refused_with_the_position(tmp_path, seed, message):
    with pytest.raises(ExperimentError, match=f"evolution.seeds: .*{message}"):
        loaded(tmp_path, MINIMAL + f'[evolution]\nseeds = ["{seed}"]')


def test_a_starting_loss_may_be_long_if_its_canonical_form_is_short(tmp_path):
    assert loaded(tmp_path, MINIMAL + '[evolution]\nseeds = ["taylor_glo"]').evolution.seeds == ("taylor_glo",)


def test_a_seed_replaces_the_declared_one():
    assert load_experiment("digits", seed=7).seed == 7


def test_a_network_for_images_is_refused_for_other_inputs(monkeypatch):
    monkeypatch.setitem(TASKS, "digits", replace(TASKS["digits"], shape=(64,)))
    declared = {"name": "x", "task": "digits", "fidelity": {"network": "cnn", "flip": True}}
    with pytest.raises(ExperimentError, match=r"flip and network = 'cnn' need images .* inputs of shape \[64\]"):
        validated(declared, "x.toml")
    assert validated(declared | {"fidelity": {"network": "mlp"}}, "x.toml").task == "digits"


@pytest.mark.parametrize("evolution", [{"seeds": ["cross_entropy", "am_softmax"]}, {"terminals": ["p", "y", "cosine"]}])
def test_terminals_that_the_task_lacks_are_refused_in_seeds_and_terminals(monkeypatch, evolution):
    monkeypatch.setitem(TASKS, "digits", replace(TASKS["digits"], gives=frozenset({"p", "y", "z"})))
    with pytest.raises(ExperimentError, match=r"looks at cosine, which the task digits cannot give; it gives p, y, z"):
        validated({"name": "x", "task": "digits", "evolution": evolution}, "x.toml")


@pytest.mark.parametrize("rungs", ["[200]", "[9, 3]", "[0]"])
def test_rungs_are_checked_with_an_example(tmp_path, rungs):
    (tmp_path / "x.toml").write_text(f'name = "x"\ntask = "digits"\n[fidelity]\nrungs = {rungs}\n')
    with pytest.raises(ExperimentError, match=r"fidelity: rungs: expected .* such as \[22, 66\], got"):
        load_experiment(str(tmp_path / "x.toml"))


def test_an_unknown_device_is_refused():
    with pytest.raises(ExperimentError, match=r"executor\.device: expected 'auto', 'cpu' or 'cuda', got 'tpu'"):
        validated({"name": "x", "task": "digits", "executor": {"device": "tpu"}}, "x.toml")
