"""What is said of proxies, for a terminal and a page alike: cells, headings, and which proxy is chosen."""

from collections.abc import Sequence

from lossearch.results.comparison_markdown import code
from lossearch.results.proxy_table import GOOD_ENOUGH, ProxyLine, chosen

COLUMNS = ("proxy", "steps", "seeds", "cost", "tau", "95 % interval", "tau, better half", "candidates", "")


def heading(lines: Sequence[ProxyLine]) -> str:
    """Of the table of one task."""
    head = lines[0]
    return f"{head.task}: {head.metric} on the validation split, full training {head.full_steps} steps x {_seeds(head)}"


def cells(line: ProxyLine) -> tuple[str, ...]:
    """One line of a table."""
    interval = "" if line.low is None or line.high is None else f"{line.low:.2f} to {line.high:.2f}"
    return (
        line.proxy,
        str(line.steps),
        str(line.seeds),
        f"{100.0 * line.cost:.3g} %",
        _tau(line.tau),
        interval,
        _tau(line.tau_of_better_half),
        str(line.candidates),
        "cheapest" if line.cheapest else "noise ceiling" if line.ceiling else "",
    )


def said(lines: Sequence[ProxyLine]) -> str:
    """Which proxy of a task is chosen, and how many candidates failed, in a few sentences."""
    task, failed = lines[0].task, max(each.failed for each in lines)
    found, parts = chosen(lines, task), []
    if all(each.tau is None for each in lines):
        parts.append(f"{task}: tau is undefined, since all candidates are worth the same in one of the rankings.")
    elif found is None:
        parts.append(f"{task}: no proxy reaches a tau of {GOOD_ENOUGH:g}, so that the full training is to be used.")
    else:
        parts.append(
            f"{task}: the cheapest proxy with a tau of {GOOD_ENOUGH:g} or more has {found.steps} steps and "
            f"{_number(found.seeds, 'seed')}, {100.0 * found.cost:.3g} % of the full training. Among the better half "
            f"its tau is {_tau(found.tau_of_better_half)}."
        )
    if failed:
        parts.append(f"{_number(failed, 'candidate')} of {lines[0].candidates} failed, which ranks last.")
    return " ".join(parts)


def as_markdown(lines: Sequence[ProxyLine], level: int = 3) -> str:
    """A heading of this level, a table and what is said for each task."""
    parts: list[str] = []
    for task in dict.fromkeys(each.task for each in lines):
        own = [each for each in lines if each.task == task]
        title = heading(own).replace(task, code(task), 1)
        parts += [f"{'#' * level} {title}", "", f"| {' | '.join(COLUMNS)} |", f"|{'---|' * len(COLUMNS)}"]
        parts += [f"| {' | '.join(cells(each))} |" for each in own]
        parts += ["", said(own).replace(task, code(task), 1), ""]
    return "\n".join(parts)


def _tau(tau: float | None) -> str:
    return "undefined" if tau is None else f"{tau:.2f}"


def _seeds(line: ProxyLine) -> str:
    return _number(line.full_seeds, "seed")


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
