"""Program: the torch calls that compute a formula, in the order in which they run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Step:
    """One call of a function on values."""

    function: Callable[..., Any]
    arguments: tuple["Value", ...]


@dataclass(frozen=True)
class Value:
    """An argument of a step: an input by its name, the result of an earlier step by its index, or a number."""

    source: str | int | float
    kind: str  # input, step or number


@dataclass(frozen=True)
class Program:
    """Steps from the inputs to the result, in the order in which they run."""

    inputs: tuple[str, ...]
    steps: tuple[Step, ...]
    result: Value

    def run(self, inputs: dict[str, Any]) -> Any:
        """Compute the formula's value: a tensor, or a float if the formula looks at nothing."""
        results: list[Any] = []
        for step in self.steps:
            results.append(step.function(*[_read(argument, inputs, results) for argument in step.arguments]))
        return _read(self.result, inputs, results)


def _read(value: Value, inputs: Mapping[Any, Any], results: Any) -> Any:
    if value.kind == "number":
        return value.source
    return inputs[value.source] if value.kind == "input" else results[value.source]


def drop_unused(program: Program) -> Program:
    """Drop the steps and inputs on which the result does not depend."""
    inputs, steps = _find_used(program)
    if len(inputs) == len(program.inputs) and len(steps) == len(program.steps):
        return program
    renumbered = {Value(old, "step"): Value(new, "step") for new, old in enumerate(sorted(steps))}
    kept = [program.steps[index] for index in sorted(steps)]
    return Program(
        tuple(name for name in program.inputs if name in inputs),
        tuple(Step(step.function, tuple(renumbered.get(value, value) for value in step.arguments)) for step in kept),
        renumbered.get(program.result, program.result),
    )


def _find_used(program: Program) -> tuple[set[Any], set[Any]]:
    """Return names of the inputs and indices of the steps that the result depends on."""
    sources: dict[str, set[Any]] = {"input": set(), "step": set(), "number": set()}
    sources[program.result.kind].add(program.result.source)
    for index in reversed(range(len(program.steps))):
        if index in sources["step"]:
            for argument in program.steps[index].arguments:
                sources[argument.kind].add(argument.source)
    return sources["input"], sources["step"]
