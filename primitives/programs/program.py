"""Program: a formula as the torch calls that compute it, in the order in which they run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Step:
    """One call: the function, and where its arguments are: an earlier value's index or a number."""

    function: Callable[..., Any]
    arguments: tuple["Value", ...]


@dataclass(frozen=True)
class Value:
    """An argument of a step: an input by name, the result of a step by index, or a number."""

    source: str | int | float
    kind: str  # input, step or number


@dataclass(frozen=True)
class Program:
    """Steps in the order in which they run, from the inputs to the result."""

    inputs: tuple[str, ...]
    steps: tuple[Step, ...]
    result: Value

    def run(self, inputs: dict[str, Any]) -> Any:
        """Value of the formula, a tensor or, where it looks at nothing, a float."""
        done: list[Any] = []
        for step in self.steps:
            done.append(step.function(*[_get(argument, inputs, done) for argument in step.arguments]))
        return _get(self.result, inputs, done)


def _get(value: Value, inputs: Mapping[Any, Any], done: Any) -> Any:
    if value.kind == "number":
        return value.source
    return inputs[value.source] if value.kind == "input" else done[value.source]


def without_unused(program: Program) -> Program:
    """The program without the steps and inputs that a stable form made superfluous."""
    inputs, steps = _used(program)
    if len(inputs) == len(program.inputs) and len(steps) == len(program.steps):
        return program
    moved = {Value(old, "step"): Value(new, "step") for new, old in enumerate(sorted(steps))}
    kept = [program.steps[index] for index in sorted(steps)]
    return Program(
        tuple(name for name in program.inputs if name in inputs),
        tuple(Step(step.function, tuple(moved.get(each, each) for each in step.arguments)) for step in kept),
        moved.get(program.result, program.result),
    )


def _used(program: Program) -> tuple[set[Any], set[Any]]:
    """Names of the inputs and indices of the steps that the result depends on."""
    sources: dict[str, set[Any]] = {"input": set(), "step": set(), "number": set()}
    sources[program.result.kind].add(program.result.source)
    for index in reversed(range(len(program.steps))):
        if index in sources["step"]:
            for each in program.steps[index].arguments:
                sources[each.kind].add(each.source)
    return sources["input"], sources["step"]
