"""Sentences and tables of an explanation, for a terminal, a model card and JSON.

Invariant: every text that comes from a file goes through ``quote``, which makes it harmless where it is shown.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lossearch.primitives.identity.kinship import NEARLY, SAME
from lossearch.results.findings.comparison import Line
from lossearch.results.findings.curve_facts import curve_facts, pulls
from lossearch.results.findings.explanation import Explanation, PartEffect
from lossearch.results.findings.table_text import code, in_words, rounded, signed

Quote = Callable[[str], str]

#: Sentences about the parts, by their verdict. The names of the parts follow.
_OF_PARTS = {
    "matters": "These parts matter; without one of them the loss is worse",
    "better without": "Without one of these parts the loss is better",
    "no difference shown": "No difference is shown without these parts, though one within the interval is possible",
    "too few seeds": "Too few seeds to say anything about these parts",
    "moves no weight": "These parts move no weight: the gradient is the same without them",
}

#: Conclusions about the simplified loss, by its verdict.
_OF_SIMPLIFIED = {
    "no difference shown": "No difference is shown: the simpler loss can take the place of the whole",
    "better without": "The simpler loss is better",
    "matters": "Left out together, the parts do matter",
}

#: Sentences about tasks, by the verdict of the loss there. The names of the tasks follow.
_OF_TASKS = {
    "better": "It is better than cross-entropy on",
    "worse": "It is worse than cross-entropy on",
    "no difference shown": "No difference to cross-entropy is shown on",
    "too few seeds": "Too few seeds to say anything on",
    "failed": "A training failed on",
    "baseline failed": "Cross-entropy failed on",
}


@dataclass(frozen=True)
class Table:
    """A table of text cells. Every row has as many cells as there are columns."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Section:
    """A section: a title, sentences, tables, and conclusions from the tables."""

    title: str
    sentences: tuple[str, ...]
    tables: tuple[Table, ...] = ()
    conclusions: tuple[str, ...] = ()


def sections(explanation: Explanation, quote: Quote) -> list[Section]:
    """Describe a loss in four sections: its form, its pull, its parts and its behaviour."""
    return [
        Section("What it is", tuple(_form_sentences(explanation, quote))),
        _pull_section(explanation, quote),
        _parts_section(explanation, quote),
        _behaviour_section(explanation, quote),
    ]


def as_data(explanation: Explanation) -> dict[str, Any]:
    """Return the explanation as plain data for JSON, with the sentences and without the points of the curves."""
    return {
        "form": asdict(explanation.form),
        "pulls": [asdict(pull) for pull in pulls(explanation.points)],
        "parts": [asdict(part) for part in explanation.parts],
        "behaviour": [asdict(line) for line in explanation.behaviour],
        "text": {section.title: [*section.sentences, *section.conclusions] for section in sections(explanation, str)},
    }


def as_markdown(explanation: Explanation) -> str:
    """Return the explanation as a section of a model card. Text from files is shown as code."""
    parts = ["## What it does, and why", *map(_section_markdown, sections(explanation, code))]
    return "\n\n".join(parts)


def _section_markdown(section: Section) -> str:
    parts = [
        f"### {section.title}",
        " ".join(section.sentences),
        *("\n".join(_table_markdown(table)) for table in section.tables),
    ]
    if section.conclusions:
        parts.append("\n".join(f"- {conclusion}" for conclusion in section.conclusions))
    return "\n\n".join(parts)


def _table_markdown(table: Table) -> Iterator[str]:
    yield f"{table.caption}:"
    yield ""
    yield f"| {' | '.join(table.columns)} |"
    yield f"|{'---|' * len(table.columns)}"
    for row in table.rows:
        yield f"| {' | '.join(row)} |"


def _form_sentences(explanation: Explanation, quote: Quote) -> Iterator[str]:
    form = explanation.form
    yield f"Canonical form: {quote(form.canonical)}."
    if form.rejected is not None:
        yield f"The screening of a search would reject it: {quote(form.rejected)}."
    if form.nearest is None or form.cosine is None:
        yield "No known loss is like it: it has no gradient on the probe."
    elif form.cosine >= SAME:
        yield f"It is the known loss {quote(form.nearest)}, up to a factor and a constant."
    else:
        nearly = "It is nearly the known loss" if form.cosine >= NEARLY else "The nearest known loss is"
        yield f"{nearly} {quote(form.nearest)}: on the probe the cosine of their gradients is {form.cosine:.4f}."


def _pull_section(explanation: Explanation, quote: Quote) -> Section:
    form, points = explanation.form, explanation.points
    factor = "the factor 1" if form.factor is None else f"the factor {form.factor:g}"
    by_angle = bool(points) and points[0].axis == "angle"
    along = "the cosine to the target's class weight" if by_angle else "the target's logit"
    sentence = (
        f"The pull is how fast the loss falls with {along}. It includes {factor}, which makes the first gradient as "
        "large as cross-entropy's."
    )
    names = list(dict.fromkeys(point.loss for point in points))
    titles = ("this loss" if name == form.called else quote(name) for name in names)
    rows = tuple((pull.where, *(_three_digits(pull.of_loss.get(name)) for name in names)) for pull in pulls(points))
    table = Table("Pull to the target", ("at", *titles), rows)
    return Section("How it pulls", (sentence,), (table,), tuple(curve_facts(points, form.called)))


def _three_digits(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _parts_section(explanation: Explanation, quote: Quote) -> Section:
    title = "Which parts matter"
    if not explanation.form.parts:
        return Section(title, ("It has only one part: there is nothing to leave out.",))
    sentence = (
        "Each part was left out in turn. The rest was calibrated again and trained as the search trains, under "
        f"{explanation.form.seeds} seeds that no search and no comparison uses, and scored on the validation split. "
        "The whole loss was chosen on that split, which favours it a little."
    )
    by_task: dict[str, list[PartEffect]] = {}
    for part in explanation.parts:
        by_task.setdefault(part.task, []).append(part)
    tables = [_parts_table(parts, quote) for parts in by_task.values()]
    conclusions = [
        conclusion for parts in by_task.values() for conclusion in _part_conclusions(parts, quote, len(by_task) > 1)
    ]
    return Section(title, (sentence,), tuple(tables), tuple(conclusions))


def _parts_table(parts: Sequence[PartEffect], quote: Quote) -> Table:
    first = parts[0]
    whole = next((part.whole for part in parts if part.whole is not None), None)
    caption = f"{first.task}: {first.measure}" + ("" if whole is None else f", the whole loss has {whole:.4f}")
    rows = tuple(
        (
            quote(part.part),
            "" if part.formula is None else quote(part.formula),
            rounded(part.mean),
            signed(part.difference),
            part.interval,
            part.verdict,
        )
        for part in parts
        if part.kind != "simplified"
    )
    columns = ("left out", "what is left", "mean", "to the whole", "95 % interval", "verdict")
    return Table(quote(caption), columns, rows)


def _part_conclusions(parts: Sequence[PartEffect], quote: Quote, names_task: bool) -> Iterator[str]:
    on_task = f"On {quote(parts[0].task)}: " if names_task else ""
    single_parts = [part for part in parts if part.kind != "simplified"]
    for verdict, sentence in _OF_PARTS.items():
        names = ", ".join(quote(part.part) for part in single_parts if part.verdict == verdict)
        if names:
            yield f"{on_task}{sentence}: {names}."
    for part in single_parts:
        if part.reason is not None:
            yield f"{on_task}The rest without {quote(part.part)} was not trained to the end: {quote(part.reason)}."
    yield from (_simplified_conclusion(part, quote, on_task) for part in parts if part.kind == "simplified")


def _simplified_conclusion(part: PartEffect, quote: Quote, on_task: str) -> str:
    loss = f"{on_task}Without {quote(part.part)} together, {quote(part.formula or '')}"
    if part.mean is None or part.difference is None:
        return f"{loss} was not trained to the end: {quote(part.reason or '')}."
    numbers = (
        f"{loss} reaches {part.mean:.4f}, the whole {rounded(part.whole)}, under {part.seeds} more seeds: "
        f"{signed(part.difference)}, {in_words(part.interval)}"
    )
    return f"{numbers}. {_OF_SIMPLIFIED.get(part.verdict, 'Nothing can be said about it')}."


def _behaviour_section(explanation: Explanation, quote: Quote) -> Section:
    lines, called = explanation.behaviour, explanation.form.called
    trainings = ", ".join(quote(label) for label in dict.fromkeys(line.fidelity for line in lines))
    sentence = (
        f"Trained as {trainings or 'nothing'} (network, steps x batch size, learning rate) under "
        f"{explanation.form.seeds} seeds that no search and no comparison uses, beside cross-entropy. Scored on the "
        "validation split, whose labels are right. Longer trainings may learn wrong labels that shorter ones do not."
    )
    rows = tuple(
        (
            quote(line.task),
            "this loss" if line.loss == called else quote(line.loss),
            rounded(line.mean),
            signed(line.difference),
            line.interval,
            quote(line.verdict),
        )
        for line in lines
    )
    columns = ("task", "loss", "mean", "to cross-entropy", "95 % interval", "verdict")
    conclusions = tuple(_behaviour_conclusions(lines, called, quote))
    return Section(
        "Wrong labels and a long tail", (sentence,), (Table("Metric of each task", columns, rows),), conclusions
    )


def _behaviour_conclusions(lines: Sequence[Line], called: str, quote: Quote) -> Iterator[str]:
    """Say on which tasks the loss is better than cross-entropy, on which it is worse, and where it failed."""
    for verdict, sentence in _OF_TASKS.items():
        tasks = ", ".join(quote(line.task) for line in lines if line.loss == called and line.verdict == verdict)
        if tasks:
            yield f"{sentence} {tasks}."
