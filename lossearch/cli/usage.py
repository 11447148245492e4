"""Mistakes in the words of a command line, each told in one line: what was expected, what was given, what to do.

Typer would print them in frames of several lines. Its errors are told apart by their attributes, and what an option
expects is read from the signature of the command: the classes behind both differ between versions of typer.
"""

import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, get_args, get_origin, get_type_hints

import typer
from typer.core import TyperGroup

from lossearch.cli.output import fail
from lossearch.cli.streams import flush_output
from lossearch.primitives.errors import UserError, nearest, shown, similar

#: The error of a command line that cannot be understood. Some versions of typer have their own, others click's.
_UsageError: Any = typer.BadParameter.__mro__[1]

_OPTIONS_LAST = "Options of a command come after its name"
_DASHES = "Put a formula that begins with a minus sign last, after --"
_QUOTES = "Put a formula, or a path with spaces, in quotes"


class PlainGroup(TyperGroup):
    """A group of commands that tells a mistake in its words in one line, and ends with exit code 2."""

    _context: Any = None  # of the command that the words name

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run the command that the words name, and end the process unless ``standalone_mode`` is False."""
        words = list(sys.argv[1:] if args is None else args)
        inner: dict[str, Any] = {"standalone_mode": False, "windows_expand_args": windows_expand_args, **extra}
        if not standalone_mode:
            return super().main(words, prog_name, complete_var, **inner)
        try:
            code = super().main(words, prog_name, complete_var, **inner)
        except _UsageError as error:
            code = _report(error, error.ctx or self._context, words)
        except OSError as error:  # the help, which is printed before the command begins
            flush_output()
            code = _fail(f"standard output: expected a file that can be written, got: {error.strerror}", 1)
        sys.exit(code if isinstance(code, int) else 0)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command that the first word names. A name that no command has is a mistake."""
        if not ctx.resilient_parsing and self.get_command(ctx, args[0]) is None:
            advice = f". To run that file: {ctx.command_path} search {args[0]}" if args[0].endswith(".toml") else ""
            name, known = shown(args[0]) or "''", nearest(args[0], self.list_commands(ctx))
            fail(f"{name}: {ctx.command_path} has no such command{known}{advice}", UserError.exit_code)
        resolved = super().resolve_command(ctx, args)
        if resolved[1] is not None:
            self._context = type(ctx)(resolved[1], parent=ctx, info_name=resolved[0])
        return resolved


def _report(error: Any, context: Any, words: Sequence[str]) -> int:
    """Print a mistake and return the exit code. Without any word the help was printed instead."""
    if type(error).__name__ == "NoArgsIsHelpError":
        if error.message:  # the help, where typer prints without rich
            error.show()
        return UserError.exit_code
    return _fail(describe(error, context, words), UserError.exit_code)


def _fail(message: str, code: int) -> int:
    """Print an error and return its exit code."""
    try:
        fail(message, code)
    except typer.Exit as ended:
        return ended.exit_code


def describe(error: Any, context: Any, words: Sequence[str]) -> str:
    """Describe an error of typer in one line: an error of the context's command, for a command line of these words."""
    parameter = getattr(error, "param", None)
    if context is None:
        return " ".join(error.format_message().split())
    if parameter is not None and hasattr(error, "param_type"):
        about = (getattr(parameter, "help", None) or "").rstrip(".")
        return f"expected {_name(parameter)}, got none. {f'{about}. ' if about else ''}{_usage(context)}"
    if parameter is not None:
        return _describe_value(error, context, parameter, words)
    if hasattr(error, "option_name"):
        return _describe_option(error, context)
    return f"{_describe_rest(error)}. {_usage(context)}"


def _describe_value(error: Any, context: Any, parameter: Any, words: Sequence[str]) -> str:
    """Describe a value that an option does not take."""
    expected, choices = _expectation(context.command, parameter)
    value = _find_value(parameter, words)
    if expected is None or value is None:
        return f"{_name(parameter)}: {' '.join(error.message.split())}"
    return f"{_name(parameter)}: expected {expected}, got {_quoted(value)}{similar(value, choices)}"


def _describe_option(error: Any, context: Any) -> str:
    """Describe an option that does not exist, lacks its value or has one too many."""
    name, parameters = error.option_name, context.command.get_params(context)
    parameter = next((known for known in parameters if name in _spellings(known)), None)
    if parameter is None:
        spellings = (spelling for known in parameters for spelling in _spellings(known) if spelling.startswith("--"))
        advice = _OPTIONS_LAST if context.parent is None else _DASHES if not name.startswith("--") else ""
        known = nearest(name, spellings)
        end = f"{'' if known.endswith('?') else '.'} {advice}" if advice else ""
        return f"{shown(name)}: {context.command_path} has no such option{known}{end}"
    if getattr(parameter, "is_flag", False):
        return f"{name}: expected no value, got one. Write {name} alone"
    expected = _expectation(context.command, parameter)[0] or "a value"
    return f"{name}: expected {expected}, got none. Write it after {name}"


def _describe_rest(error: Any) -> str:
    """Describe an error of another kind, most often words beyond those that a command takes."""
    message = " ".join(error.format_message().split())
    _, bracket, further = message.rstrip(").").partition("(s) (")
    if not bracket:
        _, bracket, further = message.rstrip(").").partition(" (")
    if "unexpected extra argument" not in message or not bracket:
        return message.rstrip(".")
    return f"expected no further word, got {shown(further)!r}. {_QUOTES}"


def _expectation(command: Any, parameter: Any) -> tuple[str | None, Sequence[str]]:
    """Return what a parameter expects, and the words that it may be; None for a parameter that takes any text."""
    hints = get_type_hints(_unwrap(command.callback), include_extras=True)
    kind, *more = get_args(hints.get(parameter.name)) or (str,)
    kinds = [part for part in get_args(kind) if part is not type(None)] or [kind]
    if get_origin(kinds[0]) is Literal or get_origin(kind) is Literal:
        choices = [str(choice) for choice in get_args(kinds[0]) or get_args(kind)]
        return " or ".join(choices), choices
    noun = {int: "a whole number", float: "a number", bool: "no value"}.get(kinds[0])
    low, high = (next((getattr(info, key) for info in more if hasattr(info, key)), None) for key in ("min", "max"))
    if noun is None or (low is None and high is None):
        return noun, ()
    if high is None:
        return f"{noun}, {low} or more", ()
    return f"{noun} from {low} to {high}" if low is not None else f"{noun}, {high} or less", ()


def _unwrap(callback: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function of a command, which typer wraps."""
    return inspect.unwrap(callback)


def _find_value(parameter: Any, words: Sequence[str]) -> str | None:
    """Return the last value that the words give an option; None for an argument."""
    spellings = set(_spellings(parameter))
    for place, word in reversed(list(enumerate(words))):
        option, equals_sign, value = word.partition("=")
        if option in spellings and (equals_sign or place + 1 < len(words)):
            return value if equals_sign else words[place + 1]
    return None


def _quoted(value: str) -> str:
    """Return a value for a message: a number as it is, other text in quotes."""
    is_number = value.lstrip("+-").replace(".", "", 1).isdecimal()
    return shown(value) if is_number else repr(shown(value))


def _spellings(parameter: Any) -> Iterator[str]:
    """Yield all spellings of an option; an argument has none."""
    if parameter.param_type_name == "option":
        yield from (*parameter.opts, *parameter.secondary_opts)


def _name(parameter: Any) -> str:
    """Return an option as it is typed, and an argument as the help calls it."""
    if parameter.param_type_name == "option":
        return str(max(parameter.opts, key=len))
    return str(parameter.metavar or parameter.name).upper()


def _usage(context: Any) -> str:
    return " ".join(context.get_usage().split())
