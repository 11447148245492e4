import pytest

from lossearch.runs.declaration import ExperimentError
from lossearch.runs.experiment import validated
from lossearch.studies.comparison import load_comparison, validated_comparison

PLAIN = {"name": "mine", "tasks": ["digits"], "losses": ["cross_entropy", "focal"]}


def declared(**changes):
    return validated_comparison({**PLAIN, **changes}, "mine.toml")


def test_each_task_has_its_own_training_unless_the_file_says_otherwise():
    comparison = declared(
        tasks=["digits", "shapes", "glyphs"], fidelity={"steps": 77}, fidelity_of={"glyphs": {"steps": 5}}, seeds=3
    )
    trainings = comparison.fidelity_of
    assert {name: training.steps for name, training in trainings.items()} == {"digits": 77, "shapes": 77, "glyphs": 5}
    assert {name: training.network for name, training in trainings.items()} == {
        "digits": "mlp",
        "shapes": "resnet",
        "glyphs": "resnet",
    }
    assert {training.seeds for training in trainings.values()} == {3}


def test_training_options_of_the_command_apply_to_every_task(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        'name = "mine"\ntasks = ["digits", "shapes"]\nlosses = ["focal"]\n'
        "[fidelity]\nhidden = 8\n[fidelity_of.shapes]\nsteps = 9\nbatch_size = 32\n"
    )
    comparison = load_comparison(str(path), fidelity={"steps": 5})
    assert {training.steps for training in comparison.fidelity_of.values()} == {5}
    assert [(training.hidden, training.batch_size) for training in comparison.fidelity_of.values()] == [
        (8, 64),
        (8, 32),
    ]
    assert load_comparison(str(path), tasks=["digits"]).fidelity_of.keys() == {"digits"}


def test_resolving_a_comparison_twice_changes_nothing():
    comparison = declared(tasks=["digits", "shapes"], fidelity={"steps": 9})
    assert validated_comparison(comparison.model_dump(mode="json"), "again") == comparison


def test_the_baseline_is_measured_even_if_it_is_not_listed():
    assert declared(losses=["focal"]).all_losses() == ("cross_entropy", "focal")
    assert declared(losses=["focal", "ce(z)"]).all_losses() == ("cross_entropy", "focal")
    assert declared(losses=["focal"], baseline="mse").all_losses() == ("mse", "focal")
    assert declared(baseline="ce(z) + 0.1*mean_c(p)").baseline_name == "ce(z) + 0.1*mean_c(p)"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tasks": ["digts"]}, "Unknown task 'digts'.*digits"),
        ({"tasks": []}, "tasks: expected at least one item"),
        ({"tasks": ["digits", "digits"]}, "task named twice"),
        ({"losses": ["focall"]}, "focall.*focal"),
        ({"losses": ["focal", "focal(gamma=2)"]}, "are the same loss"),
        ({"losses": 3}, "losses: expected an array"),
        ({"fidelity": {"stepz": 3}}, "fidelity_of.digits.stepz: unknown key.*steps"),
        ({"fidelity": 3}, "Expected tables"),
        ({"fidelity": {"network": "lenet"}}, "fidelity_of.digits.network"),
        ({"fidelity": {"network": "dense"}}, "wants one for each input"),
        ({"fidelity": {"rungs": [10]}}, "no rungs"),
        ({"fidelity_of": {"shapes": {}}}, "shapes is not among the tasks"),
        ({"seeds": 0}, "seeds"),
        ({"sedes": 3}, "sedes: unknown key.*seeds"),
        ({"split": "train"}, "split"),
        ({"task": "digits"}, "got a search"),
    ],
)
def test_invalid_comparisons_are_refused(changes, message):
    with pytest.raises(ExperimentError, match=message):
        declared(**changes)


def test_a_comparison_file_is_refused_as_a_search():
    with pytest.raises(ExperimentError, match="lossearch compare"):
        validated(PLAIN, "mine.toml")


def test_arguments_replace_keys_of_a_file(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('name = "mine"\ntasks = ["digits"]\nlosses = ["focal"]\n[fidelity_of.digits]\nsteps = 9\n')
    comparison = load_comparison(str(path), seeds=4, baseline=None)
    assert (comparison.seeds, comparison.fidelity_of["digits"].steps, comparison.fidelity_of["digits"].seeds) == (
        4,
        9,
        4,
    )
