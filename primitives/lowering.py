"""Lowering: a formula becomes a program of torch calls, in stable forms, each shared value once.

Invariant: the loss modules run a program and the exporter prints one, so that both mean the same.
"""

import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from math import log
from typing import Any

import torch

from primitives import numerics
from primitives.formula import Call, Formula, Name, Number, call
from primitives.operators import OPERATORS
from primitives.shapes import Shape
from primitives.terminals import TERMINALS


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


@dataclass
class Program:
    """Steps in the order in which they run; the last value is the formula's."""

    inputs: list[str] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    result: Value = Value(0.0, "number")
    shape: Shape = Shape.SCALAR

    def run(self, inputs: dict[str, Any]) -> Any:
        """Value of the formula, a tensor or, where it looks at nothing, a float."""
        done: list[Any] = []
        for step in self.steps:
            done.append(step.function(*[_get(argument, inputs, done) for argument in step.arguments]))
        return _get(self.result, inputs, done)


def _get(value: Value, inputs: dict[str, Any], done: list[Any]) -> Any:
    if value.kind == "number":
        return value.source
    return inputs[value.source] if value.kind == "input" else done[value.source]  # type: ignore[index]


def lower(formula: Formula) -> Program:
    """Program of a formula.

    A name that is no terminal of the language stays an input, so that a hyper-parameter may be bound
    before (a number) or given when the program runs.
    """
    lowering = _Lowering()
    result = lowering.value(formula)
    return _without_unused(Program(lowering.program.inputs, lowering.program.steps, result, formula.shape))


def _without_unused(program: Program) -> Program:
    """The program without the steps and inputs that a stable form made superfluous."""
    used: set[Value] = {program.result}
    for index in reversed(range(len(program.steps))):
        if Value(index, "step") in used:
            used.update(program.steps[index].arguments)
    moved: dict[Value, Value] = {}
    steps: list[Step] = []
    for index, step in enumerate(program.steps):
        if Value(index, "step") in used:
            steps.append(Step(step.function, tuple(moved.get(each, each) for each in step.arguments)))
            moved[Value(index, "step")] = Value(len(steps) - 1, "step")
    inputs = [name for name in program.inputs if Value(name, "input") in used]
    return Program(inputs, steps, moved.get(program.result, program.result), program.shape)


class _Lowering:
    def __init__(self) -> None:
        self.program = Program()
        self._formulas: dict[Formula, Value] = {}
        self._steps: dict[Step, Value] = {}

    def value(self, formula: Formula) -> Value:
        """Where the formula's value will be, after adding the steps that are not there yet."""
        if formula not in self._formulas:
            self._formulas[formula] = self._lowered(formula)
        return self._formulas[formula]

    def _lowered(self, formula: Formula) -> Value:
        if formula.constant is not None:
            return Value(formula.constant, "number")
        if isinstance(formula, Name):
            return self._name(formula.name)
        assert isinstance(formula, Call)
        stable = _stable(self, formula)
        return stable if stable is not None else self._call(formula)

    def _name(self, name: str) -> Value:
        terminal = TERMINALS.get(name)
        if terminal is None or terminal.tensor is None:
            if name not in self.program.inputs:
                self.program.inputs.append(name)
            return Value(name, "input")
        return self.step(terminal.tensor, *(self._name(read) for read in terminal.reads))

    def _call(self, formula: Call) -> Value:
        meaning = OPERATORS[formula.operator]
        values = [self.value(argument) for argument in formula.arguments]
        if meaning.takes is Shape.CLASS and formula.operator != "at_target":
            values = [
                value if argument.shape is Shape.CLASS else self.step(numerics.over_classes, value, self._name("y"))
                for value, argument in zip(values, formula.arguments, strict=True)
            ]
        if formula.operator in ("minimum", "maximum") and values[0].kind == "number":
            values.reverse()  # a tensor comes first, a number may come second
        if formula.operator == "div" and values[1].kind == "number":
            divisor = float(values[1].source) or numerics.smallest_positive(torch.zeros(0))
            return self.step(operator.truediv, values[0], Value(divisor, "number"))
        return self.step(meaning.tensor, *values, *(self._name(read) for read in meaning.reads))

    def step(self, function: Callable[..., Any], *arguments: Value) -> Value:
        """Result of a call, which is added unless the same call is there already."""
        step = Step(function, arguments)
        if step not in self._steps:
            self.program.steps.append(step)
            self._steps[step] = Value(len(self.program.steps) - 1, "step")
        return self._steps[step]


# --- stable forms -----------------------------------------------------------------------------------


def _stable(lowering: _Lowering, formula: Call) -> Value | None:
    """A stable form of the formula where there is one; None where the plain one is stable."""
    argument = formula.arguments[0]
    if formula.operator == "log":
        return _stable_log(lowering, argument)
    if formula.operator == "log10":
        natural = _stable_log(lowering, argument)
        return None if natural is None else lowering.step(operator.truediv, natural, Value(log(10.0), "number"))
    if formula.operator == "sqrt":
        return _power_of_softmax(lowering, argument, Value(0.5, "number"))
    if formula.operator == "pow":
        return _stable_power(lowering, argument, formula.arguments[1])
    return None


def _stable_power(lowering: _Lowering, base: Formula, exponent: Formula) -> Value | None:
    base_value, exponent_value = lowering.value(base), lowering.value(exponent)
    if base_value.kind == "number" and exponent_value.kind != "number":  # b**x = exp(x log b)
        logarithm = Value(OPERATORS["log"].of_numbers(float(base_value.source)), "number")
        return lowering.step(numerics.exp, lowering.step(operator.mul, exponent_value, logarithm))
    if exponent_value.kind == "number" and float(exponent_value.source).is_integer():
        return None
    return _power_of_softmax(lowering, base, exponent_value)


def _power_of_softmax(lowering: _Lowering, base: Formula, exponent: Value) -> Value | None:
    """softmax(x)**e = exp(e log softmax(x)): its slope is finite where the softmax underflows."""
    logits = _softmax_argument(base)
    if logits is None:
        return None
    logarithm = lowering.step(numerics.log_softmax_c, lowering.value(logits))
    return lowering.step(numerics.exp, lowering.step(operator.mul, logarithm, exponent))


def _stable_log(lowering: _Lowering, argument: Formula) -> Value | None:
    logits = _softmax_argument(argument)
    if logits is not None:  # log softmax(x)
        return lowering.step(numerics.log_softmax_c, lowering.value(logits))
    if not isinstance(argument, Call):
        return None
    first = argument.arguments[0]
    if argument.operator == "sub" and first == Number(1.0):  # log(1 - softmax(x))
        logits = _softmax_argument(argument.arguments[1])
        if logits is not None:
            return lowering.step(numerics.log_one_minus_softmax, lowering.value(logits))
    if argument.operator == "add":  # log(1 + exp(x))
        for one, other in (argument.arguments, argument.arguments[::-1]):
            if one == Number(1.0) and isinstance(other, Call) and other.operator == "exp":
                return lowering.value(call("softplus", *other.arguments))
    if argument.operator == "sum_c" and isinstance(first, Call) and first.operator == "exp":
        return lowering.value(call("lse_c", *first.arguments))
    if argument.operator == "at_target":  # log of the softmax at the target
        logits = _softmax_argument(first)
        if logits is not None:
            logarithm = lowering.step(numerics.log_softmax_c, lowering.value(logits))
            return lowering.step(numerics.log_at_target, logarithm, lowering.value(Name("y")))
    return None


def _softmax_argument(formula: Formula) -> Formula | None:
    """The logits whose softmax over all classes the formula is, else None."""
    if formula == Name("p"):
        return Name("z")
    if isinstance(formula, Call) and formula.operator == "softmax_c":
        argument = formula.arguments[0]
        return argument if argument.shape is Shape.CLASS else None
    return None
