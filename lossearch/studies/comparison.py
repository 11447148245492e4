"""Comparison: losses on tasks by one protocol, declared in a TOML file and validated before anything runs.

Every loss is trained fully under the same seeds, with the same batches, and measured on data that it never saw.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationInfo, field_validator, model_validator

from lossearch.primitives.errors import Argument, UserError, WrongType, describe, nearest
from lossearch.results.findings.comparison import ComparisonTable
from lossearch.results.records import BASELINE, Measurement
from lossearch.results.storage.atomic import write_whole_text
from lossearch.results.storage.run_files import refuse_linked_folders
from lossearch.results.storage.store import RecordStore
from lossearch.runs.declaration import (
    NOTHING_GIVEN,
    Declaration,
    ExperimentError,
    as_keys,
    prefix_of,
    read_declaration,
    reads_data,
    require_distinct,
    require_tasks,
    resolve_trainings,
    validate_as,
)
from lossearch.runs.directory import Directory, lock_directory, named_data
from lossearch.runs.named_loss import candidate_of, named_loss, tunable
from lossearch.runs.own_paths import name_own_data


class Comparison(Declaration):
    """Losses, and the tasks on which they are compared with a baseline."""

    tasks: tuple[str, ...] = Field(min_length=1, description="names of tasks; see 'lossearch tasks'")
    losses: tuple[str, ...] = Field(
        min_length=1, description="known losses, also with settings as in am_softmax(m=0.3), or formulas"
    )
    baseline: str = Field(BASELINE, description="loss that the others are compared with")
    seeds: int = Field(10, ge=1, le=1_000, description="trainings of each loss, with other weights and batches")
    split: Literal["test", "validation"] = Field("test", description="split to measure on after training")
    tune: int = Field(0, ge=0, le=10_000, description="settings tried of each loss, the learning rate among them")
    tune_seeds: int = Field(2, ge=1, le=1_000, description="trainings of each setting, on the validation split")
    confirm: int = Field(
        0, ge=0, le=1_000, description="further trainings that estimate the worth of the best settings"
    )
    settings: dict[str, dict[str, dict[str, float]]] = Field(
        default_factory=dict, description="fixed learning rate and hyper-parameters, by task and loss"
    )

    @property
    def trainings_of_tuning(self) -> int:
        """Largest number of trainings that tuning gives a loss on a task."""
        return self.tune * self.tune_seeds + (self.confirm if self.tune else 0)

    @model_validator(mode="before")
    @classmethod
    def _resolve_trainings(cls, declared: Any, info: ValidationInfo) -> Any:
        """Give every task's training all its keys."""
        if not isinstance(declared, dict):
            return declared
        tasks = declared.get("tasks", ())
        if not isinstance(tasks, list | tuple) or not all(isinstance(task, str) for task in tasks):
            return declared
        seeds = declared.get("seeds", cls.model_fields["seeds"].default)
        for training in (declared.get("fidelity"), *_tables(declared.get("fidelity_of"))):
            if isinstance(training, dict) and training.get("seeds", seeds) != seeds:
                raise ValueError("fidelity.seeds: expected no such key. Give seeds at the top, for all tasks")
        trainings = resolve_trainings(declared, tasks, with_data=reads_data(info), seeds=seeds)
        return {key: value for key, value in declared.items() if key != "fidelity"} | {"fidelity_of": trainings}

    @field_validator("tasks", "losses", mode="before")
    @classmethod
    def _from_list(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value

    @field_validator("tasks")
    @classmethod
    def _known_tasks(cls, names: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if "data" in info.data:  # otherwise only the mistakes in the data are reported
            require_tasks(names, info.data["data"], reads_data(info))
        return require_distinct("task", names)

    @model_validator(mode="after")
    def _usable(self, info: ValidationInfo) -> "Comparison":
        """Require known, distinct losses that suit the tasks."""
        texts: dict[str, str] = {}
        for text in self.all_losses():
            candidate = candidate_of(text)
            for identity in (candidate.loss_id, candidate.called):
                if texts.setdefault(identity, text) != text:
                    raise ValueError(f"losses: {texts[identity]} and {text} are the same loss")
        self._require_known_settings()
        if self.split == "validation" and self.tune:
            raise ValueError("split: expected 'test' with tune, since settings are chosen on the validation split")
        for name in self.tasks:
            fidelity = self.fidelity_of[name]
            if fidelity.rungs:
                raise ValueError(f"fidelity_of.{name}: expected no rungs, since every loss is trained fully")
            if self.split == "validation" and fidelity.schedule == "plateau":
                raise ValueError("split: expected 'test' with 'plateau', which looks at the validation split")
            if name in self.data and not reads_data(info):
                continue
            task = self.task_named(name)
            obstacle = task.obstacle(fidelity)
            if obstacle is not None:
                raise ValueError(obstacle)
            for text in self.all_losses():
                task.require_given(named_loss(text).formula)
        return self

    def _require_known_settings(self) -> None:
        """Raise ValueError for settings of an undeclared task or loss, or for settings that a loss does not have."""
        for task, of_losses in self.settings.items():
            if task not in self.tasks:
                raise ValueError(f"settings: {task} is not among the tasks {list(self.tasks)}")
            for text, given in of_losses.items():
                if text not in self.all_losses():
                    raise ValueError(f"settings.{task}: {text} is not among the losses")
                known = [setting.name for setting in tunable(text, 1.0)]
                for name in given.keys() - set(known):
                    raise ValueError(f"settings.{task}.{text}: unknown setting {name!r}{nearest(name, known)}")

    def all_losses(self) -> tuple[str, ...]:
        """List the baseline, and the losses that are compared with it."""
        baseline = candidate_of(self.baseline).loss_id
        return (self.baseline, *(text for text in self.losses if candidate_of(text).loss_id != baseline))

    @property
    def baseline_name(self) -> str:
        """Name of the baseline in the records."""
        return candidate_of(self.baseline).called


def _tables(value: Any) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else []


def load_comparison(name_or_path: str, **overrides: Any) -> Comparison:
    """Read a comparison from a TOML file, or a shipped one by its name.

    ``overrides`` replace keys, see :func:`replaced`. Raises ExperimentError.
    """
    declared, source = read_declaration(name_or_path)
    return validated_comparison(replaced(declared, overrides), source, given=overrides)


def replaced(declared: dict[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return the declaration with ``overrides`` of top-level keys; None replaces nothing. A task may be a path.

    Keys under ``fidelity`` replace those of every task, even if the declaration has others for one task.
    """
    given = {key: value for key, value in overrides.items() if value is not None}
    if isinstance(given.get("tasks"), list | tuple):
        known = [*as_keys(declared.get("data", {})), *as_keys(given.get("data", {}))]
        given["tasks"], data = name_own_data(given["tasks"], known)
        if data:
            given["data"] = {**as_keys(given.get("data", {})), **data}
    for key in ("fidelity", "fidelity_of", "data", "settings", "executor"):
        if key in given and not isinstance(given[key], Mapping | BaseModel):
            raise WrongType(Argument(key), f": expected a dictionary of its keys, got {describe(given[key])}.")
    for key in ("losses", "baseline"):
        texts = given.get(key, ())
        for text in [texts] if isinstance(texts, str) else texts if isinstance(texts, list | tuple) else ():
            _require_loss(key, text)
    training = as_keys(given.pop("fidelity", {}))
    merged = declared | given
    data = declared.get("data", {})
    if isinstance(data, dict):
        every = {**data, **given.get("data", {})}
        merged["data"] = {
            task: of_task for task, of_task in every.items() if "tasks" not in given or task in merged["tasks"]
        }
    trainings = merged.get("fidelity_of", {})
    if isinstance(trainings, dict):
        kept = merged.get("tasks", ()) if "tasks" in given else trainings
        merged["fidelity_of"] = {task: as_keys(keys) | training for task, keys in trainings.items() if task in kept}
        if "seeds" in given:  # a resolved training repeats them
            for keys in merged["fidelity_of"].values():
                keys.pop("seeds", None)
    if training:
        merged["fidelity"] = as_keys(merged.get("fidelity", {})) | training
    return merged


def _require_loss(key: str, text: Any) -> None:
    """Raise UserError, which names the argument ``key``, for a text that is no loss. Other values are refused later."""
    try:
        if isinstance(text, str):
            named_loss(text)
    except UserError as error:
        raise UserError(Argument(key), ": ", *error.parts) from error


def validated_comparison(
    declared: dict[str, Any], source: str, with_data: bool = True, given: Mapping[str, Any] = NOTHING_GIVEN
) -> Comparison:
    """Return the comparison that a dictionary declares. Raises ExperimentError as :func:`validate_as` does."""
    if "evolution" in declared or "task" in declared:
        advice = "Run it with 'lossearch search'."
        raise ExperimentError(f"{prefix_of(source)}expected a comparison, got a search. {advice}")
    return validate_as(Comparison, declared, source, with_data, given)


class ComparisonDirectory(Directory[Comparison, Measurement]):
    """The directory of a comparison: its declaration, every measurement, the table that follows from them, the log."""

    FILE, PARTS, FOLDERS, RECORD = "comparison.toml", "measurements", ("measurements", "tuning"), Measurement

    @classmethod
    def set_aside(cls, path: Path, declared: Comparison) -> Path | None:
        """Rename a directory that holds another comparison, and return its new path; None if it does not.

        A comparison under fewer or more seeds is the same. Raises RunDirectoryError while another process writes there.
        """
        refuse_linked_folders(path / cls.FILE)
        if not (path / cls.FILE).exists() or cls._is_of(path, declared):
            return None
        lock = lock_directory(path)
        try:
            number = 1
            while (kept := path.with_name(f"{path.name}-{number}")).exists():
                number += 1
            path.rename(kept)
        finally:
            os.close(lock)
        return kept

    @classmethod
    def _is_of(cls, path: Path, declared: Comparison) -> bool:
        """Return True for a directory that holds this comparison. Data that it alone names is not looked at."""
        declared_data = {name: data.model_dump() for name, data in declared.data.items()}
        for name, named in named_data(path / cls.FILE).items():
            if named not in map(str, declared_data.get(name, {}).values()):
                return False
        return _drop_seeds(cls.recorded(path)) == _drop_seeds(declared)

    @classmethod
    def _may_change(cls, key: str, declared: Comparison) -> bool:
        """Return True for a number of seeds: trainings under other seeds stay as they are."""
        return key == "seeds" or key.endswith(".seeds")

    @property
    def trials(self) -> RecordStore[Measurement]:
        """Measurements on the validation split while settings were tuned."""
        return RecordStore(self.path / "tuning", Measurement)

    @classmethod
    def validated(cls, declared: dict[str, Any], source: str, with_data: bool = True) -> Comparison:
        """Return the comparison of a dictionary. Raises ExperimentError."""
        return validated_comparison(declared, source, with_data)

    def save_table(self, table: ComparisonTable) -> None:
        """Replace ``comparison.parquet`` and ``comparison.md``."""
        table.write(self.path / "comparison.parquet")
        write_whole_text(self.path / "comparison.md", table.as_markdown())


def _drop_seeds(declared: Comparison) -> dict[str, Any]:
    """Return everything that decides the results, except the number of seeds."""
    defining = declared.result_defining()
    trainings = {task: {**keys, "seeds": 0} for task, keys in defining["fidelity_of"].items()}
    return defining | {"seeds": 0, "fidelity_of": trainings}
