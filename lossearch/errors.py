"""Exceptions of lossearch. All derive from :class:`LossearchError`, which knows the exit code of a command."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lossearch.primitives.errors import unknown_attribute

if TYPE_CHECKING:
    from lossearch.engine.export_check import ExportMismatch
    from lossearch.engine.launch import SearchInterrupted
    from lossearch.evaluators.data.data_home import DataMissing
    from lossearch.evaluators.executors.cluster_address import ClusterUnreachable
    from lossearch.primitives.errors import LossearchError, MissingPackage, UserError, WrongType
    from lossearch.primitives.language.formula import FormulaError
    from lossearch.results.leaderboard import NotARun, UnknownLoss, UnknownRank
    from lossearch.results.storage.tables import DamagedFile, NewerFile
    from lossearch.runs.declaration import ExperimentError
    from lossearch.runs.directory import RunDirectoryError
    from lossearch.runs.session import RunInterrupted
    from lossearch.studies.runner import StudyInterrupted

__all__ = [
    "ClusterUnreachable",
    "DamagedFile",
    "DataMissing",
    "ExperimentError",
    "ExportMismatch",
    "FormulaError",
    "LossearchError",
    "MissingPackage",
    "NewerFile",
    "NotARun",
    "RunDirectoryError",
    "RunInterrupted",
    "SearchInterrupted",
    "StudyInterrupted",
    "UnknownLoss",
    "UnknownRank",
    "UserError",
    "WrongType",
]

#: Module of each exception. It is imported when the exception is asked for: some import torch, which takes seconds.
_MODULES = {
    "ClusterUnreachable": "lossearch.evaluators.executors.cluster_address",
    "DamagedFile": "lossearch.results.storage.tables",
    "DataMissing": "lossearch.evaluators.data.data_home",
    "ExperimentError": "lossearch.runs.declaration",
    "ExportMismatch": "lossearch.engine.export_check",
    "FormulaError": "lossearch.primitives.language.formula",
    "LossearchError": "lossearch.primitives.errors",
    "MissingPackage": "lossearch.primitives.errors",
    "NewerFile": "lossearch.results.storage.tables",
    "NotARun": "lossearch.results.leaderboard",
    "RunDirectoryError": "lossearch.runs.directory",
    "RunInterrupted": "lossearch.runs.session",
    "SearchInterrupted": "lossearch.engine.launch",
    "StudyInterrupted": "lossearch.studies.runner",
    "UnknownLoss": "lossearch.results.leaderboard",
    "UnknownRank": "lossearch.results.leaderboard",
    "UserError": "lossearch.primitives.errors",
    "WrongType": "lossearch.primitives.errors",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(unknown_attribute(__name__, name, __all__))
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return __all__
