"""The public exceptions, their exit codes, and the names of arguments in their messages."""

import pickle
from pathlib import Path

import pytest

import lossearch
from lossearch.engine.launch import required_directory
from lossearch.exporting import export
from lossearch.primitives.errors import Argument, LossearchError, UserError
from lossearch.runs.experiment import load_experiment
from lossearch.studies.comparison import load_comparison
from tests.lossearch.small import SMALL

EXIT_CODES = {
    "ClusterUnreachable": 1,
    "DamagedFile": 1,
    "DataMissing": 2,
    "ExperimentError": 2,
    "ExportMismatch": 1,
    "FormulaError": 2,
    "LossearchError": 1,
    "MissingPackage": 2,
    "NewerFile": 1,
    "NotARun": 2,
    "RunDirectoryError": 2,
    "RunInterrupted": 130,
    "SearchInterrupted": 130,
    "StudyInterrupted": 130,
    "UnknownLoss": 2,
    "UnknownRank": 2,
    "UserError": 2,
    "WrongType": 2,
}


def test_every_public_exception_knows_its_exit_code():
    assert set(dir(lossearch.errors)) == set(EXIT_CODES)
    for name, code in EXIT_CODES.items():
        error = getattr(lossearch.errors, name)
        assert issubclass(error, LossearchError)
        assert (error.__name__, error.exit_code) == (name, code)
    with pytest.raises(AttributeError, match="has no attribute 'UsrError'"):
        lossearch.errors.UsrError  # noqa: B018


def test_a_user_error_is_a_value_error():
    assert issubclass(lossearch.errors.UserError, ValueError)


def test_a_message_names_arguments_for_python_and_options_for_the_command():
    error = UserError("Expected ", Argument("num_classes", "..."), " or ", Argument("calibrated", "False"), ".")
    assert str(error) == "Expected num_classes=... or calibrated=False."
    assert error.with_options() == "Expected --num-classes or --no-calibrated."
    assert str(UserError("Expected ", Argument("top"), " above 0.")) == "Expected top above 0."


#: Calls that a command makes, and what its user reads in place of Python's names.
FOR_THE_COMMAND = [
    (
        lambda: export("arcface", "a.py", class_weights="pedc"),
        "Unknown --class-weights 'pedc'; did you mean pedcc?",
    ),
    (
        lambda: export("arcface", "a.py", class_weights="pedcc", fine_tune_from=2.0),
        "Expected --fine-tune-from, a progress, between 0 and 1, got 2.0.",
    ),
    (
        lambda: export("arcface", "a.py", fine_tune_from=0.5),
        "Expected --class-weights pedcc beside --fine-tune-from, got 'learned': those are learned.",
    ),
    (
        lambda: export("mse", "a.py", class_weights="pedcc"),
        "--class-weights is for losses over embeddings; the formula",
    ),
    (lambda: export("mse", "a.py", prior=[1.0]), "Expected --prior for a graph alone."),
    (lambda: export("arcface", "a.py", embedding_size=3), "Expected --embedding-size for a graph alone"),
    (lambda: export("mse", "a.pt2", num_classes=3, embedding_size=3), "Expected --embedding-size for a loss over"),
    (lambda: export("logit_adjustment", "a.pt2", num_classes=3, prior=[0.5, 0.5]), "Expected --prior of shape [3]"),
    (lambda: export("norm", "a.py", class_weights="sub_centers"), "Expected a formula over cosine for sub_centers: z"),
    (lambda: export("mse", "a", format="pyy"), "Unknown --format 'pyy'; did you mean py?"),
    (lambda: required_directory(SMALL, None, force=True), "Expected --force only together with --resume"),
    (lambda: lossearch.Leaderboard("x" * 5_000), "Expected RUN to be the directory of a run"),
    (lambda: load_experiment("digits", seed=-1), "--seed: expected greater than or equal to 0, got -1"),
    (lambda: load_comparison("miniature", losses=[]), "--losses: expected at least one item, got []"),
    (lambda: load_comparison("miniature", losses=["foca"]), "--losses: Unknown loss 'foca'; did you mean focal?"),
    (lambda: load_comparison("miniature", baseline="ce("), "--baseline: Position 3 of the"),
    (
        lambda: load_comparison("miniature", fidelity={"steps": -1}),
        "--steps: expected greater than or equal to 1, got -1",
    ),
    (
        lambda: load_comparison("miniature", fidelity={"network": "resnet18"}),
        "--network: expected another, 'resnet18' gives one embedding for each input",
    ),
    (lambda: load_comparison("miniature", split="validation", tune=3), "--split: expected 'test' with tune"),
    (
        lambda: load_comparison("miniature", tasks=["digits"], losses=["focal", "focal(gamma=2)"]),
        "--losses: focal and focal(gamma=2) are the same loss",
    ),
]


@pytest.mark.parametrize(("call", "message"), FOR_THE_COMMAND, ids=[message for _, message in FOR_THE_COMMAND])
def test_the_command_reads_options_where_python_reads_arguments(call, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as refused:
        call()
    assert refused.value.with_options().startswith(message)
    assert not any(part.option in str(refused.value) for part in refused.value.parts if isinstance(part, Argument))


def test_a_key_of_a_file_keeps_its_name(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text('name = "a"\ntasks = ["digits"]\nlosses = ["focal"]\n[fidelity]\nsteps = -1\n')
    for overrides in ({}, {"fidelity": {"learning_rate": 0.1}}):
        with pytest.raises(UserError) as refused:
            load_comparison(str(path), **overrides)
        message = f"{path}: fidelity_of.digits.steps: expected greater than or equal to 1, got -1"
        assert refused.value.with_options() == str(refused.value) == message


def test_a_user_error_from_a_worker_keeps_its_message():
    error = pickle.loads(pickle.dumps(UserError("Expected ", Argument("rank"), " above 0.")))  # as Ray sends it
    assert (str(error), error.with_options()) == ("Expected rank above 0.", "Expected --rank above 0.")


@pytest.mark.parametrize(
    "error",
    [
        lossearch.errors.SearchInterrupted(Path("runs/a")),
        lossearch.errors.StudyInterrupted(Path("runs/a"), "tuning"),
        lossearch.errors.RunDirectoryError("Expected a run."),
    ],
)
def test_an_exception_from_another_process_is_the_same(error):
    other = pickle.loads(pickle.dumps(error))
    assert (type(other), str(other), vars(other)) == (type(error), str(error), vars(error))
