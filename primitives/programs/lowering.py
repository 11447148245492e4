"""Lowering: a formula becomes a program of torch calls, each value computed once.

Invariant: loss modules run a program and the exporter prints it, so that both compute the same. The order of the steps
is part of the result: exported files show it, and gradients are added up along it.
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
from lossearch.primitives.programs.program import Program, Step, Value, drop_unused
from lossearch.primitives.programs.stable_forms import FusedCall, find_log_of_softmax, find_stable_form

#: Inputs of the distance to the target's center.
_DISTANCE = ("embeddings", "centers", "index")

#: Functions that take Python numbers as well as tensors.
_INFIX = (operator.add, operator.sub, operator.mul, operator.truediv, operator.neg)


@lru_cache(maxsize=1024)
def lower(formula: Formula, *, hard: bool = False) -> Program:
    """Compile a loss to a program whose result has one number per sample, [batch, 1, ...].

    A Class value is averaged over the classes. A ``hard`` program takes targets as class indices, the input ``index``
    [batch, 1, ...], and computes at the target class alone where it can. Every other program takes the input ``y``, the
    target distribution [batch, classes, ...]. A name that is no terminal of the language is an input, a Python number.
    """
    return _compile(call("mean_c", formula) if formula.shape is Shape.CLASS else formula, hard)


@lru_cache(maxsize=1024)
def lower_logits(formula: Formula, *, hard: bool = False) -> Program:
    """Compile a Class formula to a program whose result keeps its classes, [batch, classes, ...]."""
    return _compile(formula, hard)


def logits_of_cross_entropy(formula: Formula) -> Formula | None:
    """Return x where the formula is ce(x), which torch computes as a whole; None for every other formula."""
    if isinstance(formula, Call) and formula.operator == "ce" and formula.arguments[0].shape is Shape.CLASS:
        return formula.arguments[0]
    return None


def _compile(formula: Formula, hard: bool) -> Program:
    lowering = _Lowering(hard)
    result = lowering.lower(formula)
    return drop_unused(Program(tuple(lowering.inputs), tuple(lowering.steps), result))


class _Lowering:
    """Adds the steps of formulas to a program, each value once.

    ``at_target`` asks for the value of a Class formula at the target class alone. The formula does not look at y then:
    leaves and operators over classes are computed for all classes and taken at the target, the rest is computed from
    what was taken.
    """

    def __init__(self, hard: bool) -> None:
        self.inputs: list[str] = []
        self.steps: list[Step] = []
        self._hard = hard
        self._values: dict[tuple[Formula, bool], Value] = {}
        self._results: dict[Step, Value] = {}

    def lower(self, formula: Formula, at_target: bool = False) -> Value:
        """Add the steps of a formula that are not there yet. Return the place of its value."""
        key = formula, at_target and formula.shape is Shape.CLASS
        if key not in self._values:
            self._values[key] = self._lower_new(*key)
        return self._values[key]

    def _lower_new(self, formula: Formula, at_target: bool) -> Value:
        if formula.constant is not None:
            return Value(formula.constant, "number")
        if isinstance(formula, Name):
            if at_target and formula.name == "dist2":
                return self._add_step(numerics.squared_distance_at_target, *map(self._add_input, _DISTANCE))
            return self._take_target(self._add_input(formula.name)) if at_target else self._add_input(formula.name)
        assert isinstance(formula, Call)
        if not is_tensor(formula) and not OPERATORS[formula.operator].symbol:
            return self._lower_scalar_call(formula)
        value = self._lower_hard_form(formula) if self._hard else None
        if value is None:
            value = self._lower_stable_form(formula, at_target)
        if value is not None:
            return value
        if at_target and not OPERATORS[formula.operator].elementwise:
            return self._take_target(self.lower(formula))
        return self._lower_call(formula, at_target)

    def _add_step(self, function: Callable[..., Any], *arguments: Value) -> Value:
        """Add a call unless it is there already. Return the place of its result."""
        step = Step(function, arguments)
        if step not in self._results:
            self.steps.append(step)
            self._results[step] = Value(len(self.steps) - 1, "step")
        return self._results[step]

    def _add_input(self, name: str) -> Value:
        """Add the inputs of a terminal or hyper-parameter, and the step that computes it. Return its place."""
        terminal = TERMINALS.get(name)
        if terminal is None or terminal.tensor is None:
            if name not in self.inputs:
                self.inputs.append(name)
            return Value(name, "input")
        return self._add_step(terminal.tensor, *map(self._add_input, terminal.reads))

    def _take_target(self, value: Value) -> Value:
        """Add the step that takes a value at the target class."""
        return self._add_step(numerics.take_target, value, self._add_input("index"))

    # Calls.

    def _lower_call(self, formula: Call, at_target: bool) -> Value:
        meaning = OPERATORS[formula.operator]
        if formula.operator == "pow":
            return self._lower_power(formula, at_target)
        if formula.operator == "div":
            return self._lower_quotient(formula, at_target)
        if meaning.takes is Shape.CLASS and formula.operator != "at_target":
            values = [self._lower_over_classes(argument) for argument in formula.arguments]
        else:
            values = [self.lower(argument, at_target) for argument in formula.arguments]
        if formula.operator in ("minimum", "maximum") and not is_tensor(formula.arguments[0]):
            values.reverse()  # a tensor comes first, a number may come second
        return self._add_step(meaning.tensor, *values, *map(self._add_input, meaning.reads))

    def _lower_over_classes(self, formula: Formula) -> Value:
        value = self.lower(formula)
        if formula.shape is Shape.CLASS:
            return value
        return self._add_step(numerics.over_classes, value, self._add_input("y"))

    def _lower_power(self, formula: Call, at_target: bool) -> Value:
        base, exponent = formula.arguments
        exponent_value = self.lower(exponent, at_target)  # its steps come before those of the base
        if not is_tensor(base):
            if not is_tensor(exponent):
                return self._add_step(numerics.power, self._make_scalar(self.lower(base)), exponent_value)
            # b**x = exp(x*log(b))
            product = self._add_step(operator.mul, exponent_value, self.lower(call("log", base)))
            return self._add_step(numerics.exp, product)
        is_whole = exponent_value.kind == "number" and float(exponent_value.source).is_integer()
        logarithm = None if is_whole else find_log_of_softmax(base)
        if logarithm is None:
            return self._add_step(numerics.power, self.lower(base, at_target), exponent_value)
        # softmax(x)**e = exp(e*log_softmax(x)), whose slope is finite where the softmax underflows
        product = self._add_step(operator.mul, self.lower(logarithm, at_target), exponent_value)
        return self._add_step(numerics.exp, product)

    def _lower_quotient(self, formula: Call, at_target: bool) -> Value:
        numerator, divisor = formula.arguments
        logarithm = find_log_of_softmax(divisor)
        if logarithm is not None:  # x/softmax(z) = x*exp(-log_softmax(z)); the steps of the inverse come first
            inverse = self.lower(call("exp", call("neg", logarithm)), at_target)
            return self._add_step(operator.mul, self.lower(numerator, at_target), inverse)
        values = self.lower(numerator, at_target), self.lower(divisor, at_target)
        if is_tensor(divisor):
            return self._add_step(numerics.divide, *values)
        if values[1].kind == "number":
            smallest = numerics.smallest_positive(torch.zeros(0, dtype=torch.float64))
            return self._add_step(operator.truediv, values[0], Value(float(values[1].source) or smallest, "number"))
        if values[1].kind == "input":  # a hyper-parameter, which is not 0
            return self._add_step(operator.truediv, *values)
        return self._add_step(numerics.divide, values[0], self._make_scalar(values[1]))

    def _lower_stable_form(self, formula: Call, at_target: bool) -> Value | None:
        form = find_stable_form(formula, hard=self._hard)
        if isinstance(form, FusedCall):
            result = self._add_step(form.function, self.lower(form.argument), *map(self._add_input, form.reads))
            return self._take_target(result) if at_target else result
        return None if form is None else self.lower(form, at_target)

    # Hyper-parameters and numbers.

    def _lower_scalar_call(self, formula: Call) -> Value:
        """Add a function of hyper-parameters and numbers alone, on tensors without axes."""
        scalars = [self._make_scalar(self.lower(argument)) for argument in formula.arguments]
        return self._add_step(OPERATORS[formula.operator].tensor, *scalars)

    def _make_scalar(self, value: Value) -> Value:
        """Make a tensor without axes of a value of hyper-parameters and numbers alone."""
        return self._add_step(numerics.scalar, value) if self._is_python_number(value) else value

    def _is_python_number(self, value: Value) -> bool:
        """Return True for a number, a hyper-parameter, and sums and products of them: no torch function made those."""
        if value.kind != "step":
            return True
        step = self.steps[int(value.source)]
        return step.function in _INFIX and all(map(self._is_python_number, step.arguments))

    # Targets that are class indices.

    def _lower_hard_form(self, formula: Call) -> Value | None:
        """Compute the formula from the target's index. Return None where that is not simpler."""
        argument = formula.arguments[0]
        if formula.operator == "ce":
            log_softmax = self._add_step(numerics.log_softmax_c, self._lower_over_classes(argument))
            return self._add_step(operator.neg, self._take_target(log_softmax))
        try:
            if formula.operator == "at_target":
                return self._lower_at_target(argument)
            if formula.operator in ("sum_c", "mean_c") and at_other_classes(argument) == Number(0.0):
                total = self._lower_at_target(argument)
                if total is None or formula.operator == "sum_c":
                    return total
                return self._add_step(operator.truediv, total, self._add_input("num_classes"))
            if formula.shape is Shape.CLASS and varies_with_target(formula):
                return self._put_at_target(formula)
        except (NoHardForm, FormulaError):  # FormulaError: a number beyond the language's bounds
            pass
        return None

    def _lower_at_target(self, formula: Formula) -> Value | None:
        at_target = at_target_class(formula)
        return self.lower(at_target, at_target=True) if is_tensor(at_target) else None

    def _put_at_target(self, formula: Formula) -> Value | None:
        margin = additive_margin(formula)
        if margin is not None and margin[0].shape is Shape.CLASS:
            x, amount = map(self.lower, margin)
            return self._add_step(numerics.add_at_target, x, self._add_input("index"), amount)
        elsewhere, at_target = at_other_classes(formula), at_target_class(formula)
        if elsewhere.shape is not Shape.CLASS:
            return None
        target_value = self.lower(at_target, at_target=True)
        return self._add_step(numerics.put_at_target, self.lower(elsewhere), self._add_input("index"), target_value)


def is_tensor(formula: Formula) -> bool:
    """Return True if the value depends on a sample, False for hyper-parameters and numbers."""
    if isinstance(formula, Call):
        return not OPERATORS[formula.operator].elementwise or any(map(is_tensor, formula.arguments))
    return formula.constant is None and bool(formula.names & TERMINALS.keys())
