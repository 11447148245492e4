"""Output of a command: data on standard output, messages on standard error, and an exit code."""

import errno
import json
import os
import shlex
import shutil
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from lossearch.cli.streams import flush_output
from lossearch.primitives.errors import LossearchError, UserError, shown
from lossearch.results.plain_text import printable

if TYPE_CHECKING:
    from rich.console import Console

#: Options that several commands share.
JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON.")]

#: Exit code of a command that Ctrl-C or a scheduler stopped.
INTERRUPTED = 130

#: Errors of the system that come of a path that was typed. Others, such as a full disk, are failures.
_OF_PATHS = frozenset(
    {
        *(errno.ENAMETOOLONG, errno.ELOOP, errno.ENOENT, errno.ENOTDIR, errno.EISDIR),
        *(errno.EACCES, errno.EPERM, errno.EROFS),
    }
)

_WARNED: set[str] = set()  #: warnings of this command

_PYTHONS_SHOWWARNING = warnings.showwarning


def print_json(data: Any) -> None:
    """Print data as JSON."""
    print(json.dumps(data, indent=2))


def say(message: str) -> None:
    """Print a message, without characters that a terminal would obey."""
    print("\n".join(map(printable, message.split("\n"))), file=sys.stderr, flush=True)


def say_embedding_use(what: str) -> None:
    """Say that a loss takes embeddings, and how it is used."""
    from lossearch.results.export.usage import EMBEDDING_USE, OWNS_LAST_LAYER

    say(f"{what} takes embeddings, and it {OWNS_LAST_LAYER}:")
    for line in EMBEDDING_USE:
        say(f"    {line}")


def say_legend(formulas: Sequence[str]) -> None:
    """Explain the marks of a table of these formulas, if it has some."""
    from lossearch.cli.tables import legend
    from lossearch.results.records import takes_embeddings

    marks = legend(map(takes_embeddings, formulas))
    if marks is not None:
        say(marks)


def print_path(path: Path) -> None:
    """Print the path of a written file: as it is for another program, in printable characters on a terminal."""
    print(printable(str(path)) if sys.stdout.isatty() else path)


def fail(message: str, code: int) -> NoReturn:
    """Print an error as one line and end with this exit code."""
    say(f"error: {_in_one_line(message)}")
    raise typer.Exit(code)


def interrupted(kept: str, words: Sequence[str]) -> NoReturn:
    """Say that the command was interrupted, what is kept and how to continue. End the command."""
    say(f"Interrupted. Everything {kept} is kept. Continue with:\n  {typed(words)}")
    raise typer.Exit(INTERRUPTED) from None


def typed(words: Sequence[str]) -> str:
    """Return the line that calls lossearch with these words from this shell."""
    if shutil.which("lossearch"):
        program = ["lossearch"]
    elif sys.argv[0].endswith("__main__.py"):
        program = ["python", "-m", "lossearch"]
    else:
        program = [sys.argv[0]]
    return shlex.join([*program, *words])


def as_words(options: Mapping[str, Any]) -> list[str]:
    """Return options as they are typed. A list repeats its option; None and False leave it out."""
    words = []
    for name, value in options.items():
        option = f"--{name.replace('_', '-')}"
        for single in value if isinstance(value, list | tuple) else [value]:
            if single is True:
                words.append(option)
            elif single is not None and single is not False:
                words += [option, str(single)]
    return words


@contextmanager
def reported() -> Iterator[None]:
    """Print warnings as messages. Print errors of the user, lossearch or the system, and end with an exit code."""
    warnings.showwarning = _say_warning
    _WARNED.clear()
    try:
        yield
        sys.stdout.flush()
    except (typer.Exit, KeyboardInterrupt):
        raise
    except BrokenPipeError:  # the reader of a pipe has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from None
    except LossearchError as error:
        fail(error.with_options(), error.exit_code)
    except OSError as error:
        if not flush_output():
            fail(f"standard output: expected a file that can be written, got: {error.strerror}", 1)
        place = f"{shown(str(error.filename), 300)}: " if error.filename and error.strerror else ""
        if error.errno in _OF_PATHS:
            fail(f"{place}expected a path that can be opened, got: {error.strerror}", UserError.exit_code)
        fail(f"{place}{error.strerror or error}", LossearchError.exit_code)
    except UnicodeEncodeError as error:
        if not any("\udc80" <= letter <= "\udcff" for letter in error.object):
            raise
        fail(f"expected paths that are UTF-8, got {shown(error.object, 200)}. Rename it", UserError.exit_code)


def say_warning(message: str) -> None:
    """Print a warning, unless this command has printed it: it may open a run several times."""
    if message not in _WARNED:
        _WARNED.add(message)
        say(f"warning: {_in_one_line(message)}")


def _in_one_line(message: str) -> str:
    """Return a message with visible line ends: names of files may hold some."""
    return message.replace("\n", "\\n")


def _say_warning(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
    """Print a UserWarning as a message, and other warnings as Python does."""
    if issubclass(category, UserWarning):
        say_warning(str(message))
    else:
        _PYTHONS_SHOWWARNING(message, category, *place, **more)


def messages() -> "Console":
    """Return the console for messages: standard error."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def tables() -> "Console":
    """Return the console for tables: standard output, with room for all columns if it is no terminal."""
    from rich.console import Console  # importing it takes long

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, 110)
    return console
