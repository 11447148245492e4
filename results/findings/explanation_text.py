"""Explanation text: an explanation in sentences and tables, for a terminal and for a model card.

Invariant: every text that stands in a file goes through ``quoted``, which makes it harmless where it is shown.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lossearch.primitives.identity.kinship import NEARLY, SAME
from lossearch.results.findings.comparison import Line, code
from lossearch.results.findings.curve_facts import curve_facts, pulls
from lossearch.results.findings.explanation import Explanation, PartEffect

Quoted = Callable[[str], str]


@dataclass(frozen=True)
class Table:
    """A table: its caption, its columns, its rows of as many cells."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Section:
    """A part of the text: a title, sentences, tables, and sentences that follow from these."""

    title: str
    sentences: tuple[str, ...]
    tables: tuple[Table, ...] = ()
    conclusions: tuple[str, ...] = ()


def sections(explanation: Explanation, quoted: Quoted) -> list[Section]:
    """What it is, how it pulls, which parts matter, how it behaves."""
    return [
        Section("What it is", tuple(_form(explanation, quoted))),
        _curves(explanation, quoted),
        _parts(explanation, quoted),
        _behaviour(explanation, quoted),
    ]


def _form(explanation: Explanation, quoted: Quoted) -> Iterator[str]:
    form = explanation.form
    yield f"Canonical form: {quoted(form.canonical)}."
    if form.rejected is not None:
        yield f"The search's screening would reject it: {quoted(form.rejected)}."
    if form.nearest is None or form.cosine is None:
        yield "No known loss is like it: it has no gradient on the probe."
    elif form.cosine >= SAME:
        yield f"It is the known loss {quoted(form.nearest)}, up to a factor and a constant."
    else:
        nearly = "It is nearly the known loss" if form.cosine >= NEARLY else "The nearest known loss is"
        yield f"{nearly} {quoted(form.nearest)}: on the probe the cosine of their gradients is {form.cosine:.4f}."


def _curves(explanation: Explanation, quoted: Quoted) -> Section:
    form, points = explanation.form, explanation.points
    factor = "the factor 1" if form.factor is None else f"the factor {form.factor:g}"
    angle = bool(points) and points[0].axis == "angle"
    along = "the cosine to the target's class weight" if angle else "the target's logit"
    sentence = (
        f"The pull is how fast the loss falls with {along}, with {factor}, by which its first gradient is as large as "
        "cross-entropy's."
    )
    names = list(dict.fromkeys(each.loss for each in points))
    rows = [(each.where, *(_number(each.of_loss.get(name)) for name in names)) for each in pulls(points)]
    titles = tuple("this loss" if name == form.called else quoted(name) for name in names)
    table = Table("Pull to the target", ("at", *titles), tuple(rows))
    return Section("How it pulls", (sentence,), (table,), tuple(curve_facts(points, form.called)))


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _parts(explanation: Explanation, quoted: Quoted) -> Section:
    title = "Which parts matter"
    if not explanation.form.parts:
        return Section(title, ("It has one part alone: there is nothing to leave out.",))
    sentence = (
        "Each part was left out in turn, and what is left was calibrated anew and trained as the search trained, under "
        f"{explanation.form.seeds} seeds that no search and no comparison uses, on the validation split. The whole was "
        "chosen on that split, which favours it a little."
    )
    tasks = list(dict.fromkeys(each.task for each in explanation.parts))
    by_task = {task: [each for each in explanation.parts if each.task == task] for task in tasks}
    tables = [_table_of_parts(own, quoted) for own in by_task.values()]
    conclusions = [each for own in by_task.values() for each in _conclusions(own, quoted, len(tasks) > 1)]
    return Section(title, (sentence,), tuple(tables), tuple(conclusions))


def _table_of_parts(parts: Sequence[PartEffect], quoted: Quoted) -> Table:
    first = parts[0]
    whole = next((each.whole for each in parts if each.whole is not None), None)
    caption = f"{first.task}: {first.measure}" + ("" if whole is None else f", {whole:.4f} of the whole")
    rows = tuple(
        (
            quoted(each.part),
            "" if each.formula is None else quoted(each.formula),
            _mean(each.mean),
            _signed(each.difference),
            _interval(each.low, each.high),
            each.verdict,
        )
        for each in parts
        if each.kind != "simplified"
    )
    return Table(
        quoted(caption), ("left out", "what is left", "mean", "to the whole", "95 % interval", "verdict"), rows
    )


def _conclusions(parts: Sequence[PartEffect], quoted: Quoted, several: bool) -> Iterator[str]:
    on = f"On {quoted(parts[0].task)}: " if several else ""
    single = [each for each in parts if each.kind != "simplified"]
    for verdict, words in _SAID.items():
        named = ", ".join(quoted(each.part) for each in single if each.verdict == verdict)
        if named:
            yield f"{on}{words}: {named}."
    for each in single:
        if each.reason is not None:
            yield f"{on}What is left without {quoted(each.part)} was not trained to the end: {quoted(each.reason)}."
    yield from (_of_simplified(each, quoted, on) for each in parts if each.kind == "simplified")


#: What is said of the parts of each verdict.
_SAID = {
    "matters": "These parts matter; without one the loss is worse",
    "better without": "Without these the loss is better",
    "no difference shown": "No difference is shown without these, though one within the interval may be there",
    "too few seeds": "With so few seeds nothing can be said of these",
    "moves no weight": "These move no weight: the gradient is the same without them",
}


def _of_simplified(part: PartEffect, quoted: Quoted, on: str) -> str:
    what = f"{on}Without {quoted(part.part)} together, {quoted(part.formula or '')}"
    if part.mean is None or part.difference is None:
        return f"{what} was not trained to the end: {quoted(part.reason or '')}."
    numbers = (
        f"{what} reaches {part.mean:.4f}, the whole {_mean(part.whole)}, under {part.seeds} more seeds: "
        f"{_signed(part.difference)}, 95 % interval {_interval(part.low, part.high) or 'none'}"
    )
    return f"{numbers}. {_OF_SIMPLIFIED.get(part.verdict, 'Nothing can be said of it')}."


_OF_SIMPLIFIED = {
    "no difference shown": "No difference is shown: the simpler loss may stand for the whole",
    "better without": "The simpler loss is better",
    "matters": "Left out so, they matter after all",
}


def _behaviour(explanation: Explanation, quoted: Quoted) -> Section:
    lines, called = explanation.behaviour, explanation.form.called
    trainings = ", ".join(quoted(each) for each in dict.fromkeys(line.fidelity for line in lines))
    sentence = (
        f"Trained as {trainings or 'nothing'} (network, steps x batch size, learning rate) under "
        f"{explanation.form.seeds} seeds that no search and no comparison uses, beside cross-entropy; validation "
        "split, whose labels are right. Longer trainings may learn wrong labels that shorter ones do not."
    )
    rows = tuple(
        (
            quoted(line.task),
            "this loss" if line.loss == called else quoted(line.loss),
            _mean(line.mean),
            _signed(line.difference),
            _interval(line.low, line.high),
            quoted(line.verdict),
        )
        for line in lines
    )
    table = Table("Metric of each task", ("task", "loss", "mean", "to cross-entropy", "95 % interval", "verdict"), rows)
    return Section("Wrong labels and a long tail", (sentence,), (table,), tuple(_told(lines, called, quoted)))


def _told(lines: Sequence[Line], called: str, quoted: Quoted) -> Iterator[str]:
    """On which tasks the loss is better than cross-entropy, on which worse, and where it failed."""
    own = [line for line in lines if line.loss == called]
    for verdict, words in _OF_TASKS.items():
        tasks = ", ".join(quoted(line.task) for line in own if line.verdict == verdict)
        if tasks:
            yield f"{words} {tasks}."


_OF_TASKS = {
    "better": "It is better than cross-entropy on",
    "worse": "It is worse than cross-entropy on",
    "no difference shown": "No difference to cross-entropy is shown on",
    "too few seeds": "With so few seeds nothing can be said on",
    "failed": "A training failed on",
    "baseline failed": "Cross-entropy failed on",
}


def _mean(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _signed(value: float | None) -> str:
    return "" if value is None else f"{value:+.4f}"


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"{low:+.4f} to {high:+.4f}"


def as_data(explanation: Explanation) -> dict[str, Any]:
    """The explanation as plain data for JSON, with the sentences and without the points of the curves."""
    return {
        "form": asdict(explanation.form),
        "pulls": [asdict(each) for each in pulls(explanation.points)],
        "parts": [asdict(each) for each in explanation.parts],
        "behaviour": [asdict(each) for each in explanation.behaviour],
        "text": {each.title: [*each.sentences, *each.conclusions] for each in sections(explanation, str)},
    }


# --- An explanation as Markdown, a section of a model card. Text of a file stands as code.


def explained(explanation: Explanation) -> str:
    """The section, with a heading for each of its parts."""
    parts = ["## What it does, and why", *map(_section, sections(explanation, code))]
    return "\n\n".join(parts)


def _section(section: Section) -> str:
    parts = [f"### {section.title}", " ".join(section.sentences), *("\n".join(_table(each)) for each in section.tables)]
    if section.conclusions:
        parts.append("\n".join(f"- {each}" for each in section.conclusions))
    return "\n\n".join(parts)


def _table(table: Table) -> Iterator[str]:
    yield f"{table.caption}:"
    yield ""
    yield f"| {' | '.join(table.columns)} |"
    yield f"|{'---|' * len(table.columns)}"
    for row in table.rows:
        yield f"| {' | '.join(row)} |"
