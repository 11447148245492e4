"""The directory of a study of proxies: what is trained, as declared, every measurement, and the files that follow."""

from typing import Any

from pydantic import Field, field_validator, model_validator

from lossearch.declaration import Declaration, ExecutorSettings, declared_as, each_once, require_tasks
from lossearch.results.records import Measurement
from lossearch.run_directory import Directory

#: Fewer candidates say nothing about a ranking.
FEWEST = 10


class FidelityPlan(Declaration):
    """Candidates on tasks, each trained fully and by shorter trainings, validated before anything runs."""

    tasks: tuple[str, ...] = Field(min_length=1, description="names of tasks; see 'lossearch tasks'")
    candidates: int = Field(60, ge=FEWEST, le=10_000, description="losses that are ranked")
    seeds: int = Field(4, ge=1, le=1_000, description="full trainings of each candidate")
    seed: int = Field(0, ge=0, lt=2**63, description="of every random choice")
    executor: ExecutorSettings = Field(default_factory=ExecutorSettings)

    @model_validator(mode="before")
    @classmethod
    def _with_trainings(cls, declared: Any) -> Any:
        """Every task's full training, so that a run goes on under the same ones alone."""
        tasks = declared.get("tasks", ()) if isinstance(declared, dict) else ()
        if not isinstance(tasks, list | tuple) or not all(isinstance(each, str) for each in tasks):
            return declared
        require_tasks(tasks, {})
        seeds = declared.get("seeds", cls.model_fields["seeds"].default)
        return {"fidelity_of": full_trainings(tasks, seeds)} | declared | {"tasks": tuple(tasks)}

    @field_validator("tasks")
    @classmethod
    def _each_once(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return each_once("task", names)


def full_trainings(tasks: Any, seeds: Any) -> dict[str, dict[str, Any]]:
    """The trainings by which a comparison judges losses on known tasks, under so many seeds."""
    from lossearch.evaluators.tasks import known_task

    return {name: known_task(name).fidelity.model_dump() | {"seeds": seeds} for name in tasks}


class FidelityDirectory(Directory[FidelityPlan, Measurement]):
    """The directory of a study of proxies."""

    FILE, PARTS, FOLDERS, RECORD = "fidelity.toml", "measurements", ("measurements",), Measurement

    @classmethod
    def validated(cls, declared: dict[str, Any], source: str) -> FidelityPlan:
        """The plan of a dictionary. Raises ExperimentError."""
        return declared_as(FidelityPlan, declared, source)
