"""The public exceptions, their exit codes, and the names of arguments in their messages."""

import pickle
from pathlib import Path

import pytest

import lossearch
from lossearch.primitives.errors import Argument, LossearchError, UserError

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
