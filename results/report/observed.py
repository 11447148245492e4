"""Trainings that a report looks at: of the tuned form of a loss where it was tuned, else of the search's form.

Invariant: nothing is trained here. A file that cannot be read costs its training alone.
"""

from pathlib import Path

from lossearch.primitives.errors import UserError
from lossearch.primitives.language.parser import parse
from lossearch.results.findings.observation import Observation, observation_folder, read_observation
from lossearch.results.findings.tuned_forms import TunedForm
from lossearch.results.leaderboard import Leaderboard
from lossearch.results.ranking.row import Row
from lossearch.results.storage.tables import DamagedFile, NewerFile

#: Exceptions of a file that cannot be read.
UNREADABLE = (DamagedFile, NewerFile, UserError, OSError)

#: Largest learning rate that is trained with.
_LARGEST_RATE = 100.0


def find_tuned_form(board: Leaderboard, row: Row) -> TunedForm | None:
    """Return the judged form of a loss, else its tuned form, to train it with.

    None if it has none, or none with a formula and a learning rate: then it is trained as the search found it.
    """
    try:
        entry = board.with_form(row)
        form = None if entry is None else entry.form
        if form is not None:
            parse(form.formula)
    except UNREADABLE:  # said where verdicts and tuned losses are read
        return None
    has_rate = form is not None and form.learning_rate is not None and 0.0 < form.learning_rate <= _LARGEST_RATE
    return form if has_rate else None


def folder_of_training(run: Path, row: Row, form: TunedForm | None) -> Path:
    """Return the directory that keeps the training of a loss, as the search found it or with tuned numbers."""
    return observation_folder(run, row.loss_id, () if form is None else (form.formula, form.learning_rate))


def read_training(
    run: Path, row: Row, form: TunedForm | None, missing: list[str]
) -> tuple[Observation | None, TunedForm | None]:
    """Read the training of a loss with tuned numbers, else as the search found it, and the numbers it was done with.

    A file that cannot be read is added to ``missing``.
    """
    for trained in (form, None) if form is not None else (None,):
        try:
            observation = read_observation(folder_of_training(run, row, trained))
        except UNREADABLE as error:
            missing.append(f"The observation of {row.loss_id} cannot be read: {error}")
        else:
            if observation is not None:
                return observation, trained
    return None, None
