"""Launches a search: its directory, its executor, its view; then its leaderboard and its best loss's export."""

from dataclasses import dataclass
from pathlib import Path

from evaluators.executors import Executor, InlineExecutor
from lossearch.experiment import Experiment, load_experiment
from lossearch.interruption import watched_for_interruption
from lossearch.progress import SearchView, SilentView
from lossearch.run_directory import RunDirectory
from lossearch.search import Search
from lossearch.trial import Trial, try_export
from results.leaderboard import Leaderboard


class SearchInterrupted(Exception):
    """The search was stopped from outside; its run can be resumed."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"Interrupted; the run is in {path}.")
        self.path = path


@dataclass(frozen=True)
class Run:
    """A finished search: its directory, its leaderboard, and its best loss's file and trial.

    ``exported`` and ``trial`` are None where no candidate was evaluated.
    """

    path: Path
    leaderboard: Leaderboard
    exported: Path | None
    trial: Trial | None


def search(
    experiment: str | Path | Experiment,
    *,
    run_dir: str | Path | None = None,
    seed: int | None = None,
    resume: bool = False,
    executor: str | None = None,
    ray_address: str | None = None,
    view: SearchView | None = None,
) -> Run:
    """Search for a loss as an experiment declares, and export the best one.

    ``experiment`` is a TOML file or the name of a shipped one. ``run_dir`` is where the run is kept (default:
    ``runs/<name>-<time>``) and with ``resume`` the directory of the run to continue. ``seed`` replaces the
    experiment's; ``executor`` is ``ray`` or ``inline`` (default: the experiment's); ``ray_address`` is
    ``auto`` or ``host:port`` of a cluster (default: one started on this machine).

    Raises ExperimentError, RunDirectoryError, ClusterUnreachable, and SearchInterrupted on Ctrl-C.
    """
    view = view or SilentView()
    declared = experiment if isinstance(experiment, Experiment) else load_experiment(str(experiment), seed=seed)
    if resume and run_dir is None:
        raise ValueError("Expected run_dir, the directory of the run to resume, got none.")
    if ray_address is not None:
        from evaluators.ray_executor import require_answer

        require_answer(ray_address)  # before a directory is made for nothing
    if resume:
        run = RunDirectory.open(Path(str(run_dir)), declared)
    else:
        run = RunDirectory.create(declared, None if run_dir is None else Path(run_dir))
    with watched_for_interruption() as interruption:
        try:
            return _execute(declared, run, resume, executor, ray_address, view)
        except BaseException as error:
            if not interruption.explains(error):
                raise
            Leaderboard(run.path).write()
            run.log("interrupted")
            raise SearchInterrupted(run.path) from None


def _execute(
    experiment: Experiment,
    run: RunDirectory,
    resume: bool,
    executor: str | None,
    ray_address: str | None,
    view: SearchView,
) -> Run:
    workers = _executor(experiment, executor, ray_address)
    try:
        running = Search(experiment, run, workers, view)
        start = running.restore() if resume else 0
        view.started(run.path, workers.slots)
        run.log("resumed" if resume else "started", generation=start + 1, slots=workers.slots)
        running.execute(start)
    finally:
        workers.close()
    board = Leaderboard(run.path)
    board.write()
    if not board.rows or board.rows[0].rank is None:
        run.log("ended", evaluated=0)
        return Run(run.path, board, None, None)
    exported = board[0].export(run.path / "best_loss.py")
    trial = try_export(exported, board.rows[0], experiment)
    run.log("ended", evaluated=running.progress.evaluated, best=board.rows[0].loss_id, trial=trial.facts())
    return Run(run.path, board, exported, trial)


def _executor(experiment: Experiment, kind: str | None, ray_address: str | None) -> Executor:
    settings = experiment.executor
    if (kind or ("ray" if ray_address else settings.kind)) == "inline":
        return InlineExecutor()
    from evaluators.ray_executor import RayExecutor

    return RayExecutor(ray_address, settings.workers, settings.deadline)
