"""Lowering: a formula becomes a program of torch calls, in stable forms, each shared value once.

Invariant: the loss modules run a program and the exporter prints one, so that both mean the same.
"""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import log
from typing import Any

import torch

from primitives import numerics
from primitives.formula import Call, Formula, FormulaError, Name, Number, call
from primitives.hard_targets import (
    NoHardForm,
    additive_margin,
    at_other_classes,
    at_target_class,
    varies_with_target,
)
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


def _get(value: Value, inputs: dict[str, Any], done: list[Any]) -> Any:
    if value.kind == "number":
        return value.source
    return inputs[value.source] if value.kind == "input" else done[value.source]  # type: ignore[index]


@lru_cache(maxsize=256)
def lower(formula: Formula, *, hard: bool = False) -> Program:
    """Program of a loss, whose value is one number per sample: a Class value is averaged over the classes.

    A ``hard`` program takes targets as class indices, the input ``index`` [batch, 1, ...], and works on the target
    class alone where it can; else the input ``y`` is the target distribution. A name that is no terminal of the
    language is an input, a Python number.
    """
    return _program(call("mean_c", formula) if formula.shape is Shape.CLASS else formula, hard)


@lru_cache(maxsize=256)
def lower_logits(formula: Formula, *, hard: bool = False) -> Program:
    """Program of a Class formula, whose value keeps its classes."""
    return _program(formula, hard)


def logits_of_cross_entropy(formula: Formula) -> Formula | None:
    """x where the formula is ce(x), which torch computes as a whole; None for every other formula."""
    if isinstance(formula, Call) and formula.operator == "ce" and formula.arguments[0].shape is Shape.CLASS:
        return formula.arguments[0]
    return None


def _program(formula: Formula, hard: bool) -> Program:
    lowering = _Lowering(hard)
    result = lowering.value(formula)
    return _without_unused(Program(tuple(lowering.inputs), tuple(lowering.steps), result))


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
    inputs = tuple(name for name in program.inputs if Value(name, "input") in used)
    return Program(inputs, tuple(steps), moved.get(program.result, program.result))


class _Lowering:
    """Adds the steps of formulas to a program, each shared value once.

    Where ``at_target`` is set, the value of a Class formula that does not look at y is wanted at the target class
    alone: leaves and operators over classes are taken there, and the rest is computed from what was taken.
    """

    def __init__(self, hard: bool) -> None:
        self.inputs: list[str] = []
        self.steps: list[Step] = []
        self.hard = hard
        self._formulas: dict[tuple[Formula, bool], Value] = {}
        self._results: dict[Step, Value] = {}

    def value(self, formula: Formula, at_target: bool = False) -> Value:
        """Where the formula's value will be, after adding the steps that are not there yet."""
        key = formula, at_target and formula.shape is Shape.CLASS
        if key not in self._formulas:
            self._formulas[key] = self._lowered(*key)
        return self._formulas[key]

    def _lowered(self, formula: Formula, at_target: bool) -> Value:
        if formula.constant is not None:
            return Value(formula.constant, "number")
        if isinstance(formula, Name):
            return self._taken(self.input(formula.name)) if at_target else self.input(formula.name)
        assert isinstance(formula, Call)
        special = _scalar_call(self, formula) or (self._hard_form(formula) if self.hard else None)
        special = special or _stable(self, formula, at_target)
        if special is not None:
            return special
        if at_target and not OPERATORS[formula.operator].elementwise:
            return self._taken(self.value(formula))
        return self._call(formula, at_target)

    def input(self, name: str) -> Value:
        """Where a terminal's or a hyper-parameter's value will be."""
        terminal = TERMINALS.get(name)
        if terminal is None or terminal.tensor is None:
            if name not in self.inputs:
                self.inputs.append(name)
            return Value(name, "input")
        return self.step(terminal.tensor, *(self.input(read) for read in terminal.reads))

    def _taken(self, value: Value) -> Value:
        return self.step(numerics.take_target, value, self.input("index"))

    def log_softmax(self, logits: Formula, at_target: bool = False) -> Value:
        """Logarithm of the softmax of a formula over the classes."""
        result = self.step(numerics.log_softmax_c, self._over_classes(logits))
        return self._taken(result) if at_target else result

    def log_one_minus_softmax(self, logits: Formula, at_target: bool) -> Value:
        """log(1 - softmax) of a formula over the classes."""
        result = self.step(numerics.log_one_minus_softmax, self.value(logits))
        return self._taken(result) if at_target else result

    def _over_classes(self, formula: Formula) -> Value:
        value = self.value(formula)
        return value if formula.shape is Shape.CLASS else self.step(numerics.over_classes, value, self.input("y"))

    def _call(self, formula: Call, at_target: bool) -> Value:
        meaning = OPERATORS[formula.operator]
        if meaning.takes is Shape.CLASS and formula.operator != "at_target":
            values = [self._over_classes(argument) for argument in formula.arguments]
        else:
            values = [self.value(argument, at_target) for argument in formula.arguments]
        if formula.operator in ("minimum", "maximum") and not _is_tensor(formula.arguments[0]):
            values.reverse()  # a tensor comes first, a number may come second
        if formula.operator == "div" and values[1].kind == "number":
            divisor = float(values[1].source) or numerics.smallest_positive(torch.zeros(0))
            return self.step(operator.truediv, values[0], Value(divisor, "number"))
        if formula.operator == "div" and not _is_tensor(formula.arguments[1]):
            return self.step(operator.truediv, *values)
        return self.step(meaning.tensor, *values, *(self.input(read) for read in meaning.reads))

    def step(self, function: Callable[..., Any], *arguments: Value) -> Value:
        """Result of a call, which is added unless the same call is there already."""
        step = Step(function, arguments)
        if step not in self._results:
            self.steps.append(step)
            self._results[step] = Value(len(self.steps) - 1, "step")
        return self._results[step]

    # --- targets that are class indices -------------------------------------------------------------

    def _hard_form(self, formula: Call) -> Value | None:
        """The formula's value by the target's index; None where it is not simpler so."""
        argument = formula.arguments[0]
        if formula.operator == "ce":
            return self.step(operator.neg, self.log_softmax(argument, at_target=True))
        try:
            if formula.operator == "at_target":
                return self._value_at_target(argument)
            if formula.operator in ("sum_c", "mean_c") and at_other_classes(argument) == Number(0.0):
                total = self._value_at_target(argument)
                if total is None or formula.operator == "sum_c":
                    return total
                return self.step(operator.truediv, total, self.input("num_classes"))
            if formula.shape is Shape.CLASS and varies_with_target(formula):
                return self._put_at_target(formula)
        except (NoHardForm, FormulaError):  # also a number beyond the language's bounds
            pass
        return None

    def _value_at_target(self, formula: Formula) -> Value | None:
        there = at_target_class(formula)
        return self.value(there, at_target=True) if _is_tensor(there) else None

    def _put_at_target(self, formula: Formula) -> Value | None:
        margin = additive_margin(formula)
        if margin is not None and margin[0].shape is Shape.CLASS:
            x, amount = map(self.value, margin)
            return self.step(numerics.add_at_target, x, self.input("index"), amount)
        elsewhere, there = at_other_classes(formula), at_target_class(formula)
        if elsewhere.shape is not Shape.CLASS:
            return None
        target_value = self.value(there, at_target=True)
        return self.step(numerics.put_at_target, self.value(elsewhere), self.input("index"), target_value)


def _is_tensor(formula: Formula) -> bool:
    """Whether the formula's value depends on a sample, and is no hyper-parameter's or number's."""
    if isinstance(formula, Call):
        return not OPERATORS[formula.operator].elementwise or any(map(_is_tensor, formula.arguments))
    return formula.constant is None and bool(formula.names & TERMINALS.keys())


def _scalar_call(lowering: _Lowering, formula: Call) -> Value | None:
    """A function of hyper-parameters and numbers alone, on tensors without axes; None for every other call."""
    if _is_tensor(formula) or OPERATORS[formula.operator].symbol:  # infix operators take Python numbers
        return None
    scalars = [lowering.step(numerics.scalar, lowering.value(each)) for each in formula.arguments]
    return lowering.step(OPERATORS[formula.operator].tensor, *scalars)


# --- stable forms -----------------------------------------------------------------------------------


def _stable(lowering: _Lowering, formula: Call, at_target: bool) -> Value | None:
    """A stable form of the formula where there is one; None where the plain one is stable."""
    argument = formula.arguments[0]
    if formula.operator == "log":
        return _stable_log(lowering, argument, at_target)
    if formula.operator == "log10":
        natural = _stable_log(lowering, argument, at_target)
        return None if natural is None else lowering.step(operator.truediv, natural, Value(log(10.0), "number"))
    if formula.operator == "sqrt":
        return _power_of_softmax(lowering, argument, Value(0.5, "number"), at_target)
    if formula.operator == "pow":
        return _stable_power(lowering, argument, formula.arguments[1], at_target)
    if formula.operator == "div":
        return _quotient_of_softmax(lowering, argument, formula.arguments[1], at_target)
    if formula.operator == "cos" and isinstance(argument, Call) and argument.operator == "arccos":
        return lowering.value(argument.arguments[0], at_target)
    return None


def _stable_power(lowering: _Lowering, base: Formula, exponent: Formula, at_target: bool) -> Value | None:
    exponent_value = lowering.value(exponent, at_target)
    if not _is_tensor(base):
        return _power_of_number(lowering, base, exponent, exponent_value)
    if exponent_value.kind == "number" and float(exponent_value.source).is_integer():
        return None
    return _power_of_softmax(lowering, base, exponent_value, at_target)


def _power_of_number(lowering: _Lowering, base: Formula, exponent: Formula, exponent_value: Value) -> Value | None:
    """b**x = exp(x log b); a power of Python numbers alone is one itself."""
    if not _is_tensor(exponent):
        return lowering.step(operator.pow, lowering.value(base), exponent_value)
    if base.constant is not None:
        logarithm = Value(OPERATORS["log"].of_numbers(base.constant), "number")
    else:
        logarithm = lowering.step(numerics.log, lowering.step(numerics.scalar, lowering.value(base)))
    return lowering.step(numerics.exp, lowering.step(operator.mul, exponent_value, logarithm))


def _power_of_softmax(lowering: _Lowering, base: Formula, exponent: Value, at_target: bool) -> Value | None:
    """softmax(x)**e = exp(e log softmax(x)): its slope is finite where the softmax underflows."""
    logits = _softmax_argument(base)
    if logits is None:
        return None
    logarithm = lowering.log_softmax(logits, at_target)
    return lowering.step(numerics.exp, lowering.step(operator.mul, logarithm, exponent))


def _quotient_of_softmax(lowering: _Lowering, numerator: Formula, divisor: Formula, at_target: bool) -> Value | None:
    """x/softmax(z) = x*exp(-log softmax(z))."""
    logits = _softmax_argument(divisor)
    if logits is None:
        return None
    inverse = lowering.step(numerics.exp, lowering.step(operator.neg, lowering.log_softmax(logits, at_target)))
    return lowering.step(operator.mul, lowering.value(numerator, at_target), inverse)


def _stable_log(lowering: _Lowering, argument: Formula, at_target: bool) -> Value | None:
    logits = _softmax_argument(argument)
    if logits is not None:  # log softmax(x)
        return lowering.log_softmax(logits, at_target)
    if not isinstance(argument, Call):
        return None
    first = argument.arguments[0]
    if argument.operator == "sub" and first == Number(1.0):  # log(1 - softmax(x))
        logits = _softmax_argument(argument.arguments[1])
        if logits is not None:
            return lowering.log_one_minus_softmax(logits, at_target)
    if argument.operator == "add":  # log(1 + exp(x))
        for one, other in (argument.arguments, argument.arguments[::-1]):
            if one == Number(1.0) and isinstance(other, Call) and other.operator == "exp":
                return lowering.value(call("softplus", *other.arguments), at_target)
    if argument.operator == "sum_c" and isinstance(first, Call) and first.operator == "exp":
        return lowering.value(call("lse_c", *first.arguments))
    return _stable_log_of_a_class(lowering, argument.operator, first)


def _stable_log_of_a_class(lowering: _Lowering, operator_name: str, argument: Formula) -> Value | None:
    """Logarithm of the softmax at the target, or of its largest."""
    logits = _softmax_argument(argument)
    if logits is None or operator_name not in ("at_target", "max_c"):
        return None
    if operator_name == "max_c":
        return lowering.step(numerics.max_c, lowering.log_softmax(logits))
    if lowering.hard:
        return lowering.log_softmax(logits, at_target=True)
    return lowering.step(numerics.log_at_target, lowering.log_softmax(logits), lowering.input("y"))


def _softmax_argument(formula: Formula) -> Formula | None:
    """The logits whose softmax over all classes the formula is, else None."""
    if formula == Name("p"):
        return Name("z")
    if isinstance(formula, Call) and formula.operator == "softmax_c":
        argument = formula.arguments[0]
        return argument if argument.shape is Shape.CLASS else None
    return None
