"""Copied functions: the source of our own functions that an exported file contains, each after what it calls.

Invariant: only functions of the modules below are copied. They need torch and the standard library's math alone.
"""

import dis
import inspect
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

from lossearch.primitives.language import numerics
from lossearch.primitives.modules import contract, pedcc

_MODULES: dict[str, ModuleType] = {module.__name__: module for module in (numerics, contract, pedcc)}


def is_ours(function: Callable[..., Any]) -> bool:
    """Whether a function is one that exported files contain, and not torch's."""
    return getattr(function, "__module__", None) in _MODULES


def with_what_they_call(functions: Iterable[Callable[..., Any]]) -> list[Callable[..., Any]]:
    """Our functions among these and all that they call of ours, each after the ones that it calls."""
    needed: dict[Callable[..., Any], None] = {}

    def visit(function: Callable[..., Any]) -> None:
        if is_ours(function) and function not in needed:
            module = _MODULES[function.__module__]
            for name in global_names(function):
                inner = getattr(module, name, None)
                if inner is not function and inspect.isfunction(inner):
                    visit(inner)
            needed[function] = None

    for each in functions:
        visit(each)
    return list(needed)


def global_names(function: Callable[..., Any]) -> list[str]:
    """Names outside of a function that it looks up, in its own code and in that of the functions within."""
    codes, names = [function.__code__], []
    while codes:
        code = codes.pop()
        codes += [constant for constant in code.co_consts if inspect.iscode(constant)]
        names += [each.argval for each in dis.get_instructions(code) if each.opname == "LOAD_GLOBAL"]
    return names


def source(function: Callable[..., Any]) -> str:
    """Source of a function, as it stands."""
    return inspect.getsource(function)
