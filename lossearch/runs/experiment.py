"""Experiment: one search, declared in a TOML file and validated before anything runs.

Every key has a default but ``name`` and ``task``; a key that is not known is refused, with the nearest known one.
"""

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from lossearch.evaluators.settings import TrainingSettings
from lossearch.primitives.errors import UserError, nearest
from lossearch.runs.declaration import (
    Declaration,
    ExperimentError,
    Section,
    declared_as,
    each_once,
    read_declaration,
    require_tasks,
    search_trainings,
)

_GROWN_OPERATORS = (
    *("add", "sub", "mul", "div", "pow", "neg", "exp", "log", "sqrt", "square", "abs", "tanh", "sigmoid"),
    *("softplus", "relu", "sin", "cos", "minimum", "maximum", "sum_c", "mean_c", "max_c", "at_target", "ce"),
)
_SEEDS = (
    *("cross_entropy", "mse", "mae", "focal", "ngl", "symmetric_cross_entropy", "generalized_cross_entropy"),
    *("label_smoothing", "poly1"),
)


#: The key of the weight of each kind of variation, by what births are called.
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
    """How formulas vary and how many there are."""

    population: int = Field(40, ge=2, le=100_000, description="losses kept, and new ones trained per generation")
    generations: int = Field(10, ge=1, le=1_000_000, description="generations, the first with the seeds among them")
    mode: Literal["generational", "steady"] = Field(
        "generational", description="steady: children are born as results arrive, and no worker waits for a generation"
    )
    islands: int = Field(1, ge=1, le=10_000, description="populations that breed apart, each with its share")
    migration_interval: int = Field(5, ge=1, le=1_000_000, description="generations between migrations")
    migrants: int = Field(2, ge=0, le=1_000, description="best losses that each island sends to the next one")
    seeds: tuple[str, ...] = Field(_SEEDS, description="losses to start from: known ones by name, or formulas")
    terminals: tuple[str, ...] = Field(("p", "y", "z"), min_length=1, description="what random trees look at")
    operators: tuple[str, ...] = Field(_GROWN_OPERATORS, min_length=1, description="what random trees grow from")
    crossover: float = Field(0.3, ge=0.0, description="weight of a subtree taken from another parent")
    subtree_mutation: float = Field(0.25, ge=0.0, description="weight of a random subtree")
    point_mutation: float = Field(0.2, ge=0.0, description="weight of one node replaced by a like one")
    constant_mutation: float = Field(0.25, ge=0.0, description="weight of one number scaled")
    family_mutation: float = Field(0.0, ge=0.0, description="weight of one operator replaced by one of its family")
    insertion: float = Field(0.0, ge=0.0, description="weight of a known loss's term added, or put for a term")
    margin: float = Field(0.0, ge=0.0, description="weight of logits or cosines given another margin, or none")
    wrapping: float = Field(0.0, ge=0.0, description="weight of a function applied to a part")
    hoist: float = Field(0.0, ge=0.0, description="weight of a part put for the whole, against bloat")
    shrink: float = Field(0.0, ge=0.0, description="weight of a call replaced by something below it, against bloat")
    retests: int = Field(
        0, ge=0, le=10_000, description="best losses trained under one more seed after each generation"
    )
    random_trees: float = Field(0.05, ge=0.0, le=1.0, description="share of children that are new random trees")
    initial_depth: tuple[int, int] = Field((2, 4), description="least and greatest depth of random trees")
    max_nodes: int = Field(30, ge=2, le=400, description="nodes of a formula at most")
    max_depth: int = Field(12, ge=1, le=64, description="levels of a formula at most")
    max_nesting: int = Field(2, ge=1, le=64, description="how often a function may stand within itself, at most")

    @field_validator("seeds", "terminals", "operators", "initial_depth", mode="before")
    @classmethod
    def _from_list(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value

    @field_validator("seeds")
    @classmethod
    def _seeds(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        from lossearch.runs.named_loss import named_loss

        problems = []
        for text in texts:
            try:
                named_loss(text)
            except UserError as error:
                problems.append(str(error))
        if problems:
            raise ValueError("; ".join(problems))
        return each_once("loss", texts)

    @field_validator("terminals", "operators")
    @classmethod
    def _known(cls, names: tuple[str, ...], info: Any) -> tuple[str, ...]:
        kind, known = _vocabulary(info.field_name)
        unknown = [f"unknown {kind} {name!r}{nearest(name, known)}" for name in names if name not in known]
        if unknown:
            raise ValueError("; ".join(unknown))
        return each_once(kind, names)

    @model_validator(mode="after")
    def _consistent(self) -> "EvolutionSettings":
        low, high = self.initial_depth
        if not 0 <= low <= high <= self.max_depth:
            raise ValueError(
                f"initial_depth = [{low}, {high}]: expected 0 <= least <= greatest <= max_depth = {self.max_depth}"
            )
        if not any(getattr(self, each) for each in VARIATIONS.values()):
            raise ValueError("expected a weight above 0 for crossover or one of the mutations")
        if self.retests and self.mode == "steady":
            raise ValueError("retests: expected 0 beside mode = 'steady', which has no generations that end")
        if self.population < 2 * self.islands:
            raise ValueError(
                f"population = {self.population}: expected two losses at least for each of {self.islands} islands"
            )
        if "y" not in self.terminals and not {"at_target", "ce"} & set(self.operators):
            raise ValueError("random trees cannot see the target: add y to terminals, or at_target or ce to operators")
        if not self.seeds and not _see_predictions(self.terminals):
            raise ValueError(
                "seeds: expected a loss to start from, since random trees cannot see a prediction: name one, or add p, "
                "z or cosine to terminals"
            )
        for name in self.seeds:
            _require_within_limits(name, self.max_nodes, self.max_depth)
        return self


class Experiment(Declaration):
    """One search: what is looked for, on what task or tasks, with how much work.

    ``fidelity`` is the training on the task; where there are several tasks, ``fidelity_of`` holds that on each. Where
    nothing is declared of it, it is the task's proxy.
    """

    task: str | tuple[str, ...] = Field(description="name of a task, see 'lossearch tasks', or an array of several")
    fidelity: TrainingSettings = Field(default_factory=TrainingSettings)
    evolution: EvolutionSettings = Field(default_factory=EvolutionSettings)

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks."""
        return (self.task,) if isinstance(self.task, str) else self.task

    def training_on(self, task: str) -> TrainingSettings:
        """The training on a task."""
        return self.fidelity_of.get(task, self.fidelity)

    @model_validator(mode="before")
    @classmethod
    def _resolved(cls, declared: Any) -> Any:
        """Every task's training with all its keys, and an array of tasks as a tuple."""
        if not isinstance(declared, dict):
            return declared
        task = declared.get("task")
        tasks = [task] if isinstance(task, str) else task
        if not isinstance(tasks, list | tuple) or not tasks or not all(isinstance(each, str) for each in tasks):
            return declared
        trainings = search_trainings(declared, tasks)
        found = declared | {"fidelity": trainings[tasks[0]]}
        if isinstance(task, str):
            return {key: value for key, value in found.items() if key != "fidelity_of"}
        return found | {"task": each_once("task", tuple(tasks)), "fidelity_of": trainings}

    @field_validator("task")
    @classmethod
    def _known_tasks(cls, task: str | tuple[str, ...], info: Any) -> str | tuple[str, ...]:
        require_tasks([task] if isinstance(task, str) else task, info.data.get("data", {}))
        return task

    @model_validator(mode="after")
    def _suits_the_tasks(self) -> "Experiment":
        """Network, augmentation and formulas look at what the tasks give; trainings have as many seeds and rungs."""
        from lossearch.primitives.language.formula import Name
        from lossearch.runs.named_loss import named_loss

        for name in self.tasks:
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
            ("seeds", {self.training_on(name).seeds for name in self.tasks}),
            ("rungs", {len(self.training_on(name).rungs) for name in self.tasks}),
            ("of reduction_factor", {self.training_on(name).reduction_factor for name in self.tasks}),
        ):
            if len(counts) > 1:
                raise ValueError(f"fidelity_of: expected as many {key} on every task, got {sorted(counts)}")
        return self


def load_experiment(name_or_path: str, **overrides: Any) -> Experiment:
    """Read an experiment from a TOML file, or a shipped one by its name.

    ``overrides`` replace top-level keys where they are not None. Raises ExperimentError.
    """
    return validated(*read_declaration(name_or_path, **overrides))


def validated(declared: dict[str, Any], source: str) -> Experiment:
    """The experiment that a dictionary declares; ExperimentError names the source and each bad key."""
    if "losses" in declared:
        raise ExperimentError(f"{source}: expected a search, got a comparison. Run it with 'lossearch compare'.")
    return declared_as(Experiment, declared, source)


def _require_within_limits(name: str, max_nodes: int, max_depth: int) -> None:
    from lossearch.runs.named_loss import named_loss

    formula = named_loss(name).formula
    if formula.size > max_nodes or formula.depth > max_depth:
        from lossearch.primitives.identity.algebra import canonical

        formula = canonical(formula)  # what is trained, and what evolution goes on from
    if formula.size > max_nodes or formula.depth > max_depth:
        raise ValueError(
            f"seeds: {name} has {formula.size} nodes and {formula.depth} levels, more than max_nodes = {max_nodes} "
            f"or max_depth = {max_depth}; raise them or leave it out"
        )


def _vocabulary(field: str) -> tuple[str, set[str]]:
    from lossearch.primitives.language.operators import OPERATORS
    from lossearch.primitives.language.terminals import TERMINALS

    return {
        "terminals": ("terminal", set(TERMINALS)),
        "operators": ("operator", set(OPERATORS)),
    }[field]


def _see_predictions(terminals: tuple[str, ...]) -> bool:
    from lossearch.primitives.language.terminals import FEATURES

    return not {"p", *FEATURES}.isdisjoint(terminals)


def full_training(experiment: Experiment, task: str) -> TrainingSettings:
    """The training that losses are judged by: the search's own, to its end and no shorter than the task's."""
    proxy, full = experiment.training_on(task), experiment.task_named(task).fidelity
    if proxy.steps >= full.steps or proxy.schedule == "step":
        return proxy.model_copy(update={"rungs": ()})
    return proxy.model_copy(update={"rungs": (), "steps": full.steps})
