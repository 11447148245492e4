"""Errors with a message for the person at the terminal: expected, got, what to do."""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from typing import ClassVar

#: What a command line has in place of arguments of Python that have no option of their name.
_OPTIONS = {
    "tasks": "--task",
    "path": "RUN",
    "run": "RUN",
    "source": "SOURCE",
    "experiment": "FILE",
    "comparison": "FILE",
    "name_or_formula": "SOURCE",
}


@dataclass(frozen=True)
class Argument:
    """An argument named in a message: ``num_classes=...`` for Python, ``--num-classes`` for the command.

    A value in quotes follows the option: ``class_weights='pedcc'`` is ``--class-weights pedcc``.
    """

    name: str
    value: str = ""  #: left out of the message where empty

    def __str__(self) -> str:
        return f"{self.name}={self.value}" if self.value else self.name

    @property
    def option(self) -> str:
        """The option of the command that sets this argument. A list's is named in the singular, and repeated."""
        if self.name in _OPTIONS:
            return _OPTIONS[self.name]
        value = f" {self.value[1:-1]}" if self.value[:1] == "'" else ""
        return f"--{'no-' if self.value == 'False' else ''}{self.name.replace('_', '-')}{value}"


class LossearchError(Exception):
    """An error whose message says all that a user needs: the command prints it without a traceback.

    The message is made of ``parts``, text and arguments: ``UserError("Expected ", Argument("rank"), " above 0.")``.
    """

    exit_code: ClassVar[int] = 1  #: of a command that ends with it

    def __init__(self, *parts: str | Argument) -> None:
        super().__init__("".join(map(str, parts)))
        self.parts = parts  #: of the message

    def with_options(self) -> str:
        """Return the message with options of the command in place of arguments."""
        return "".join(part.option if isinstance(part, Argument) else part for part in self.parts)


class UserError(LossearchError, ValueError):
    """A mistake in the user's input."""

    exit_code = 2


class WrongType(UserError, TypeError):
    """An argument of a type that the call does not take."""


class MissingPackage(UserError, ImportError):
    """An optional package that is not installed; the message says how to install it."""


@contextmanager
def as_user_errors(*arguments: str) -> Iterator[None]:
    """Raise a plain ValueError or TypeError as a UserError, in whose message the words ``arguments`` are arguments.

    Files that import torch alone raise the plain ones, since exports copy them.
    """
    try:
        yield
    except UserError:
        raise
    except TypeError as error:
        raise WrongType(*_with_arguments(str(error), arguments)) from None
    except ValueError as error:
        raise UserError(*_with_arguments(str(error), arguments)) from None


def _with_arguments(message: str, arguments: Sequence[str]) -> list[str | Argument]:
    """Split a message at the words that are arguments."""
    if not arguments:
        return [message]
    parts = re.split(rf"(?<![\w'\".-])({'|'.join(arguments)})(?![\w'\"-])", message)
    return [Argument(part) if place % 2 else part for place, part in enumerate(parts)]


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a clause for a message: up to three known names that resemble ``name``, else all known names."""
    names = sorted(map(str, known))
    return similar(name, names) or f"; known: {', '.join(map(shown, names))}"


def similar(name: str, known: Iterable[str]) -> str:
    """Return a clause for a message: up to three known names that resemble ``name``; empty if none does."""
    by_lower_case = {known_name.lower(): known_name for known_name in sorted(map(str, known))}
    matches = get_close_matches(name[:80].lower(), by_lower_case, n=3, cutoff=0.6)
    if not matches:
        return ""
    return f"; did you mean {' or '.join(shown(by_lower_case[match]) for match in matches)}?"


def unknown_attribute(module: str, name: str, known: Iterable[str]) -> str:
    """Return the message of an AttributeError for a name that a module does not have, with the nearest known ones."""
    return f"module {module!r} has no attribute {name!r}{nearest(name, known)}"


def describe(value: object) -> str:
    """Return a value for a message: itself if it is short and plain, else its type."""
    plain = (str, bytes, bool, int, float, complex, list, tuple, dict, set, os.PathLike, type(None))
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if isinstance(value, plain) or hasattr(value, "dtype"):
        try:
            return shown(str(value) if hasattr(value, "dtype") else repr(value))
        except Exception:  # foreign code may raise anything, and Python refuses integers of thousands of digits
            pass
    name = type(value).__name__
    return f"{'an' if name[:1] in 'AEIOUaeiou' else 'a'} {name}"


def shown(text: str, limit: int = 60) -> str:
    """Return the text in printable ASCII, cut to ``limit`` characters, for a message about text from strangers."""
    plain = text[:limit].encode("unicode_escape").decode("ascii")[:limit]
    return plain if len(text) <= limit and len(plain) < limit else f"{plain}..."
