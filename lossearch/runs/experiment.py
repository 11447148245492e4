"""Experiment: one search, declared in a TOML file and validated before anything runs.

Every key but ``name`` and ``task`` has a default. An unknown key is refused, with the nearest known one.
"""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from lossearch.evaluators.settings import TrainingSettings
from lossearch.primitives.errors import UserError, nearest
from lossearch.primitives.language.formula import Name
from lossearch.primitives.language.operators import OPERATORS
from lossearch.primitives.language.terminals import FEATURES, TERMINALS
from lossearch.runs.declaration import (
    NOTHING_GIVEN,
    Declaration,
    ExperimentError,
    Section,
    prefix_of,
    read_declaration,
    reads_data,
    require_distinct,
    require_tasks,
    resolve_search_trainings,
    validate_as,
)
from lossearch.runs.named_loss import named_loss

#: Operators that random trees grow from, unless declared.
_OPERATORS = (
    *("add", "sub", "mul", "div", "pow", "neg", "exp", "log", "sqrt", "square", "abs", "tanh", "sigmoid"),
    *("softplus", "relu", "sin", "cos", "minimum", "maximum", "sum_c", "mean_c", "max_c", "at_target", "ce"),
)

#: Losses that a search starts from, unless declared.
_STARTING = (
    *("cross_entropy", "mse", "mae", "focal", "ngl", "symmetric_cross_entropy", "generalized_cross_entropy"),
    *("label_smoothing", "poly1"),
)

#: The key of the weight of each kind of variation, by the kind that births record.
VARIATIONS = {
    "crossover": "crossover",
    "subtree": "subtree_mutation",
    "point": "point_mutation",
    "constant": "constant_mutation",
    "family": "family_mutation",
    "insertion": "insertion",
    "margin": "margin",
    "wrapping": "wrapping",
    "hoist": "hoist",
    "shrink": "shrink",
}


class EvolutionSettings(Section):
    """Settings of the evolution: the number of losses, the starting losses, and the variation."""

    population: int = Field(40, ge=2, le=100_000, description="losses kept, and new ones trained per generation")
    generations: int = Field(
        10, ge=1, le=1_000_000, description="generations to breed; the first includes the starting losses"
    )
    mode: Literal["generational", "steady"] = Field(
        "generational",
        description="generational, or steady: breed children as results arrive, so that no worker waits",
    )
    islands: int = Field(1, ge=1, le=10_000, description="populations that breed apart; they share the population")
    migration_interval: int = Field(5, ge=1, le=1_000_000, description="generations between migrations")
    migrants: int = Field(2, ge=0, le=1_000, description="best losses that each island copies to the next one")
    seeds: tuple[str, ...] = Field(_STARTING, description="losses to start from: known losses by name, or formulas")
    terminals: tuple[str, ...] = Field(("p", "y", "z"), min_length=1, description="terminals of random trees")
    operators: tuple[str, ...] = Field(_OPERATORS, min_length=1, description="operators of random trees")
    crossover: float = Field(0.3, ge=0.0, description="weight of taking a subtree from another parent")
    subtree_mutation: float = Field(0.25, ge=0.0, description="weight of growing a random subtree")
    point_mutation: float = Field(0.2, ge=0.0, description="weight of replacing one node by another of the same types")
    constant_mutation: float = Field(0.25, ge=0.0, description="weight of scaling one number")
    family_mutation: float = Field(0.0, ge=0.0, description="weight of replacing an operator by one of its family")
    insertion: float = Field(
        0.0, ge=0.0, description="weight of adding a term of a known loss, or replacing a term by it"
    )
    margin: float = Field(0.0, ge=0.0, description="weight of giving logits or cosines another margin, or none")
    wrapping: float = Field(0.0, ge=0.0, description="weight of applying a function to a part")
    hoist: float = Field(0.0, ge=0.0, description="weight of replacing the formula by a part of it, against bloat")
    shrink: float = Field(0.0, ge=0.0, description="weight of replacing a call by something below it, against bloat")
    retests: int = Field(
        0, ge=0, le=10_000, description="best losses to train under one more seed after each generation"
    )
    random_trees: float = Field(0.05, ge=0.0, le=1.0, description="share of children that are random trees")
    initial_depth: tuple[int, int] = Field((2, 4), description="least and greatest depth of random trees")
    max_nodes: int = Field(30, ge=2, le=400, description="largest number of nodes of a formula")
    max_depth: int = Field(12, ge=1, le=64, description="largest number of levels of a formula")
    max_nesting: int = Field(
        2, ge=1, le=64, description="largest number of times that a function may be nested in itself"
    )

    @field_validator("seeds", "terminals", "operators", "initial_depth", mode="before")
    @classmethod
    def _from_list(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value

    @field_validator("seeds")
    @classmethod
    def _seeds(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        problems = []
        for text in texts:
            try:
                named_loss(text)
            except UserError as error:
                problems.append(str(error))
        if problems:
            raise ValueError("; ".join(problems))
        return require_distinct("loss", texts)

    @field_validator("terminals", "operators")
    @classmethod
    def _known(cls, names: tuple[str, ...], info: Any) -> tuple[str, ...]:
        kind, known = _find_vocabulary(info.field_name)
        unknown = [f"unknown {kind} {name!r}{nearest(name, known)}" for name in names if name not in known]
        if unknown:
            raise ValueError("; ".join(unknown))
        return require_distinct(kind, names)

    @model_validator(mode="after")
    def _consistent(self) -> "EvolutionSettings":
        low, high = self.initial_depth
        if not 0 <= low <= high <= self.max_depth:
            raise ValueError(
                f"initial_depth = [{low}, {high}]: expected 0 <= least <= greatest <= max_depth = {self.max_depth}"
            )
        if not any(getattr(self, key) for key in VARIATIONS.values()):
            raise ValueError("expected a weight above 0 for crossover or one of the mutations, got only zeros")
        if self.retests and self.mode == "steady":
            raise ValueError("retests: expected 0 with mode = 'steady', in which no generation is trained to its end")
        if self.population < 2 * self.islands:
            raise ValueError(
                f"population = {self.population}: expected at least two losses for each of {self.islands} islands"
            )
        if "y" not in self.terminals and not {"at_target", "ce"} & set(self.operators):
            raise ValueError("random trees cannot see the target: add y to terminals, or at_target or ce to operators")
        if not self.seeds and not _can_see_predictions(self.terminals):
            raise ValueError(
                "seeds: expected a loss to start from, since random trees cannot see a prediction. Name one, or add p, "
                "z or cosine to terminals"
            )
        for name in self.seeds:
            _require_within_limits(name, self.max_nodes, self.max_depth)
        return self


class Experiment(Declaration):
    """One search: on which tasks, from which losses, and with how much work.

    ``fidelity`` is the training on the first task. With several tasks ``fidelity_of`` holds the training on each. A
    task without a declared training takes its proxy.
    """

    task: str | tuple[str, ...] = Field(description="name of a task, see 'lossearch tasks', or an array of names")
    fidelity: TrainingSettings = Field(default_factory=TrainingSettings)
    evolution: EvolutionSettings = Field(default_factory=EvolutionSettings)

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks."""
        return (self.task,) if isinstance(self.task, str) else self.task

    def training_on(self, task: str) -> TrainingSettings:
        """Return the training on a task."""
        return self.fidelity_of.get(task, self.fidelity)

    @model_validator(mode="before")
    @classmethod
    def _resolved(cls, declared: Any, info: ValidationInfo) -> Any:
        """Fill in every task's training with all its keys, and make an array of tasks a tuple."""
        if not isinstance(declared, dict):
            return declared
        task = declared.get("task")
        tasks = [task] if isinstance(task, str) else task
        if not isinstance(tasks, list | tuple) or not tasks or not all(isinstance(name, str) for name in tasks):
            return declared
        trainings = resolve_search_trainings(declared, tasks, reads_data(info))
        resolved = declared | {"fidelity": trainings[tasks[0]]}
        if isinstance(task, str):
            return {key: value for key, value in resolved.items() if key != "fidelity_of"}
        return resolved | {"task": require_distinct("task", tuple(tasks)), "fidelity_of": trainings}

    @field_validator("task", mode="before")
    @classmethod
    def _from_list(cls, task: Any) -> Any:
        if task in ([], ()):
            raise ValueError("expected at least one task, got none")
        return tuple(task) if isinstance(task, list) else task

    @field_validator("task")
    @classmethod
    def _known_tasks(cls, task: str | tuple[str, ...], info: ValidationInfo) -> str | tuple[str, ...]:
        if "data" in info.data:  # otherwise only the mistakes in the data are reported
            require_tasks([task] if isinstance(task, str) else task, info.data["data"], reads_data(info))
        return task

    @model_validator(mode="after")
    def _suits_the_tasks(self, info: ValidationInfo) -> "Experiment":
        """Require that network, augmentation and formulas suit every task, and that all trainings have equal counts."""
        for name in self.tasks:
            if name in self.data and not reads_data(info):
                continue
            task = self.task_named(name)
            obstacle = task.obstacle(self.training_on(name))
            if obstacle is not None:
                raise ValueError(obstacle)
            for formula in (
                *(named_loss(text).formula for text in self.evolution.seeds),
                *map(Name, self.evolution.terminals),
            ):
                task.require_given(formula)
        for key, counts in (
            ("number of seeds", {self.training_on(name).seeds for name in self.tasks}),
            ("number of rungs", {len(self.training_on(name).rungs) for name in self.tasks}),
            ("reduction_factor", {self.training_on(name).reduction_factor for name in self.tasks}),
        ):
            if len(counts) > 1:
                raise ValueError(f"fidelity_of: expected the same {key} on every task, got {sorted(counts)}")
        return self


def load_experiment(name_or_path: str, **overrides: Any) -> Experiment:
    """Read an experiment from a TOML file, or a shipped one by its name.

    ``overrides`` replace top-level keys unless they are None. Raises ExperimentError.
    """
    return validated(*read_declaration(name_or_path, **overrides), given=overrides)


def validated(
    declared: dict[str, Any], source: str, with_data: bool = True, given: Mapping[str, Any] = NOTHING_GIVEN
) -> Experiment:
    """Validate a dictionary as an experiment. Raises ExperimentError as :func:`validate_as` does."""
    if "losses" in declared:
        advice = "Run it with 'lossearch compare'."
        raise ExperimentError(f"{prefix_of(source)}expected a search, got a comparison. {advice}")
    return validate_as(Experiment, declared, source, with_data, given)


def _require_within_limits(name: str, max_nodes: int, max_depth: int) -> None:
    """Raise ValueError if a starting loss and its canonical form exceed the limits of evolution."""
    formula = named_loss(name).formula
    if formula.size > max_nodes or formula.depth > max_depth:
        from lossearch.primitives.identity.algebra import canonical  # sympy, which is seldom needed here

        formula = canonical(formula)  # the form that is trained and that evolution varies
    if formula.size > max_nodes or formula.depth > max_depth:
        raise ValueError(
            f"seeds: {name} has {formula.size} nodes and {formula.depth} levels, more than max_nodes = {max_nodes} "
            f"or max_depth = {max_depth}. Raise them or leave it out"
        )


def _find_vocabulary(field: str) -> tuple[str, set[str]]:
    """Return the noun for one entry of a field, and all entries that the language knows."""
    return {"terminals": ("terminal", set(TERMINALS)), "operators": ("operator", set(OPERATORS))}[field]


def _can_see_predictions(terminals: tuple[str, ...]) -> bool:
    return not {"p", *FEATURES}.isdisjoint(terminals)


def full_training(experiment: Experiment, task: str) -> TrainingSettings:
    """Return the training that judges losses: the search's own without rungs, and at least as long as the task's."""
    proxy, full = experiment.training_on(task), experiment.task_named(task).fidelity
    if proxy.steps >= full.steps or proxy.schedule == "step":
        return proxy.model_copy(update={"rungs": ()})
    return proxy.model_copy(update={"rungs": (), "steps": full.steps})
