"""Every shipped experiment can be read, and is what its head says. No data is read."""

import math
import re
import tomllib
from importlib import resources

import pytest

from benchmarks import miniature
from lossearch.evaluators.screening.screening import rejections
from lossearch.primitives.catalog import CATALOG
from lossearch.primitives.identity.fingerprint import FingerprintArchive, fingerprints
from lossearch.primitives.language.formula import Call
from lossearch.runs.experiment import EvolutionSettings, load_experiment
from lossearch.runs.named_loss import named_loss
from lossearch.studies.comparison import load_comparison

TEXTS = {
    entry.name.removesuffix(".toml"): entry.read_text(encoding="utf-8")
    for entry in sorted(resources.files("lossearch.experiments").iterdir(), key=lambda entry: entry.name)
    if entry.name.endswith(".toml")
}


def is_search(name):
    return "task" in tomllib.loads(TEXTS[name])


def trainings(name):
    """Return the declared training on each task. Loading it checks networks, losses and augmentation."""
    if not is_search(name):
        return load_comparison(name).fidelity_of
    experiment = load_experiment(name)
    return {task: experiment.training_on(task) for task in experiment.tasks}


@pytest.mark.parametrize("name", TEXTS)
def test_an_experiment_has_the_name_of_its_file(name):
    assert (load_experiment if is_search(name) else load_comparison)(name).name == name
    assert re.fullmatch(r"[A-Za-z0-9_-]+", name)


@pytest.mark.parametrize("name", TEXTS)
def test_the_head_of_an_experiment_names_its_command(name):
    head = re.match(r"(#.*\n)+", TEXTS[name])
    assert head is not None
    commands = [line.removeprefix("#").strip() for line in head[0].splitlines()]
    assert f"lossearch {'search' if is_search(name) else 'compare'} {name}" in commands


@pytest.mark.parametrize("name", TEXTS)
def test_trainings_of_an_experiment_are_whole_epochs(name):
    for task, fidelity in trainings(name).items():
        if fidelity.epoch is not None:
            odd = [step for step in (*fidelity.milestones, fidelity.steps) if step % fidelity.epoch]
            assert not odd, f"{task}: {odd} are no multiples of epoch = {fidelity.epoch}"


#: Samples of training parts, of which a tenth of each class validates where no part is official for that, or half.
TRAINED = {
    "mnist": 54_000,
    "fashion_mnist": 54_000,
    "emnist_balanced": 101_520,
    "cifar10": 45_000,
    "cifar100": 45_000,
    "svhn": 65_930,
    "pcam": 262_144,
    "food101": 68_175,
    "fer2013": 25_838,
    "raf_db": 11_044,
    "malaria": 13_780,
    "colorectal_histology": 2_496,
    "caltech101": 4_340,
    "ck_plus": 491,
    "voc2012": 1_318,
    "coco_stuff": 106_458,
    "facescrub_lfw": 90_000,  # as if all had stayed and none were left out
}

#: Epochs of experiments, and of their tasks where those differ.
EPOCHS = {
    "center_food": 60,
    "emosynthnet_fer": 100,
    "emosynthnet_svhn": 50,
    "emosynthnet_table_4_1": 100,
    "enhanced_am_softmax": 120,
    "ngl_classification": 200,
    ("ngl_classification", "pcam"): 20,
    "ngl_segmentation": 100,
    ("ngl_segmentation", "coco_stuff"): 10,
    "pedcc_table_1": 120,
    "pedcc_table_1_finetuned": 120,
    "pedcc_table_2": 120,
    "pedcc_table_2_finetuned": 120,
    "pedcc_table_3": 120,
    "pedcc_table_3_finetuned": 120,
}

PAPERS = [name for name in TEXTS if name.startswith(("pedcc_", "ngl_", "emosynthnet_", "enhanced_", "center_"))]


@pytest.mark.parametrize("name", PAPERS)
def test_epochs_see_the_training_part_once_and_their_number_is_the_papers(name):
    for task, fidelity in trainings(name).items():
        assert fidelity.epoch == math.ceil(TRAINED[task] / fidelity.batch_size), task
        assert fidelity.steps == fidelity.epoch * EPOCHS.get((name, task), EPOCHS[name]), task


@pytest.mark.parametrize("name", [name for name in PAPERS if name.startswith("pedcc_")])
def test_the_learning_rate_of_pedcc_falls_after_epochs_25_50_80_and_100_and_weights_are_learned_from_70_on(name):
    for fidelity in trainings(name).values():
        assert [step / fidelity.epoch for step in fidelity.milestones] == [25, 50, 80, 100]
        tuned = name.endswith("_finetuned")
        assert fidelity.class_weight_rate == (0.001 if tuned else None)
        assert fidelity.fine_tune_from == (pytest.approx(70 / 120) if tuned else None)
        assert load_comparison(name).baseline == "cross_entropy"


@pytest.mark.parametrize("name", PAPERS)
def test_a_table_of_a_paper_trains_losses_as_they_are_and_saves_every_epoch(name):
    for fidelity in trainings(name).values():
        assert not fidelity.calibrated
        assert fidelity.epoch is not None


def test_the_page_of_the_miniature_tables_follows_from_its_measurements():
    assert miniature.PAGE.read_text(encoding="utf-8") == miniature.page()


#: Searches for a loss for one family of tasks, and the family.
FAMILIES = {
    "noisy_labels": "label noise",
    "long_tail": "long tail",
    "few_labels": "few labels",
    "verification": "open-set verification",
    "segmentation": "segmentation",
}


@pytest.fixture(scope="module")
def known():
    """Formulas of known losses that screening lets pass, without those that train as an earlier one does."""
    seeds = {name: named_loss(name) for name, loss in CATALOG.items() if loss.origin == "literature"}
    columns = [seed.formula for seed in seeds.values()], [seed.class_weights for seed in seeds.values()]
    archive, names = FingerprintArchive(), {}
    for (name, seed), fingerprint, reason in zip(
        seeds.items(), fingerprints(*columns), rejections(*columns), strict=True
    ):
        if reason is None and fingerprint is not None and archive.find(fingerprint) is None:
            archive.add(fingerprint, name)
            names[name] = seed.formula
    return names


@pytest.mark.parametrize("name", FAMILIES)
def test_a_search_for_a_family_starts_from_every_known_loss_that_suits_it(name, known):
    evolution = load_experiment(name).evolution
    unequal = "prior" in evolution.terminals  # where classes are alike, the prior says nothing
    suited = {loss for loss, formula in known.items() if unequal or "prior" not in formula.names}
    assert {named_loss(seed).known for seed in evolution.seeds} == suited
    assert len(evolution.seeds) == len(suited)


@pytest.mark.parametrize(("name", "family"), FAMILIES.items())
def test_a_search_for_a_family_trains_every_candidate_alike_on_a_task_of_the_family(name, family):
    experiment = load_experiment(name)
    task = experiment.task_named(experiment.task)
    assert task.family == family
    assert not task.needs_download
    assert experiment.seed == 1
    assert experiment.fidelity.network == task.fidelity.network
    assert experiment.fidelity.steps <= task.fidelity.steps
    assert experiment.evolution.retests


def test_the_page_names_every_search():
    listed = re.findall(r"^\| `(\w+)` \|", miniature.SEARCHES, re.MULTILINE)
    assert sorted(listed) == [name for name in TEXTS if is_search(name)]


def test_rediscovery_has_no_cross_entropy_to_start_from():
    evolution = load_experiment("rediscovery").evolution
    assert evolution.seeds == ()
    assert set(evolution.operators) == set(EvolutionSettings().operators) - {"ce"}
    assert evolution.population * evolution.generations == 1_500


def test_the_search_for_ngl_could_write_ngl_and_its_tasks_need_no_download():
    experiment = load_experiment("ngl")
    evolution, ngl = experiment.evolution, named_loss("ngl").formula
    assert operators_in(ngl) == {"add", "sub", "mul", "exp", "sin", "cos"} <= set(evolution.operators)
    assert ngl.names == set(evolution.terminals) == {"p", "y"}
    assert ngl.size <= evolution.max_nodes
    assert [experiment.task_named(task).needs_download for task in experiment.tasks] == [False] * 3


def operators_in(formula):
    if not isinstance(formula, Call):
        return set()
    return {formula.operator}.union(*map(operators_in, formula.arguments))
