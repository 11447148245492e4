"""Settings are proposed, trained seed by seed, and pruned if they are behind."""

import math

import optuna
import pytest
from optuna.storages.journal import JournalFileBackend

from lossearch.primitives.catalog.loss import Hyperparameter
from lossearch.studies.tuner import Tuner

RATE = Hyperparameter("learning_rate", 0.1, 0.01, 1.0, log=True)


def run(tuner, worth, seeds=3, rounds=4, count=3):
    """Ask and report; ``worth`` is a function of settings and a seed."""
    for _ in range(rounds):
        tuner.ask(count)
        for seed in range(seeds):
            tuner.report([worth(each, seed) for each in tuner.open_settings()], is_last=seed == seeds - 1)
    return tuner


def peak(settings, seed):
    """Best at .3, the same under every seed."""
    return 1.0 - abs(math.log10(settings["learning_rate"] / 0.3))


def test_the_first_settings_are_the_defaults_and_the_best_are_found():
    tuner = run(Tuner([RATE], 12, seed=0), peak)
    assert tuner.trials[0].settings == {"learning_rate": 0.1}
    assert tuner.best().settings["learning_rate"] == pytest.approx(0.3, rel=0.25)
    assert len(tuner.trials) == 12


def test_settings_behind_the_median_get_no_more_seeds():
    asked = []

    def worth(settings, seed):
        asked.append((settings["learning_rate"], seed))
        return peak(settings, seed)

    tuner = run(Tuner([RATE], 12, seed=0), worth)
    pruned = [each for each in tuner.trials if each.pruned]
    assert pruned
    assert len(asked) == 3 * 12 - sum(3 - len(each.values) for each in pruned)
    assert all(len(each.values) < 3 for each in pruned)
    kept = [each for each in tuner.trials if not each.pruned]
    assert max(each.value for each in pruned) <= max(each.value for each in kept)
    assert not tuner.best().pruned


def test_what_looks_best_under_fewer_seeds_is_not_chosen():
    def worth(settings, seed):
        return 0.5 if settings["learning_rate"] == 0.1 else 0.4  # the defaults are best, under every seed

    assert run(Tuner([RATE], 9, seed=0), worth).best().settings == {"learning_rate": 0.1}


def test_a_training_that_fails_ends_the_settings():
    def worth(settings, seed):
        return None if settings["learning_rate"] > 0.1 or seed == 2 else 0.5

    tuner = run(Tuner([RATE], 6, seed=1), worth)
    assert all(each.value is None or each.pruned for each in tuner.trials)
    assert tuner.best().settings == {"learning_rate": 0.1}


def test_the_same_seed_proposes_the_same_settings():
    tuners = [run(Tuner([RATE], 9, seed=5), peak) for _ in range(2)]
    assert [each.settings for each in tuners[0].trials] == [each.settings for each in tuners[1].trials]


def test_the_study_is_one_of_optunas(tmp_path):
    tuner = run(Tuner([RATE], 12, seed=0), peak)
    for _ in range(2):  # kept twice, it is there once
        tuner.keep(tmp_path / "studies.journal", "digits: ce(z)")
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(tmp_path / "studies.journal")))
    study = optuna.load_study(study_name="digits: ce(z)", storage=storage)
    states = [each.state for each in study.trials]
    assert len(states) == 12
    assert states.count(optuna.trial.TrialState.PRUNED) == sum(each.pruned for each in tuner.trials)
    assert study.best_params["learning_rate"] == pytest.approx(tuner.best().settings["learning_rate"], rel=1e-3)


@pytest.mark.parametrize("torn", ["garbage\n", '{"op_code": 0', "\xff"])
def test_a_torn_journal_is_set_aside_and_a_new_one_begun(tmp_path, torn):
    journal, tuner = tmp_path / "studies.journal", run(Tuner([RATE], 3, seed=0), peak)
    tuner.keep(journal, "digits: ce(z)")
    whole = journal.read_bytes()
    for number in range(2):
        journal.write_bytes(whole + torn.encode("latin-1"))
        with pytest.warns(UserWarning, match="a line is damaged. Set aside as studies.journal.damaged"):
            tuner.keep(journal, "digits: ce(2*z)")
        storage = optuna.storages.JournalStorage(JournalFileBackend(str(journal)))
        assert optuna.get_all_study_names(storage) == ["digits: ce(2*z)"]
        assert len(list(tmp_path.glob("*.damaged*"))) == number + 1
    assert (tmp_path / "studies.journal.damaged").read_bytes() == whole + torn.encode("latin-1")
