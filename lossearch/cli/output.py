"""How a command ends: data on standard output, messages on standard error, and the exit code of what went wrong."""

import json
import os
import shlex
import shutil
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from lossearch.results.plain_text import printable

if TYPE_CHECKING:
    from rich.console import Console

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def print_json(data: Any) -> None:
    """Print data as JSON."""
    print(json.dumps(data, indent=2))


def say(message: str) -> None:
    """Print a message: its lines, without what a terminal would obey."""
    print("\n".join(map(printable, message.split("\n"))), file=sys.stderr, flush=True)


def fail(message: str, code: int) -> NoReturn:
    """Print an error and end with this code."""
    say(f"error: {message}")
    raise typer.Exit(code)


def interrupted(what: str, words: Sequence[str]) -> NoReturn:
    """Say that the command was interrupted, and with which words it goes on; end."""
    say(f"Interrupted. Everything {what} is kept. Continue with:\n  {shlex.join([*_called(), *words])}")
    raise typer.Exit(130) from None


def as_words(options: Mapping[str, Any]) -> list[str]:
    """Options as they are typed: a list gives its option several times, None and False none."""
    words = []
    for name, value in options.items():
        option = f"--{name.replace('_', '-')}"
        for each in value if isinstance(value, list | tuple) else [value]:
            if each is True:
                words.append(option)
            elif each is not None and each is not False:
                words += [option, str(each)]
    return words


def _called() -> list[str]:
    """How the command is called from here."""
    if shutil.which("lossearch"):
        return ["lossearch"]
    return ["python", "-m", "lossearch"] if sys.argv[0].endswith("__main__.py") else [sys.argv[0]]


@contextmanager
def reported() -> Iterator[None]:
    """Turn what can go wrong into one message and an exit code, and warnings into messages."""
    warnings.showwarning = _say_warning
    try:
        yield
        sys.stdout.flush()
    except (typer.Exit, KeyboardInterrupt):
        raise
    except BrokenPipeError:  # the reader has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from None
    except Exception as error:
        code = _exit_code(error)
        if code is None:
            raise
        fail(str(error), code)


def _say_warning(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
    """Show a warning of ours as a message, and others as Python does."""
    if issubclass(category, UserWarning):
        say(f"warning: {message}")
    else:
        _SHOW_WARNING(message, category, *place, **more)


_SHOW_WARNING = warnings.showwarning


def _exit_code(error: Exception) -> int | None:
    """2 for the user's input, 1 for failures that have a message of their own, None for our bugs."""
    from lossearch.primitives.errors import UserError

    if isinstance(error, UserError):
        return 2
    failures = ("ClusterUnreachable", "DamagedFile", "NewerFile", "ExportMismatch")  # by name: importing is slow
    return 1 if type(error).__name__ in failures or isinstance(error, OSError) else None


def messages() -> "Console":
    """Where messages go: standard error."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def tables() -> "Console":
    """Where tables go: standard output, with room for their columns where that is no terminal."""
    from rich.console import Console  # importing it takes long

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, 110)
    return console
