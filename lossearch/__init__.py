"""lossearch: the automatic discovery of loss functions.

``lossearch.loss(name_or_formula, ...)`` is a torch module. ``lossearch.search(experiment, ...)`` runs a search, and
``lossearch.Leaderboard(path)`` reads its results. ``lossearch.tune(run)`` tunes its survivors, and
``lossearch.verdict(run)`` judges them on the test split. ``lossearch.compare(...)`` compares losses with intervals.
``lossearch.explain(run)`` shows what a loss does and which of its parts matter. ``lossearch.fidelity(tasks)`` measures
whether short trainings rank losses as full ones do. ``lossearch.export(loss, path)`` writes a loss as a file that does
not need lossearch. ``lossearch.losses()`` and ``lossearch.tasks()`` list what is known. ``lossearch.plot`` draws the
figures of a report, ``lossearch.trackers`` report a search to TensorBoard, MLflow or Weights & Biases, and
``lossearch.errors`` holds the exceptions.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lossearch import errors, plot, trackers
    from lossearch.callbacks import Callback
    from lossearch.engine.launch import search
    from lossearch.exporting import export
    from lossearch.listing import losses, tasks
    from lossearch.loss_module import loss
    from lossearch.results.leaderboard import Leaderboard
    from lossearch.studies.compare import compare
    from lossearch.studies.explain import explain
    from lossearch.studies.fidelity import fidelity
    from lossearch.studies.tune import tune
    from lossearch.studies.verdict import verdict

    __version__: str

# In a checkout the rooms stand beside this folder. They are found there whatever is installed, so that no process mixes
# two checkouts, or a checkout and an installation.
_FOLDER = os.path.dirname(os.path.abspath(__file__))
if os.path.isfile(os.path.join(_FOLDER, "..", "primitives", "language", "formula.py")):
    __path__.append(os.path.dirname(_FOLDER))

__all__ = [
    "Callback",
    "Leaderboard",
    "__version__",
    "compare",
    "errors",
    "explain",
    "export",
    "fidelity",
    "loss",
    "losses",
    "plot",
    "search",
    "tasks",
    "trackers",
    "tune",
    "verdict",
]

#: Module of each public name. It is imported when the name is asked for: torch alone takes seconds.
_MODULES = {
    "Callback": "lossearch.callbacks",
    "Leaderboard": "lossearch.results.leaderboard",
    "compare": "lossearch.studies.compare",
    "errors": "lossearch.errors",
    "explain": "lossearch.studies.explain",
    "export": "lossearch.exporting",
    "fidelity": "lossearch.studies.fidelity",
    "loss": "lossearch.loss_module",
    "losses": "lossearch.listing",
    "plot": "lossearch.plot",
    "search": "lossearch.engine.launch",
    "tasks": "lossearch.listing",
    "trackers": "lossearch.trackers",
    "tune": "lossearch.studies.tune",
    "verdict": "lossearch.studies.verdict",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("lossearch")
    if name not in _MODULES:
        if name.startswith("_"):  # Python and notebooks ask for such names all the time
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from lossearch.primitives.errors import unknown_attribute

        raise AttributeError(unknown_attribute(__name__, name, __all__))
    module = import_module(_MODULES[name])
    return module if _MODULES[name] == f"{__name__}.{name}" else getattr(module, name)


def __dir__() -> list[str]:
    return sorted(__all__)
