"""Declarations: what a run does, in a TOML file that is validated before anything runs.

A key that is not known is refused, with the nearest known one.
"""

import tomllib
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from evaluators.device import DeviceChoice
from primitives.errors import UserError
from primitives.nearest import nearest


class ExperimentError(UserError):
    """A declaration that cannot be used; the message names file and key."""


class Section(BaseModel):
    """A table of a declaration."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


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
    """What a run does, under a name."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$", description="letters, digits, - and _")

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
    shipped = {entry.name.removesuffix(".toml"): entry for entry in resources.files("experiments").iterdir()}
    shipped = {name: entry for name, entry in shipped.items() if entry.name.endswith(".toml")}
    if not path.is_file() and name_or_path in shipped:
        return f"experiments/{name_or_path}.toml", shipped[name_or_path].read_text(encoding="utf-8")
    if not path.exists():
        hint = nearest(path.name.removesuffix(".toml"), shipped)
        raise ExperimentError(f"{name_or_path}: no such file, and no shipped experiment of that name{hint}")
    try:
        return str(path), path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ExperimentError(f"{path}: expected a readable TOML file, got: {error}") from None


def each_once(kind: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """The names; ValueError where one stands twice."""
    if len(set(names)) < len(names):
        raise ValueError(f"{kind} named twice in {list(names)}")
    return names


def _problem(error: Any, kind: type[Declaration]) -> str:
    """One of pydantic's errors as a sentence: key, what was expected, what was got."""
    key = ".".join(str(part) for part in error["loc"]) or "the experiment"
    if error["type"] == "extra_forbidden":
        return f"{key}: unknown key{nearest(str(error['loc'][-1]), _keys(kind, error['loc'][:-1]))}"
    if error["type"] == "missing":
        return f"{key}: expected a value, got none"
    if error["type"] == "value_error":
        return f"{key}: {error['ctx']['error']}"
    expected = _EXPECTED.get(error["type"], error["msg"].removeprefix("Input should be ").removeprefix("a valid "))
    found = error["input"] if not isinstance(error["input"], tuple) else list(error["input"])
    return f"{key}: expected {expected}, got {found!r}"


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
        if get_origin(section) is dict:
            section = get_args(section)[1]
        else:
            section = section.model_fields[part].annotation if part in getattr(section, "model_fields", {}) else None
    return list(getattr(section, "model_fields", ()))
