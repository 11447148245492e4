"""Python statements of a program: the assignments that compute a formula in an exported file.

Invariant: they call only torch and the functions of ``OUR_MODULES``, whose source an exported file contains. A call of
one of our functions that does nothing but return an expression is written as that expression.
"""

import ast
import inspect
import operator
import textwrap
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F

from lossearch.primitives.language import numerics
from lossearch.primitives.language.formula import number_text
from lossearch.primitives.modules import contract, pedcc
from lossearch.primitives.programs.program import Program, Step, Value

#: Modules whose functions exported files contain. They need only torch and the standard library's math.
OUR_MODULES: dict[str, ModuleType] = {module.__name__: module for module in (numerics, contract, pedcc)}

#: Symbol and precedence of each infix operator.
_INFIX = {operator.add: ("+", 1), operator.sub: ("-", 1), operator.mul: ("*", 2), operator.truediv: ("/", 2)}

#: Precedence of a minus sign, and of a name, number or call.
_SIGN, _ATOM = 3, 9

#: Names of variables that hold the results of these functions.
_READABLE = {
    numerics.softmax_c: "probability",
    numerics.log_softmax_c: "log_probability",
    numerics.cosine_similarity: "cosine",
    numerics.squared_distance: "distance",
    numerics.put_at_target: "with_target",
}

#: Longest argument without a name of its own: three of them and a call fit into a line of 120 characters.
_LONG = 32

#: An expression and its precedence.
Expression = tuple[str, int]


def statements(program: Program, inputs: Mapping[str, str]) -> tuple[list[str], str]:
    """Return the assignments of all values that are long or used more than once, and the expression of the result.

    ``inputs`` gives the expression of an input that is not written by its name.
    """
    assignments: list[str] = []
    uses = Counter([program.result, *(argument for step in program.steps for argument in step.arguments)])
    expressions: dict[Value, Expression] = {}
    taken: set[str] = set()
    for index, step in enumerate(program.steps):
        expression = _step_expression(step, expressions, inputs)
        result = Value(index, "step")
        if (uses[result] > 1 or len(expression[0]) > _LONG) and result != program.result:
            name = _READABLE.get(step.function, f"term_{index + 1}")
            name = f"{name}_{index + 1}" if name in taken else name
            taken.add(name)
            assignments.append(f"{name} = {expression[0]}")
            expression = name, _ATOM
        expressions[result] = expression
    return assignments, _argument(program.result, expressions, inputs)[0]


def is_ours(function: Callable[..., Any]) -> bool:
    """Return True if exported files contain the function, False for a function of torch."""
    return getattr(function, "__module__", None) in OUR_MODULES


def _step_expression(step: Step, expressions: Mapping[Value, Expression], inputs: Mapping[str, str]) -> Expression:
    arguments = [_argument(argument, expressions, inputs) for argument in step.arguments]
    if step.function is operator.neg:
        text, precedence = arguments[0]
        return (f"-{text}" if precedence >= _SIGN else f"-({text})"), _SIGN
    if step.function in _INFIX:
        symbol, precedence = _INFIX[step.function]
        (left, left_precedence), (right, right_precedence) = arguments
        left = left if left_precedence >= precedence else f"({left})"
        right = right if right_precedence > precedence and not right.startswith("-") else f"({right})"
        return f"{left} {symbol} {right}", precedence
    texts = [text for text, _ in arguments]
    if is_ours(step.function):
        inlined = _inline(step.function, texts)
        if inlined is not None:
            return inlined, _SIGN if inlined.startswith("-") else _ATOM
    return f"{_qualified_name(step.function)}({', '.join(texts)})", _ATOM


def _argument(value: Value, expressions: Mapping[Value, Expression], inputs: Mapping[str, str]) -> Expression:
    if value.kind == "step":
        return expressions[value]
    if value.kind == "input":
        return inputs.get(str(value.source), str(value.source)), _ATOM
    number = float(value.source)
    return number_text(number) if number != int(number) else f"{number:.1f}", _ATOM if number >= 0 else _SIGN


def _qualified_name(function: Callable[..., Any]) -> str:
    name = function.__name__
    if is_ours(function):
        return name
    if getattr(torch, name, None) is function:
        return f"torch.{name}"
    return next(f"F.{known}" for known in dir(F) if getattr(F, known) is function)


@lru_cache(maxsize=256)
def returned_expression(function: Callable[..., Any]) -> tuple[tuple[str, ...], ast.expr] | None:
    """Return the parameters and the expression of a function that only returns it; None for every other function.

    Each parameter must occur once in the expression. Otherwise an inlined argument would be computed twice.
    """
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    assert isinstance(definition, ast.FunctionDef)
    body = definition.body[1:]  # after the docstring
    parameters = tuple(parameter.arg for parameter in definition.args.args)
    if len(body) != 1 or not isinstance(body[0], ast.Return) or body[0].value is None:
        return None
    names = Counter(node.id for node in ast.walk(body[0].value) if isinstance(node, ast.Name))
    return (parameters, body[0].value) if all(names[parameter] == 1 for parameter in parameters) else None


def _inline(function: Callable[..., Any], arguments: Sequence[str]) -> str | None:
    """Return a call of a function as the expression that it returns; None for a function with more than one line."""
    returned = returned_expression(function)
    if returned is None:
        return None
    parameters, expression = returned
    by_name = {name: ast.parse(text, mode="eval").body for name, text in zip(parameters, arguments, strict=True)}
    return ast.unparse(_Substitution(by_name).visit(ast.parse(ast.unparse(expression), mode="eval").body))


class _Substitution(ast.NodeTransformer):
    """Replaces names by expressions."""

    def __init__(self, by_name: Mapping[str, ast.expr]) -> None:
        self._by_name = by_name

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self._by_name.get(node.id, node)
