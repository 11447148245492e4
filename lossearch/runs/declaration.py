"""Declarations: what a run does, read from a TOML file and validated before anything runs.

An unknown key is refused, with the nearest known one.
"""

import os
import re
from collections.abc import Mapping, Sequence, Set
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from lossearch.evaluators.device import DeviceChoice
from lossearch.evaluators.settings import TrainingSettings
from lossearch.evaluators.tasks import TASKS, task_on
from lossearch.evaluators.tasks.own_data import KINDS, DeclaredData, OwnData, own_data
from lossearch.evaluators.tasks.task import Task
from lossearch.evaluators.work import Candidate, Work
from lossearch.primitives.errors import Argument, UserError, nearest, similar
from lossearch.results.storage.run_kinds import describe_directory
from lossearch.runs.toml_text import parse_toml, read_toml_text

#: Pattern of the names of runs and of the user's own tasks.
NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"

#: Pydantic's context of a validation that reads no data of the user's.
_WITHOUT_DATA = {"with_data": False}

#: Source of a declaration that is made of arguments alone, from Python or the command line.
ARGUMENTS = ""

#: The arguments of a declaration that a file holds alone.
NOTHING_GIVEN: Mapping[str, Any] = MappingProxyType({})

#: Tables whose keys are arguments of their own.
_TABLES = frozenset({"fidelity", "fidelity_of", "evolution", "executor"})

#: Most problems in one message, and most characters of a value that it shows.
_MAX_PROBLEMS, _LONGEST_VALUE = 8, 200

#: What a key expects, by pydantic's type of error.
_EXPECTED = {
    "tuple_type": "an array",
    "too_short": "at least one item",
    "model_type": "a table",
    "string_pattern_mismatch": "letters, digits, - and _, the first a letter or digit, 64 at most",
}


class ExperimentError(UserError):
    """Raised for a declaration that cannot be used; the message names the file and the key."""


class Section(BaseModel):
    """A table of a declaration."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class ExecutorSettings(Section):
    """The executor that trains candidates, and the number of them at once."""

    kind: Literal["ray", "inline"] = Field("ray", description="ray: a pool of Ray actors; inline: this process")
    workers: int | None = Field(
        None, ge=1, le=100_000, description="number of Ray actors; left out: one for each GPU or core"
    )
    deadline: float | None = Field(
        None, gt=0.0, description="seconds that a candidate may take; left out: by its steps"
    )
    device: DeviceChoice = Field("auto", description="cpu, cuda, or auto: a GPU if there is one")
    cohort_size: Literal["auto"] | Annotated[int, Field(ge=1, le=65_536)] = Field(
        "auto", description="candidates trained together; auto: a worker's share of a generation, as memory allows"
    )


class Declaration(Section):
    """Declaration of a run, and of its tasks: known ones, or tasks on the user's own data.

    ``fidelity_of`` holds the training on each task. It is the task's own training, with the keys that a file gives in
    ``[fidelity]`` for all tasks and in ``[fidelity_of.TASK]`` for one. In a search it is the task's proxy if a file
    gives no key at all.
    """

    name: str = Field(pattern=NAME, description="letters, digits, - and _")
    data: dict[Annotated[str, Field(pattern=NAME)], DeclaredData] = Field(
        default_factory=dict, description="tasks on your own data, by their names"
    )
    fidelity_of: dict[str, TrainingSettings] = Field(default_factory=dict, description="the training on each task")
    seed: int = Field(0, ge=0, lt=2**63, description="seed of every random choice")
    executor: ExecutorSettings = Field(default_factory=ExecutorSettings)

    @field_validator("data")
    @classmethod
    def _new_names(cls, data: dict[str, OwnData]) -> dict[str, OwnData]:
        taken = data.keys() & TASKS.keys()
        if taken:
            raise ValueError(f"{', '.join(sorted(taken))} is the name of a known task; give your task another name")
        return {name: declared.with_absolute_path() for name, declared in data.items()}

    def task_named(self, name: str) -> Task:
        """Return the task of this name. Raises UserError for an unknown name or data that cannot be read."""
        return task_on(name, self.data.get(name))

    def training_on(self, task: str) -> TrainingSettings:
        """Return the training on a task."""
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
        """Create work for an executor: training candidates on a task, as declared or with ``fidelity``.

        ``stage`` is the number of the stage to train to; None trains to the end. ``measured`` is the split that a study
        measures on after each training; such work has no deadline unless one is declared. ``metric_alone`` leaves out
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
        """Return all keys that decide the results, as plain JSON data: all but ``executor``."""
        return self.model_dump(mode="json", exclude={"executor"})


Kind = TypeVar("Kind", bound=Declaration)


def read_declaration(name_or_path: str, **overrides: Any) -> tuple[dict[str, Any], str]:
    """Read a TOML file, or a shipped one by its name. Return its keys and where it lies.

    ``overrides`` replace top-level keys unless they are None. Raises ExperimentError.
    """
    source, text = read_experiment_text(name_or_path)
    try:
        declared = parse_toml(text, source)
    except UserError as error:
        raise ExperimentError(str(error)) from None
    if _is_of_run(declared):
        del declared["provenance"]
    return declared | {key: value for key, value in overrides.items() if value is not None}, source


def validate_as(
    kind: type[Kind],
    declared: dict[str, Any],
    source: str,
    with_data: bool = True,
    given: Mapping[str, Any] = NOTHING_GIVEN,
) -> Kind:
    """Validate a dictionary as a declaration. Raises ExperimentError, which names the source and each bad key.

    ``source`` is ``ARGUMENTS`` for a declaration that no file holds: then the arguments are named. ``given`` are the
    arguments that replaced keys of a file: a bad one is named as an argument, too. Without ``with_data`` the user's
    own data is not read, and all that depends on it is taken as it is.
    """
    try:
        return kind.model_validate(declared, context=None if with_data else _WITHOUT_DATA)
    except ValidationError as error:
        problems = _describe_problems(error, kind, None if source == ARGUMENTS else _list_arguments(given))
        more = [(f"and {len(problems) - _MAX_PROBLEMS} more",)] if len(problems) > _MAX_PROBLEMS else []
        listed = [*problems[:_MAX_PROBLEMS], *more]
        all_given = all(isinstance(problem[0], Argument) for problem in problems)
        parts: list[str | Argument] = ["" if all_given else prefix_of(source)]
        for number, (*before, last) in enumerate(listed):
            end = str(last).rstrip(".") if len(listed) > 1 else last
            parts += [*before, end, "; "] if number < len(listed) - 1 else [*before, end]
        raise ExperimentError(*parts) from None


def _list_arguments(given: Mapping[str, Any]) -> set[str]:
    """List the arguments that replace keys of a file, with the keys of tables among them."""
    tables = [value for value in given.values() if isinstance(value, Mapping)]
    return {key for values in (given, *tables) for key, value in values.items() if value is not None}


def prefix_of(source: str) -> str:
    """Return the beginning of a message about a declaration: where it lies, unless it is made of arguments."""
    return "" if source == ARGUMENTS else f"{source}: "


def reads_data(info: ValidationInfo) -> bool:
    """Return True if a validation reads the user's own data."""
    return info.context is not _WITHOUT_DATA


def read_experiment_text(name_or_path: str) -> tuple[str, str]:
    """Return where an experiment is declared, and the text of its file. Raises ExperimentError."""
    path = Path(name_or_path)
    files = [entry for entry in resources.files("lossearch.experiments").iterdir() if entry.name.endswith(".toml")]
    shipped = {entry.name.removesuffix(".toml"): entry for entry in files}
    if name_or_path in shipped and not path.is_file():
        return f"experiments/{name_or_path}.toml", shipped[name_or_path].read_text(encoding="utf-8")
    if not os.path.exists(path):  # unlike pathlib, also of names that are too long
        is_path = "/" in name_or_path
        hint = similar(path.name, _list_names(path.parent)) if is_path else nearest(path.stem, shipped)
        raise ExperimentError(f"{_cut(name_or_path)}: no such file, and no shipped experiment of that name{hint}")
    if path.is_dir():
        kind_of_folder = describe_directory(path) or "a folder"
        raise ExperimentError(f"{_cut(name_or_path)}: expected a TOML file, got {kind_of_folder}.")
    try:
        return str(path), read_toml_text(path)
    except OSError as error:
        raise ExperimentError(f"{path}: expected a readable TOML file, got: {error.strerror}") from None
    except UserError as error:
        raise ExperimentError(str(error)) from None


def _list_names(folder: Path) -> list[str]:
    """List what a folder holds; nothing if it cannot be read."""
    try:
        return os.listdir(folder)
    except (OSError, ValueError):
        return []


def _is_of_run(declared: Mapping[str, Any]) -> bool:
    """Return True for the declaration that a run keeps in its directory, with the facts of its start."""
    provenance = declared.get("provenance")
    return isinstance(provenance, dict) and "started" in provenance


def resolve_trainings(
    declared: dict[str, Any], tasks: Sequence[str], by_proxy: bool = False, with_data: bool = True, **fixed: Any
) -> dict[str, Any]:
    """Return each task's training with all its keys, from what a file declares; ``fixed`` replaces keys in all of them.

    With ``by_proxy`` a task takes its proxy if no key of its training is declared. A proxy stands in for the task's own
    training only, so a single declared key rules it out. Without ``with_data`` all keys of the training on a user's own
    data must be declared. Raises ValueError for a table of an undeclared task.
    """
    for_all, of_task, data = (declared.get(key, {}) for key in ("fidelity", "fidelity_of", "data"))
    if not isinstance(of_task, dict) or not isinstance(data, dict):
        raise ValueError("expected tables [fidelity], [fidelity_of.TASK] and [data.TASK], got other values")
    for key, tables in (("fidelity_of", of_task), ("data", data)):
        stray = tables.keys() - set(tasks)
        if stray:
            raise ValueError(f"{key}: {', '.join(sorted(stray))} is not among the tasks {list(tasks)}")
    given = {name: as_keys(for_all) | as_keys(of_task.get(name, {})) for name in tasks}
    return {
        name: _find_training(name, data.get(name), by_proxy and not keys, with_data).model_dump() | keys | fixed
        for name, keys in given.items()
    }


def resolve_search_trainings(declared: dict[str, Any], tasks: Sequence[str], with_data: bool = True) -> dict[str, Any]:
    """Return each task's training in a search: the task's proxy if no key of its training is declared.

    Such a proxy gets the largest number of seeds of all tasks. Raises ValueError for a table of an undeclared
    task.
    """
    trainings = resolve_trainings(declared, tasks, by_proxy=True, with_data=with_data)
    given = trainings if declared.get("fidelity") else declared.get("fidelity_of", {})
    most = max(keys["seeds"] if isinstance(keys["seeds"], int) else 1 for keys in trainings.values())
    return {name: keys if given.get(name) else keys | {"seeds": most} for name, keys in trainings.items()}


def _find_training(name: str, data: Any, by_proxy: bool, with_data: bool) -> TrainingSettings:
    """Return the training of a task without declared keys; the default if the task or its data is bad or not read."""
    if data is not None and not with_data:
        return TrainingSettings()
    try:
        task = task_on(name, None if data is None else own_data(data).with_absolute_path())
    except (ValidationError, UserError):  # reported for that key
        return TrainingSettings()
    return task.proxy or task.fidelity if by_proxy else task.fidelity


def require_tasks(names: Sequence[str], data: Mapping[str, OwnData], with_data: bool = True) -> None:
    """Raise UserError unless each name is a task, with data that can be read where ``with_data``."""
    for name in names:
        if with_data or name not in data:
            task_on(name, data.get(name))


def as_keys(training: Any) -> dict[str, Any]:
    """Return the keys of a training, or of what a file declares of one. Raises UserError for other values."""
    if isinstance(training, TrainingSettings):
        return training.model_dump()
    if not isinstance(training, dict):
        raise UserError(f"Expected tables [fidelity] and [fidelity_of.TASK] with keys of a training, got {training!r}.")
    return training


def require_distinct(kind: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names. Raises ValueError if one occurs twice; ``kind`` is the noun for them in its message."""
    if len(set(names)) < len(names):
        raise ValueError(f"{kind} named twice in {list(names)}")
    return names


def _describe_problems(
    error: ValidationError, kind: type[Declaration], arguments: Set[str] | None
) -> list[tuple[str | Argument, ...]]:
    """Describe pydantic's errors in one sentence each: the key as it is written, what was expected, what was given.

    ``arguments`` are the keys that were given as arguments; None for all. Of a key that may have one of several types,
    pydantic has an error for each. They become one sentence.
    """
    by_place: dict[tuple[Any, ...], list[Any]] = {}
    for details in error.errors():
        by_place.setdefault(_find_written_place(details["loc"], kind), []).append(details)
    problems: dict[tuple[str | Argument, ...], None] = {}
    for place, errors in by_place.items():
        if place and any(len(other) > len(place) and other[: len(place)] == place for other in by_place):
            continue  # the value is of one of the types, and something in it is wrong
        key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).removeprefix(".")
        text = _describe_problem(errors, kind)
        if not place:  # the message itself may begin with a key
            key, text = _split_at_key(text, kind, arguments)
            place = tuple(key.split(".")) if key else ()
        named: str | Argument = _cut(key)
        if place and place[0] != "data":
            argument = str([part for part in place if isinstance(part, str)][-1] if place[0] in _TABLES else place[0])
            named = Argument(argument) if arguments is None or argument in arguments - _TABLES else named
        if key:
            problems[named, f": {text}"] = None
        else:
            whole = "" if errors[0]["type"] == "value_error" else "the experiment: "
            problems[(f"{whole}{text}",)] = None
    return list(problems)


def _split_at_key(text: str, kind: type[Declaration], arguments: Set[str] | None) -> tuple[str, str]:
    """Split a message such as ``split: expected ...`` into a key, empty if it names none, and the rest.

    ``fidelity: network = 'unet' wants ...`` is about the key ``fidelity.network`` if that is an argument.
    """
    key, colon, rest = text.partition(": ")
    if not colon or key.split(".")[0] not in {*kind.model_fields, *_TABLES}:
        return "", text
    inner = re.match(r"(\w+) = ", rest)
    if inner and key.split(".")[0] in _TABLES and (arguments is None or inner[1] in arguments):
        return f"{key}.{inner[1]}", f"expected another, {rest[inner.end() :]}"
    return key, rest


def _describe_problem(errors: Sequence[Any], kind: type[Declaration]) -> str:
    """Describe pydantic's errors about one key: what was expected and what was given."""
    error = errors[0]
    if error["type"] == "extra_forbidden":
        return f"unknown key{nearest(str(error['loc'][-1]), _list_keys(kind, error['loc'][:-1]))}"
    if error["type"] == "missing":
        return "expected a value, got none"
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    expected = " or ".join(dict.fromkeys(map(_describe_expected, errors)))
    given = list(error["input"]) if isinstance(error["input"], tuple) else error["input"]
    choices = re.findall(r"'([^']*)'", expected) if error["type"] == "literal_error" else []
    suggestion = similar(given, choices) if isinstance(given, str) else ""
    return f"expected {expected}, got {_cut(repr(given))}{suggestion}"


def _describe_expected(error: Any) -> str:
    plain = error["msg"].removeprefix("Input should be ").removeprefix("a valid ")
    return str(_EXPECTED.get(error["type"], plain))


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."


def _find_written_place(location: tuple[Any, ...], kind: type[BaseModel]) -> tuple[Any, ...]:
    """Return the place of an error by the keys of the file, without the types that pydantic adds."""
    place: list[Any] = []
    section: Any = kind
    for part in location:
        section, is_written = _enter(section, part)
        place += [part] if is_written else []
    return tuple(place)


def _enter(section: Any, part: Any) -> tuple[Any, bool]:
    """Return the type below a part of a place, and True if the part is a key or number of a file.

    The type is None where it is unknown. In a place that may have several types, the part names one of them.
    """
    if section is DeclaredData:
        return KINDS.get(part), False
    if isinstance(section, type) and issubclass(section, BaseModel):
        return (section.model_fields[part].annotation if part in section.model_fields else None), True
    if get_origin(section) is dict:
        return get_args(section)[1], part != "[key]"
    if isinstance(part, int) or section is None:
        return None, True
    return None, False


def _list_keys(kind: type[BaseModel], location: tuple[Any, ...]) -> list[str]:
    """List the keys that a table of a declaration may have."""
    section: Any = kind
    for part in location:
        section = _enter(section, part)[0]
    return list(getattr(section, "model_fields", ()))
