"""Arguments of Python calls: check each, and return it as a plain value of Python.

Numbers of numpy become numbers of Python, and paths of any kind become ``pathlib`` paths. A value of another type
raises WrongType, a UserError and TypeError; a value out of range raises UserError, a ValueError.
"""

import inspect
import operator
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, cast

from lossearch.primitives.errors import Argument, UserError, WrongType, describe, nearest, shown

Call = TypeVar("Call", bound=Callable[..., Any])

#: Largest count that an argument may be.
MAX_COUNT = 2**31 - 1

#: Most bytes of a path, and of one of its parts, on Linux and macOS.
_LONGEST_PATH, _LONGEST_PART = 4_095, 255


def refuse_unknown_arguments(call: Call) -> Call:
    """Decorate a public function, or a class for its public methods: arguments that it does not have raise WrongType.

    The message names the nearest known argument, or the one that is missing. Python's own names none.
    """
    if isinstance(call, type):
        for name, method in list(vars(call).items()):
            if inspect.isfunction(method) and (name == "__init__" or not name.startswith("_")):
                setattr(call, name, refuse_unknown_arguments(method))
        return call
    signature = inspect.signature(call)

    @wraps(call)
    def checked(*positional: Any, **named: Any) -> Any:
        try:
            signature.bind(*positional, **named)
        except TypeError as error:
            raise WrongType(*_describe_misfit(call, signature, named, error)) from None
        return call(*positional, **named)

    return cast(Call, checked)


def _describe_misfit(
    call: Callable[..., Any], signature: inspect.Signature, named: Collection[str], error: TypeError
) -> Iterator[str | Argument]:
    """Describe arguments that do not suit a signature."""
    called = call.__qualname__.removesuffix(".__init__")
    known = [parameter for parameter in signature.parameters.values() if parameter.name != "self"]
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in known)
    unknown = None if takes_any else next((name for name in named if name not in signature.parameters), None)
    if unknown is not None:
        yield Argument(shown(unknown))
        yield f": unknown argument of {called}"
        yield nearest(unknown, [parameter.name for parameter in known]) if known else ", which takes none."
    elif str(error).startswith("missing"):
        yield f"Expected an argument of {called}, got none: {str(error).rpartition(': ')[2]}."
    else:
        plain = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in known]
        yield f"Expected arguments as in {called}{inspect.Signature(plain)}, got {error}."


def require_whole(name: str, value: Any, allowed: str = "above 0") -> int:
    """Return a whole number of any size; ``allowed`` says in the message which ones are expected."""
    try:
        if type(value).__name__ in ("bool", "bool_"):  # of Python and numpy
            raise TypeError
        return operator.index(value)
    except (TypeError, ValueError, RuntimeError):  # a tensor of several numbers raises the others
        raise WrongType(
            "Expected ", Argument(name), f" to be a whole number {allowed}, got {describe(value)}."
        ) from None


def require_count(name: str, value: Any, least: int = 1, most: int = MAX_COUNT) -> int:
    """Return a whole number in [least, most]."""
    number = require_whole(name, value, f"of {least} or more")
    if not least <= number <= most:
        bound = f"{least:,} or more" if number < least else f"{most:,} or less"
        raise UserError("Expected ", Argument(name), f" to be {bound}, got {describe(number)}.")
    return number


def require_flag(name: str, value: Any) -> bool:
    """Return True or False."""
    value = plain_value(value)
    if not isinstance(value, bool):
        raise WrongType("Expected ", Argument(name), f" to be True or False, got {describe(value)}.")
    return value


def require_text(name: str, value: Any, what: str = "a text") -> str:
    """Return a text; ``what`` says which one is expected."""
    if not isinstance(value, str):
        raise WrongType("Expected ", Argument(name), f" to be {what}, got {describe(value)}.")
    return str(value)


def require_path_text(name: str, value: Any, what: str = "a path") -> str:
    """Return the text of a path, whatever it holds; ``what`` says which one is expected."""
    path = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if not isinstance(path, str):
        raise WrongType("Expected ", Argument(name), f" to be {what}, a text or pathlib.Path, got {describe(value)}.")
    return path


def require_path(name: str, value: Any, what: str = "a path") -> Path:
    """Return a path that a file system can hold; ``what`` says which one is expected."""
    path = require_path_text(name, value, what)
    problem = _find_problem_of_path(path)
    if problem is not None:
        raise UserError(
            "Expected ", Argument(name), f" to be {what}, got {problem}: {shown(path)!r}. Correct the path."
        )
    return Path(path)


def _find_problem_of_path(path: str) -> str | None:
    """Say why no file can have this path; None if one can."""
    if not path:
        return "an empty one"
    if "\0" in path:
        return "one with a NUL character"
    try:
        parts = [os.fsencode(part) for part in path.split(os.sep)]
    except UnicodeEncodeError:
        return "one with a character that no text has"
    is_long = sum(map(len, parts)) + len(parts) > _LONGEST_PATH or max(map(len, parts)) > _LONGEST_PART
    return "one that is too long" if is_long else None


def require_choice(name: str, value: Any, known: Iterable[str], what: str = "one of") -> str:
    """Return one of the known texts."""
    known = list(known)
    if not isinstance(value, str):
        raise WrongType("Expected ", Argument(name), f" to be {what} {', '.join(known)}, got {describe(value)}.")
    if value not in known:
        raise UserError("Unknown ", Argument(name), f" {shown(value)!r}{nearest(value, known)}")
    return str(value)


def require_list(name: str, value: Any, what: str = "names") -> list[str]:
    """Return a list of texts; ``what`` names them in the plural."""
    value = plain_value(value)
    expected = ("Expected ", Argument(name), f" to be a list of {what}, got ")
    if isinstance(value, str):
        raise WrongType(*expected, f"{describe(value)}. Put it into a list: [{describe(value)}].")
    if not isinstance(value, list):
        raise WrongType(*expected, f"{describe(value)}.")
    for item in value:
        if not isinstance(item, str):
            raise WrongType(*expected, f"{describe(item)} among them.")
    return value


def require_distinct_list(name: str, value: Any, what: str = "names", *, least: int = 0) -> list[str]:
    """Return a list of texts, at least ``least``, of which each occurs once; ``what`` names them in the plural."""
    texts = require_list(name, value, what)
    expected = ("Expected ", Argument(name), f" to be a list of {what}, got ")
    twice = next((text for place, text in enumerate(texts) if text in texts[:place]), None)
    if twice is not None:
        raise UserError(*expected, f"{shown(twice)!r} twice. Name each once.")
    if len(texts) < least:
        raise UserError(*expected, f"an empty one. Name at least {least}.")
    return texts


def plain_value(value: Any) -> Any:
    """Return a value as the types of a TOML file hold it.

    Numbers of numpy and torch become Python's, arrays and tuples become lists, and paths become texts. The items of
    lists and dictionaries do, too. Other values stay as they are.
    """
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, str):  # of numpy
        return str(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return {key: plain_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_value(item) for item in value]
    is_array = hasattr(value, "dtype") and callable(getattr(value, "tolist", None))  # or a tensor, or a number of them
    return value.tolist() if is_array else value
