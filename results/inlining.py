"""Inlining: a call of one of our one-line functions as the expression that it returns."""

import ast
import inspect
import textwrap
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any


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
