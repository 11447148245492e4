"""Lowering: a formula becomes a program of torch calls, in stable forms, each shared value once.

Invariant: the loss modules run a program and the exporter prints one, so that both mean the same.
"""

import operator
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch

from lossearch.primitives.analysis.targets import (
    NoHardForm,
    additive_margin,
    at_other_classes,
    at_target_class,
    varies_with_target,
)
from lossearch.primitives.language import numerics
from lossearch.primitives.language.formula import Call, Formula, FormulaError, Name, Number, call
from lossearch.primitives.language.operators import OPERATORS
from lossearch.primitives.language.shapes import Shape
from lossearch.primitives.language.terminals import TERMINALS
from lossearch.primitives.programs.program import Program, Step, Value, without_unused
from lossearch.primitives.programs.stable_forms import is_tensor, stable_form

_INFIX = (operator.add, operator.sub, operator.mul, operator.truediv, operator.neg)


@lru_cache(maxsize=1024)
def lower(formula: Formula, *, hard: bool = False) -> Program:
    """Program of a loss, whose value is one number per sample: a Class value is averaged over the classes.

    A ``hard`` program takes targets as class indices, the input ``index`` [batch, 1, ...], and works on the target
    class alone where it can; else the input ``y`` is the target distribution. A name that is no terminal of the
    language is an input, a Python number.
    """
    return _program(call("mean_c", formula) if formula.shape is Shape.CLASS else formula, hard)


@lru_cache(maxsize=1024)
def lower_logits(formula: Formula, *, hard: bool = False) -> Program:
    """Program of a Class formula, whose value keeps its classes."""
    return _program(formula, hard)


def logits_of_cross_entropy(formula: Formula) -> Formula | None:
    """x where the formula is ce(x), which torch computes as a whole; None for every other formula."""
    if isinstance(formula, Call) and formula.operator == "ce" and formula.arguments[0].shape is Shape.CLASS:
        return formula.arguments[0]
    return None


def _program(formula: Formula, hard: bool) -> Program:
    lowering = Lowering(hard)
    result = lowering.value(formula)
    return without_unused(Program(tuple(lowering.inputs), tuple(lowering.steps), result))


class Lowering:
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
        special = special or stable_form(self, formula, at_target)
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
        if formula.operator in ("minimum", "maximum") and not is_tensor(formula.arguments[0]):
            values.reverse()  # a tensor comes first, a number may come second
        if formula.operator == "div" and values[1].kind == "number":
            divisor = float(values[1].source) or numerics.smallest_positive(torch.zeros(0, dtype=torch.float64))
            return self.step(operator.truediv, values[0], Value(divisor, "number"))
        if formula.operator == "div" and values[1].kind == "input" and not is_tensor(formula.arguments[1]):
            return self.step(operator.truediv, *values)  # by a hyper-parameter, which is not 0
        if formula.operator == "div" and not is_tensor(formula.arguments[1]):
            return self.step(numerics.divide, values[0], self.scalar(values[1]))
        return self.step(meaning.tensor, *values, *(self.input(read) for read in meaning.reads))

    def scalar(self, value: Value) -> Value:
        """A value of hyper-parameters and numbers alone as a tensor without axes."""
        return self.step(numerics.scalar, value) if self._is_python_number(value) else value

    def _is_python_number(self, value: Value) -> bool:
        """Whether the value is none of a torch function: a number, a hyper-parameter, or sums and products of them."""
        if value.kind != "step":
            return True
        step = self.steps[int(value.source)]
        return step.function in _INFIX and all(map(self._is_python_number, step.arguments))

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
        return self.value(there, at_target=True) if is_tensor(there) else None

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


def _scalar_call(lowering: Lowering, formula: Call) -> Value | None:
    """A function of hyper-parameters and numbers alone, on tensors without axes; None for every other call."""
    if is_tensor(formula) or OPERATORS[formula.operator].symbol:  # infix operators take Python numbers
        return None
    scalars = [lowering.scalar(lowering.value(each)) for each in formula.arguments]
    return lowering.step(OPERATORS[formula.operator].tensor, *scalars)
