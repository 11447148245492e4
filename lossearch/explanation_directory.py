"""The directory of an explanation: what is explained, as declared, every measurement, and the files that follow."""

from typing import Any

from pydantic import Field

from lossearch.declaration import Declaration, ExecutorSettings, declared_as
from lossearch.results.records import Measurement
from lossearch.run_directory import Directory

#: Tasks without download that tell how a loss bears wrong labels and few of some classes.
BEHAVIOUR = ("digits", "digits_noisy_20", "digits_noisy", "digits_noisy_60", "digits_long_tail")


class ExplanationPlan(Declaration):
    """One loss, the tasks that it was found on, and the trainings that explain it, validated before anything runs."""

    loss: str = Field(description="canonical formula without free names")
    called: str | None = Field(None, description="its name, where it is a known loss")
    formula: str = Field(description="as it was found or given")
    class_weights: str | None = Field(None, description="learned, pedcc or sub_centers, of a loss over embeddings")
    rival: str | None = Field(None, description="a known loss beside cross-entropy, as a user names it")
    tasks: tuple[str, ...] = Field(min_length=1, description="whose parts are left out on")
    factor: float | None = Field(None, description="that a search trained it with")
    seeds: int = Field(10, ge=1, le=1_000, description="trainings of each loss, with other weights and batches")
    seed: int = Field(0, ge=0, lt=2**63, description="of every random choice")
    executor: ExecutorSettings = Field(default_factory=ExecutorSettings)

    @property
    def all_tasks(self) -> tuple[str, ...]:
        """Those that it was found on, then those that its behaviour is seen on."""
        return (*self.tasks, *(task for task in BEHAVIOUR if task not in self.tasks))


class ExplanationDirectory(Directory[ExplanationPlan, Measurement]):
    """The directory of an explanation; what may change in it changes no training that it holds."""

    FILE, PARTS, FOLDERS, RECORD = "explanation.toml", "measurements", ("measurements",), Measurement
    FORCIBLE = ("called", "rival", "factor", "seeds")

    @classmethod
    def _may_change(cls, key: str, declared: ExplanationPlan) -> bool:
        """The number of seeds stands in every training as well."""
        return super()._may_change(key, declared) or (key.startswith("fidelity_of.") and key.endswith(".seeds"))

    @classmethod
    def validated(cls, declared: dict[str, Any], source: str) -> ExplanationPlan:
        """The plan of a dictionary. Raises ExperimentError."""
        tasks = declared.get("tasks")
        return declared_as(
            ExplanationPlan, declared | {"tasks": tuple(tasks) if isinstance(tasks, list) else tasks}, source
        )
