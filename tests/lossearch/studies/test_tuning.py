"""Settings are proposed, trained seed by seed, and pruned if they are behind."""

import math

import optuna
import pytest
from optuna.storages.journal import JournalFileBackend

from lossearch.primitives.catalog.loss import Hyperparameter
from lossearch.results.storage.run_files import ForeignFile
from lossearch.studies.tuner import Tuner

RATE = Hyperparameter("learning_rate", 0.1, 0.01, 1.0, log=True)


def run(tuner, worth, seeds=3, rounds=4, count=3):
    """Ask and report; ``worth`` is a function of settings and a seed."""
    for _ in range(rounds):
        tuner.ask(count)
        for seed in range(seeds):
            tuner.report([worth(settings, seed) for settings in tuner.open_settings()], is_last=seed == seeds - 1)
    return tuner


def peak(settings, seed):
    """Return a value that is best at .3 and the same under every seed."""
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
    pruned = [trial for trial in tuner.trials if trial.pruned]
    assert pruned
    assert len(asked) == 3 * 12 - sum(3 - len(trial.values) for trial in pruned)
    assert all(len(trial.values) < 3 for trial in pruned)
    kept = [trial for trial in tuner.trials if not trial.pruned]
    assert max(trial.value for trial in pruned) <= max(trial.value for trial in kept)
    assert not tuner.best().pruned


def test_settings_that_look_best_under_fewer_seeds_are_not_chosen():
    def worth(settings, seed):
        return 0.5 if settings["learning_rate"] == 0.1 else 0.4  # the defaults are best, under every seed

    assert run(Tuner([RATE], 9, seed=0), worth).best().settings == {"learning_rate": 0.1}


def test_a_training_that_fails_ends_the_settings():
    def worth(settings, seed):
        return None if settings["learning_rate"] > 0.1 or seed == 2 else 0.5

    tuner = run(Tuner([RATE], 6, seed=1), worth)
    assert all(trial.value is None or trial.pruned for trial in tuner.trials)
    assert tuner.best().settings == {"learning_rate": 0.1}


def test_the_same_seed_proposes_the_same_settings():
    tuners = [run(Tuner([RATE], 9, seed=5), peak) for _ in range(2)]
    assert [trial.settings for trial in tuners[0].trials] == [trial.settings for trial in tuners[1].trials]


def test_the_study_is_an_optuna_study(tmp_path):
    tuner = run(Tuner([RATE], 12, seed=0), peak)
    for _ in range(2):  # kept twice, it is there once
        tuner.keep(tmp_path / "studies.journal", "digits: ce(z)")
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(tmp_path / "studies.journal")))
    study = optuna.load_study(study_name="digits: ce(z)", storage=storage)
    states = [trial.state for trial in study.trials]
    assert len(states) == 12
    assert states.count(optuna.trial.TrialState.PRUNED) == sum(trial.pruned for trial in tuner.trials)
    assert study.best_params["learning_rate"] == pytest.approx(tuner.best().settings["learning_rate"], rel=1e-3)


@pytest.mark.parametrize("text", ["[1]\n", "null\n", '{"op_code": 99, "worker_id": "x"}\n', "[" * 100_000 + "\n"])
def test_a_journal_that_is_not_optunas_is_set_aside(tmp_path, text):
    journal, tuner = tmp_path / "studies.journal", run(Tuner([RATE], 3, seed=0), peak)
    journal.write_text(text)
    with pytest.warns(UserWarning, match=r"studies\.journal.* Set aside as studies\.journal\.damaged"):
        tuner.keep(journal, "digits: ce(z)")
    assert (tmp_path / "studies.journal.damaged").read_text() == text
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(journal)))
    assert optuna.get_all_study_names(storage) == ["digits: ce(z)"]


def test_a_journal_is_not_written_through_a_link(tmp_path):
    journal, tuner = tmp_path / "studies.journal", run(Tuner([RATE], 3, seed=0), peak)
    (tmp_path / "outside").write_text("")
    journal.symlink_to(tmp_path / "outside")
    with pytest.raises(ForeignFile, match="a symbolic link"):
        tuner.keep(journal, "digits: ce(z)")
    assert (tmp_path / "outside").read_text() == ""


@pytest.mark.parametrize("torn", ["garbage\n", '{"op_code": 0', "\xff"])
def test_a_damaged_journal_is_set_aside_and_a_new_one_begun(tmp_path, torn):
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
