"""Declarations: what a run does, in a TOML file that is validated before anything runs.

A key that is not known is refused, with the nearest known one.
"""

import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from lossearch.evaluators.device import DeviceChoice
from lossearch.evaluators.settings import TrainingSettings
from lossearch.evaluators.tasks import TASKS, task_on
from lossearch.evaluators.tasks.own_data import KINDS, DeclaredData, OwnData, own_data
from lossearch.evaluators.tasks.task import Task
from lossearch.evaluators.work import Candidate, Work
from lossearch.primitives.errors import UserError, nearest


class ExperimentError(UserError):
    """A declaration that cannot be used; the message names file and key."""


class Section(BaseModel):
    """A table of a declaration."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


#: Names of runs and of the user's own tasks.
NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"


class ExecutorSettings(Section):
    """Where candidates are trained."""

    kind: Literal["ray", "inline"] = Field("ray", description="a pool of Ray actors, or this process")
    workers: int | None = Field(None, ge=1, le=100_000, description="Ray actors; left out: one for each GPU or core")
    deadline: float | None = Field(None, gt=0.0, description="seconds a candidate may take; left out: by its steps")
    device: DeviceChoice = Field("auto", description="auto: a GPU where there is one; cpu or cuda")
    cohort_size: Literal["auto"] | Annotated[int, Field(ge=1, le=65_536)] = Field(
        "auto", description="candidates trained together; auto: a worker's share of a generation, as memory allows"
    )


class Declaration(Section):
    """What a run does, under a name, on tasks: known ones, and others on the user's own data.

    ``fidelity_of`` holds the training on each task: the task's own, where neither ``[fidelity]``, for all tasks, nor
    ``[fidelity_of.TASK]`` of a file say otherwise; in a search the task's proxy, where they say nothing at all.
    """

    name: str = Field(pattern=NAME, description="letters, digits, - and _")
    data: dict[Annotated[str, Field(pattern=NAME)], DeclaredData] = Field(
        default_factory=dict, description="tasks on your own data, by their names"
    )
    fidelity_of: dict[str, TrainingSettings] = Field(default_factory=dict, description="the training on each task")
    seed: int = Field(0, ge=0, lt=2**63, description="of every random choice")
    executor: ExecutorSettings = Field(default_factory=ExecutorSettings)

    @field_validator("data")
    @classmethod
    def _new_names(cls, data: dict[str, OwnData]) -> dict[str, OwnData]:
        taken = data.keys() & TASKS.keys()
        if taken:
            raise ValueError(f"{', '.join(sorted(taken))} is the name of a known task; give yours another")
        return {name: each.seen_from_anywhere() for name, each in data.items()}

    def task_named(self, name: str) -> Task:
        """The task of a name. Raises UserError."""
        return task_on(name, self.data.get(name))

    def training_on(self, task: str) -> TrainingSettings:
        """The training on a task."""
        return self.fidelity_of[task]

    def work(
        self,
        task: str,
        candidates: Sequence[Candidate] = (),
        *,
        fidelity: TrainingSettings | None = None,
        stage: int | None = None,
        measured: str | None = None,
        metric_alone: bool = False,
        first_seed: int = 0,
    ) -> Work:
        """Work for an executor: train candidates on a task, with the declared training unless ``fidelity`` is given.

        ``stage`` is the number of the stage to train to; None is to the end. ``measured`` is the split that a study
        measures on after each training: such work has no deadline unless one is declared. ``metric_alone`` leaves out
        all measures but the task's metric. ``first_seed`` is the index of the first seed, see ``seed_ranges``.
        """
        fidelity = fidelity or self.training_on(task)
        return Work(
            candidates=tuple(candidates),
            task=task,
            fidelity=fidelity,
            run_seed=self.seed,
            stage=None if stage is None else fidelity.stages[stage],
            device=self.executor.device,
            measured=measured,
            metric_alone=metric_alone,
            first_seed=first_seed,
            data=self.data.get(task),
            unhurried=measured is not None,
        )

    def result_defining(self) -> dict[str, Any]:
        """What decides the results: everything but where candidates are trained."""
        return self.model_dump(mode="json", exclude={"executor"})


Kind = TypeVar("Kind", bound=Declaration)


def read_declaration(name_or_path: str, **overrides: Any) -> tuple[dict[str, Any], str]:
    """What a TOML file declares, or a shipped one by its name, and where it stands.

    ``overrides`` replace top-level keys where they are not None. Raises ExperimentError.
    """
    source, text = experiment_text(name_or_path)
    try:
        declared = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ExperimentError(f"{source}: expected TOML, got: {error}") from None
    return declared | {key: value for key, value in overrides.items() if value is not None}, source


def declared_as(kind: type[Kind], declared: dict[str, Any], source: str) -> Kind:
    """The declaration of a dictionary; ExperimentError names the source and each bad key."""
    try:
        return kind.model_validate(declared)
    except ValidationError as error:
        problems = [_problem(each, kind) for each in error.errors()]
        raise ExperimentError(f"{source}: " + "; ".join(problems)) from None


def experiment_text(name_or_path: str) -> tuple[str, str]:
    """Where an experiment is declared, and its text. Raises ExperimentError."""
    path = Path(name_or_path)
    files = [entry for entry in resources.files("lossearch.experiments").iterdir() if entry.name.endswith(".toml")]
    shipped = {entry.name.removesuffix(".toml"): entry for entry in files}
    if not path.is_file() and name_or_path in shipped:
        return f"experiments/{name_or_path}.toml", shipped[name_or_path].read_text(encoding="utf-8")
    if not path.exists():
        hint = nearest(path.name.removesuffix(".toml"), shipped)
        raise ExperimentError(f"{name_or_path}: no such file, and no shipped experiment of that name{hint}")
    try:
        return str(path), path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ExperimentError(f"{path}: expected a readable TOML file, got: {error}") from None


def resolved_trainings(
    declared: dict[str, Any], tasks: Sequence[str], by_proxy: bool = False, **fixed: Any
) -> dict[str, Any]:
    """Each task's training with all its keys, from what a file declares; ``fixed`` are keys that stand elsewhere.

    ``by_proxy`` takes the proxy of a task of whose training nothing is declared: it stands in for the task's own
    training and for no other. Raises ValueError for tables of tasks that are not there.
    """
    for_all, of_task, data = (declared.get(key, {}) for key in ("fidelity", "fidelity_of", "data"))
    if not isinstance(of_task, dict) or not isinstance(data, dict):
        raise ValueError("expected tables [fidelity], [fidelity_of.TASK] and [data.TASK]")
    for key, named in (("fidelity_of", of_task), ("data", data)):
        stray = named.keys() - set(tasks)
        if stray:
            raise ValueError(f"{key}: {', '.join(sorted(stray))} is not among the tasks {list(tasks)}")
    given = {name: as_keys(for_all) | as_keys(of_task.get(name, {})) for name in tasks}
    return {
        name: _own_training(name, data.get(name), by_proxy and not keys).model_dump() | keys | fixed
        for name, keys in given.items()
    }


def search_trainings(declared: dict[str, Any], tasks: Sequence[str]) -> dict[str, Any]:
    """Each task's training in a search: its proxy where nothing is declared, under as many seeds as any of them has.

    Raises ValueError for tables of tasks that are not there.
    """
    found = resolved_trainings(declared, tasks, by_proxy=True)
    said = found if declared.get("fidelity") else declared.get("fidelity_of", {})
    most = max(each["seeds"] if isinstance(each["seeds"], int) else 1 for each in found.values())
    return {name: each if said.get(name) else each | {"seeds": most} for name, each in found.items()}


def _own_training(name: str, data: Any, by_proxy: bool) -> TrainingSettings:
    """The training of a task where none is declared; a plain one where there is no such task or data."""
    try:
        task = task_on(name, None if data is None else own_data(data))
    except (ValidationError, UserError):  # said of the key itself
        return TrainingSettings()
    return task.proxy or task.fidelity if by_proxy else task.fidelity


def require_tasks(names: Sequence[str], data: Mapping[str, OwnData]) -> None:
    """Raise UserError unless there is a task of each name, with data that can be read."""
    for name in names:
        task_on(name, data.get(name))


def as_keys(training: Any) -> dict[str, Any]:
    """A training, or what a file declares of one, by its keys."""
    if isinstance(training, TrainingSettings):
        return training.model_dump()
    if not isinstance(training, dict):
        raise UserError("Expected tables [fidelity] and [fidelity_of.TASK] with keys of a training.")
    return training


def each_once(kind: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """The names; ValueError where one stands twice."""
    if len(set(names)) < len(names):
        raise ValueError(f"{kind} named twice in {list(names)}")
    return names


def _problem(error: Any, kind: type[Declaration]) -> str:
    """One of pydantic's errors as a sentence: key, what was expected, what was got."""
    key = ".".join(map(str, _as_written(error["loc"]))) or "the experiment"
    if error["type"] == "extra_forbidden":
        return f"{key}: unknown key{nearest(str(error['loc'][-1]), _keys(kind, error['loc'][:-1]))}"
    if error["type"] == "missing":
        return f"{key}: expected a value, got none"
    if error["type"] == "value_error":
        return f"{key}: {error['ctx']['error']}"
    expected = _EXPECTED.get(error["type"], error["msg"].removeprefix("Input should be ").removeprefix("a valid "))
    found = error["input"] if not isinstance(error["input"], tuple) else list(error["input"])
    return f"{key}: expected {expected}, got {found!r}"


def _as_written(location: tuple[Any, ...]) -> tuple[Any, ...]:
    """Where an error is, by the keys of the file: without the kind of data, which pydantic names."""
    return location[:2] + location[3:] if location[:1] == ("data",) else location


_EXPECTED = {
    "tuple_type": "an array",
    "too_short": "at least one item",
    "model_type": "a table",
    "string_pattern_mismatch": "letters, digits, - and _, the first a letter or digit, 64 at most",
}


def _keys(kind: type[BaseModel], location: tuple[Any, ...]) -> list[str]:
    """The keys that a table of a declaration has."""
    section: Any = kind
    for part in location:
        if section is DeclaredData:
            section = KINDS[part]
        elif get_origin(section) is dict:
            section = get_args(section)[1]
        else:
            section = section.model_fields[part].annotation if part in getattr(section, "model_fields", {}) else None
    return list(getattr(section, "model_fields", ()))
