"""A program as Python statements: the assignments that compute a formula in an exported file."""

import operator
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F

from primitives import numerics
from primitives.formula import number_text
from primitives.lowering import Program, Step, Value

_INFIX = {operator.add: ("+", 1), operator.sub: ("-", 1), operator.mul: ("*", 2), operator.truediv: ("/", 2)}

_READABLE = {
    numerics.softmax_c: "probability",
    numerics.log_softmax_c: "log_probability",
    numerics.cosine_similarity: "cosine",
    numerics.squared_distance: "squared_distance_to_center",
}


def statements(program: Program) -> Iterator[str]:
    """Assignments of the values that are used more than once, then ``value = ...``."""
    uses = Counter([program.result, *(argument for step in program.steps for argument in step.arguments)])
    texts: dict[Value, tuple[str, int]] = {}
    taken: set[str] = set()
    for index, step in enumerate(program.steps):
        text = _expression(step, texts)
        result = Value(index, "step")
        if (uses[result] > 1 or len(text[0]) > 70) and result != program.result:
            name = _variable(step, index, taken)
            yield f"{name} = {text[0]}"
            text = name, 9
        texts[result] = text
    yield f"value = {_argument(program.result, texts)[0]}"


def _variable(step: Step, index: int, taken: set[str]) -> str:
    name = _READABLE.get(step.function, f"term_{index + 1}")
    name = f"{name}_{index + 1}" if name in taken else name
    taken.add(name)
    return name


def _expression(step: Step, texts: dict[Value, tuple[str, int]]) -> tuple[str, int]:
    arguments = [_argument(argument, texts) for argument in step.arguments]
    if step.function is operator.neg:
        text, binds = arguments[0]
        return (f"-{text}" if binds >= 3 else f"-({text})"), 3
    if step.function in _INFIX:
        symbol, binds = _INFIX[step.function]
        (left, left_binds), (right, right_binds) = arguments
        left = left if left_binds >= binds else f"({left})"
        right = right if right_binds > binds and not right.startswith("-") else f"({right})"
        return f"{left} {symbol} {right}", binds
    return f"{_dotted(step.function)}({', '.join(text for text, _ in arguments)})", 9


def _argument(value: Value, texts: dict[Value, tuple[str, int]]) -> tuple[str, int]:
    if value.kind == "step":
        return texts[value]
    if value.kind == "input":
        return _INPUTS.get(str(value.source), str(value.source)), 9
    number = float(value.source)
    return number_text(number) if number != int(number) else f"{number:.1f}", 9 if number >= 0 else 3


_INPUTS = {"z": "logits"}


def _dotted(function: Callable[..., Any]) -> str:
    name = function.__name__
    if getattr(function, "__module__", None) == numerics.__name__:
        return name
    return f"torch.{name}" if getattr(torch, name, None) is function else f"F.{_name_in_functional(function)}"


def _name_in_functional(function: Callable[..., Any]) -> str:
    return next(name for name in dir(F) if getattr(F, name) is function)
