"""A program as Python statements: the assignments that compute a formula in an exported file."""

import ast
import inspect
import operator
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F

from lossearch.primitives.language import numerics
from lossearch.primitives.language.formula import number_text
from lossearch.primitives.modules import contract, pedcc
from lossearch.primitives.programs.program import Program, Step, Value

_INFIX = {operator.add: ("+", 1), operator.sub: ("-", 1), operator.mul: ("*", 2), operator.truediv: ("/", 2)}

_READABLE = {
    numerics.softmax_c: "probability",
    numerics.log_softmax_c: "log_probability",
    numerics.cosine_similarity: "cosine",
    numerics.squared_distance: "distance",
    numerics.put_at_target: "with_target",
}


#: Characters beyond which an argument gets a name: three of them and a call fit in a line of 120.
_LONG = 32


def statements(program: Program, inputs: Mapping[str, str]) -> Iterator[str]:
    """Assignments of the values that are used more than once, then ``value = ...``.

    ``inputs`` says how an input is written where that is not its name.
    """
    uses = Counter([program.result, *(argument for step in program.steps for argument in step.arguments)])
    texts: dict[Value, tuple[str, int]] = {}
    taken: set[str] = set()
    for index, step in enumerate(program.steps):
        text = _expression(step, texts, inputs)
        result = Value(index, "step")
        if (uses[result] > 1 or len(text[0]) > _LONG) and result != program.result:
            name = _variable(step, index, taken)
            yield f"{name} = {text[0]}"
            text = name, 9
        texts[result] = text
    yield f"value = {_argument(program.result, texts, inputs)[0]}"


def _variable(step: Step, index: int, taken: set[str]) -> str:
    name = _READABLE.get(step.function, f"term_{index + 1}")
    name = f"{name}_{index + 1}" if name in taken else name
    taken.add(name)
    return name


def _expression(step: Step, texts: dict[Value, tuple[str, int]], inputs: Mapping[str, str]) -> tuple[str, int]:
    arguments = [_argument(argument, texts, inputs) for argument in step.arguments]
    if step.function is operator.neg:
        text, binds = arguments[0]
        return (f"-{text}" if binds >= 3 else f"-({text})"), 3
    if step.function in _INFIX:
        symbol, binds = _INFIX[step.function]
        (left, left_binds), (right, right_binds) = arguments
        left = left if left_binds >= binds else f"({left})"
        right = right if right_binds > binds and not right.startswith("-") else f"({right})"
        return f"{left} {symbol} {right}", binds
    texts_of_arguments = [text for text, _ in arguments]
    if is_ours(step.function):
        expression = inlined(step.function, texts_of_arguments)
        if expression is not None:
            return expression, 3 if expression.startswith("-") else 9
    return f"{_dotted(step.function)}({', '.join(texts_of_arguments)})", 9


def _argument(value: Value, texts: dict[Value, tuple[str, int]], inputs: Mapping[str, str]) -> tuple[str, int]:
    if value.kind == "step":
        return texts[value]
    if value.kind == "input":
        return inputs.get(str(value.source), str(value.source)), 9
    number = float(value.source)
    return number_text(number) if number != int(number) else f"{number:.1f}", 9 if number >= 0 else 3


def _dotted(function: Callable[..., Any]) -> str:
    name = function.__name__
    if is_ours(function):
        return name
    return f"torch.{name}" if getattr(torch, name, None) is function else f"F.{_name_in_functional(function)}"


def _name_in_functional(function: Callable[..., Any]) -> str:
    return next(name for name in dir(F) if getattr(F, name) is function)


_MODULES: dict[str, ModuleType] = {module.__name__: module for module in (numerics, contract, pedcc)}


def is_ours(function: Callable[..., Any]) -> bool:
    """Whether a function is one that exported files contain, and not torch's."""
    return getattr(function, "__module__", None) in _MODULES


# --- Inlining: a call of one of our one-line functions as the expression that it returns.


@lru_cache(maxsize=256)
def one_line(function: Callable[..., Any]) -> tuple[tuple[str, ...], ast.expr] | None:
    """Parameters and returned expression of a function that does nothing but return it; None for every other.

    Each parameter must stand once in the expression, so that nothing is computed twice.
    """
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    assert isinstance(definition, ast.FunctionDef)
    body = definition.body[1:]  # after the docstring
    parameters = tuple(each.arg for each in definition.args.args)
    if len(body) != 1 or not isinstance(body[0], ast.Return) or body[0].value is None:
        return None
    names = Counter(node.id for node in ast.walk(body[0].value) if isinstance(node, ast.Name))
    return (parameters, body[0].value) if all(names[each] == 1 for each in parameters) else None


def inlined(function: Callable[..., Any], arguments: Sequence[str]) -> str | None:
    """The expression of a call with these arguments, or None where the function has more than a line."""
    found = one_line(function)
    if found is None:
        return None
    parameters, expression = found
    given = {name: ast.parse(text, mode="eval").body for name, text in zip(parameters, arguments, strict=True)}
    return ast.unparse(_Substitution(given).visit(ast.parse(ast.unparse(expression), mode="eval").body))


class _Substitution(ast.NodeTransformer):
    def __init__(self, given: dict[str, ast.expr]) -> None:
        self._given = given

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self._given.get(node.id, node)
