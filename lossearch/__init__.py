"""lossearch: the automatic discovery of loss functions.

``lossearch.loss(name_or_formula, ...)`` is a torch module, ``lossearch.search(experiment, ...)`` runs a search,
``lossearch.Leaderboard(path)`` reads the results of one, ``lossearch.tune(run)`` tunes its survivors and
``lossearch.verdict(run)`` says what holds of them on the test split, ``lossearch.compare(...)`` compares losses with
intervals, ``lossearch.explain(run)`` says what a loss does and which of its parts matter, ``lossearch.fidelity(tasks)``
whether short trainings rank losses as full ones do, and ``lossearch.export(loss, path)`` writes a loss as a file that
needs nothing of ours. ``lossearch.plot`` draws what a report shows, ``lossearch.trackers`` tell
TensorBoard, MLflow or Weights & Biases of a search.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lossearch import plot, trackers
    from lossearch.callbacks import Callback
    from lossearch.engine.launch import search
    from lossearch.exporting import export
    from lossearch.loss_module import loss
    from lossearch.results.leaderboard import Leaderboard
    from lossearch.studies.compare import compare
    from lossearch.studies.explain import explain
    from lossearch.studies.fidelity import fidelity
    from lossearch.studies.tune import tune
    from lossearch.studies.verdict import verdict

__all__ = [
    "Callback",
    "Leaderboard",
    "compare",
    "explain",
    "export",
    "fidelity",
    "loss",
    "plot",
    "search",
    "trackers",
    "tune",
    "verdict",
]


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for: torch alone takes seconds."""
    if name == "Callback":
        from lossearch.callbacks import Callback

        return Callback
    if name == "compare":
        from lossearch.studies.compare import compare

        return compare
    if name == "explain":
        from lossearch.studies.explain import explain

        return explain
    if name == "export":
        from lossearch.exporting import export

        return export
    if name == "fidelity":
        from lossearch.studies.fidelity import fidelity

        return fidelity
    if name == "loss":
        from lossearch.loss_module import loss

        return loss
    if name == "plot":
        import lossearch.plot

        return lossearch.plot
    if name == "search":
        from lossearch.engine.launch import search

        return search
    if name == "trackers":
        import lossearch.trackers

        return lossearch.trackers
    if name == "tune":
        from lossearch.studies.tune import tune

        return tune
    if name == "verdict":
        from lossearch.studies.verdict import verdict

        return verdict
    if name == "Leaderboard":
        from lossearch.results.leaderboard import Leaderboard

        return Leaderboard
    raise AttributeError(f"module 'lossearch' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
