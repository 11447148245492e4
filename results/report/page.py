"""Page of a report: contents and figures as one HTML file that loads nothing.

Invariant: text of a run is escaped everywhere, and the page's own security policy forbids every request.
"""

import json
import os
from pathlib import Path
from typing import Any

import latex2mathml.converter
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from lossearch.primitives.errors import Argument, UserError
from lossearch.primitives.language.formula import latex
from lossearch.primitives.language.parser import parse
from lossearch.results.findings.observation import Observation
from lossearch.results.findings.table_text import rounded, signed
from lossearch.results.findings.tuned_forms import LossKey, key_of
from lossearch.results.leaderboard import NotARun
from lossearch.results.plain_text import printable
from lossearch.results.ranking.row import Row
from lossearch.results.records import BASELINE
from lossearch.results.report import conclusions, run_figures, training_figures
from lossearch.results.report.contents import Contents, gather_contents
from lossearch.results.report.drawing import Figure, library
from lossearch.results.report.loss_facts import LossFacts
from lossearch.results.report.ranges import fitness_range
from lossearch.results.report.settings import LANGUAGE
from lossearch.results.statistics.intervals import FEWEST_FOR_INTERVAL, interval_of_mean
from lossearch.results.storage.atomic import write_whole_text
from lossearch.results.storage.run_kinds import no_run_at

FILE = "report.html"

#: Bytes at the beginning of a report that identify it, the second in reports of older versions, and how far to look.
_MARKS, _BEGINNING = (b'<meta name="generator" content="lossearch">', b": losses found</title>"), 4_096

#: Number of ranks whose formulas are typeset. Formulas of known losses and on the front always are.
TYPESET = 50

#: Largest number of warnings of the search that are written out.
MOST_WARNINGS = 3

#: Largest number of ancestors shown of a survivor, youngest first.
ANCESTORS = 60


def write_report(run: Path, out: Path | None = None, top: int = 3, force: bool = False) -> Path:
    """Write the report of a run and return its path: ``out``, or ``report.html`` in the run's directory.

    Raises as ``require_directory`` does.
    """
    path = require_directory(run, out, force)
    write_whole_text(path, render_page(gather_contents(run, top)), typed=True)
    return path


def require_directory(run: Path, out: Path | None, force: bool = False) -> Path:
    """Return the path of a run's report.

    Raises NotARun, and UserError where the directory of ``out`` is missing or ``out`` is a directory. An existing file
    that is no report is replaced with ``force`` alone.
    """
    if not run.is_dir():
        raise NotARun(no_run_at(run, "a folder named evaluations"))
    path = run / FILE if out is None else out
    if not path.parent.is_dir():
        raise UserError(f"{path}: expected a file in a directory that exists, got no directory {path.parent}")
    if out is None:
        return path
    if path.is_dir():
        raise UserError(f"{path}: expected a file to write, got a directory. Give a file in it, such as {path / FILE}")
    if os.path.lexists(path) and not (path.is_file() and (force or _is_replaceable(path))):
        advice = (", or replace it with ", Argument("force", "True")) if path.is_file() else ()
        expected = f"{path}: expected a new file or an earlier report, got another file. Give another "
        raise UserError(expected, Argument("out"), *advice, ".")
    return path


def _is_replaceable(path: Path) -> bool:
    """Return True for an empty file, and for a report of any version."""
    with path.open("rb") as file:
        beginning = file.read(_BEGINNING)
    return not beginning or any(mark in beginning for mark in _MARKS)


def render_page(report: Contents) -> str:
    """Render the page."""
    environment = Environment(
        loader=PackageLoader("lossearch.results.report", "page"),
        autoescape=True,
        finalize=visible,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"mathml": _mathml, "signed": signed, "number": rounded, "short": _short}
    drawn = _figures(report)
    best_rank = None if report.headline is None else report.headline.rank
    figures = {name: json.loads(figure.to_json()) for name, (figure, _) in drawn.items()}
    data = {"figures": figures, "rows": _table(report), "best": best_rank}
    return environment.get_template("page.html").render(
        report=report,
        drawn={name: conclusion for name, (_, conclusion) in drawn.items()},
        survivors=list(enumerate(report.survivors, 1)),
        ancestors=ANCESTORS,
        interval=_interval,
        fewest=FEWEST_FOR_INTERVAL,
        best_rank=best_rank,
        most_warnings=MOST_WARNINGS,
        language=LANGUAGE,
        data=Markup(_as_script(data)),
        plotly=Markup(library()),
    )


def _figures(report: Contents) -> dict[str, tuple[Figure, str]]:
    """Draw the figures, by the ids of their elements, each with its conclusion."""
    figures: dict[str, tuple[Figure, str]] = {}
    rows = [survivor.row for survivor in report.survivors]
    if rows:
        shown = fitness_range(report.rows, rows)
        figures["pareto"] = run_figures.pareto(report.rows, rows), conclusions.conclude_front(report.rows, shown)
    if report.generations:
        baseline = None if report.baseline is None else report.baseline.fitness_mean
        figures["progress"] = (
            run_figures.progress(report.generations, report.metric, baseline),
            conclusions.conclude_progress(report.generations, baseline),
        )
        figures["outcomes"] = (
            run_figures.outcomes(report.generations),
            conclusions.conclude_outcomes(report.generations),
        )
    for number, survivor in enumerate(report.survivors, 1):
        tuned_baseline = report.observed_tuned_baseline if survivor.observed_form is not None else None
        of_survivor = _survivor_figures(survivor, report.metric, tuned_baseline or report.observed_baseline)
        figures |= {f"{name}-{number}": figure for name, figure in of_survivor.items()}
    return figures


def _survivor_figures(survivor: LossFacts, metric: str, baseline: Observation | None) -> dict[str, tuple[Figure, str]]:
    figures: dict[str, Figure] = {}
    texts: dict[str, str] = {}
    if survivor.curves:
        texts |= conclusions.conclude_curves(survivor.curves, survivor.curves[0].loss)
        for line in ("target", "other"):
            figures[f"value-{line}"] = run_figures.curve(survivor.curves, line, "value")
            figures[f"slope-{line}"] = run_figures.curve(survivor.curves, line, "slope")
    if survivor.observation is not None and survivor.observation.form.reason is None:
        beside = _observed_beside(survivor.row, baseline)
        texts |= conclusions.conclude_course(survivor.observation, beside)
        texts["confusion"] = conclusions.conclude_confusion(survivor.observation.form.confusion)
        name = survivor.row.name or survivor.trained_formula
        figures |= _training_figures(name, survivor.observation, beside)
    if len(survivor.ancestors) > 1:
        texts["family"] = conclusions.conclude_family(survivor.ancestors)
        figures["family"] = run_figures.family(survivor.ancestors[:ANCESTORS], metric)
    return {name: (figure, texts.get(name, "")) for name, figure in figures.items()}


def _observed_beside(row: Row, baseline: Observation | None) -> Observation | None:
    """Return cross-entropy's observation to show beside that of a row; None if it failed or is the row's own."""
    is_other = baseline is not None and baseline.form.loss_id != row.loss_id and baseline.form.reason is None
    return baseline if is_other else None


def _training_figures(name: str, observation: Observation, baseline: Observation | None) -> dict[str, Figure]:
    """Draw the figures of one training, beside cross-entropy's where that was observed."""
    both = {name: observation}
    if baseline is not None:
        both[BASELINE] = baseline
    figures = {f"course-{what}": training_figures.course(both, what) for what in ("fitness", "loss", "gradient")}
    if observation.form.confusion:
        figures["confusion"] = training_figures.confusion(observation.form.confusion)
    for number, (trained, observed) in enumerate(both.items()):
        if observed.embedded:
            figures[f"embedded-{number}"] = training_figures.embedded(observed.embedded, trained)
        for what in ("value", "ratio"):
            grid = [point for point in observed.grid if point.what == what]
            if grid:
                figures[f"grid-{what}-{number}"] = training_figures.landscape(grid, what)
    if observation.pictures:
        figures["maps"] = training_figures.class_maps(observation.pictures)
    return figures


def _table(report: Contents) -> list[list[Any]]:
    """Return the leaderboard's cells for each ranked loss. It has few columns, since there may be many rows."""
    verdicts: dict[LossKey, str] = {}
    for verdict in report.verdicts:
        if verdict.scene == "own":
            verdicts.setdefault(key_of(verdict.loss), verdict.verdict)
    return [
        [
            row.rank,
            visible(row.name or ""),
            visible(row.formula),
            row.fitness_mean,
            row.fitness_std if row.seeds >= FEWEST_FOR_INTERVAL else None,
            row.seeds,
            row.difference_to_cross_entropy,
            row.complexity,
            visible(f"{row.birth} g{row.generation}"),
            row.pareto,
            verdicts.get((row.formula, row.class_weights or "learned"), ""),  # canonical text needs no parsing
            _mathml_of_row(row),
            None if row.difference_low is None or row.seeds < FEWEST_FOR_INTERVAL else row.difference_high,
            row.over_embeddings,
        ]
        for row in report.rows
        if row.rank is not None
    ]


def _mathml_of_row(row: Row) -> str:
    """Return the formula as MathML for the rows that are looked at first. MathML of all rows would be too large."""
    if row.rank is None or not (row.rank <= TYPESET or row.pareto or row.name):
        return ""
    try:
        return latex2mathml.converter.convert(latex(parse(row.formula)))
    except UserError:  # text of a stranger's run that is no formula
        return ""


def visible(value: Any) -> Any:
    """Replace invisible characters in text of a run. Any other value is returned as it is."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _as_script(data: Any) -> str:
    """Return JSON for a script element. No text in it can end the element."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _mathml(text: str) -> Markup:
    """Return LaTeX as MathML, which browsers draw without a library."""
    return Markup(latex2mathml.converter.convert(text, display="block"))


def _interval(row: Row) -> tuple[float, float] | None:
    """Return the 95 % interval of the fitness over the seeds; None with fewer than three seeds or equal values."""
    return None if row.fitness_mean is None else interval_of_mean(row.fitness_mean, row.fitness_std, row.seeds)


def _short(text: str, limit: int = 80) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
