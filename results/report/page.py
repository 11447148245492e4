"""Page of a report: contents and figures as one HTML file that loads nothing.

Invariant: text of a run is escaped everywhere, and the page's own security policy forbids every request.
"""

import json
from pathlib import Path
from typing import Any

import latex2mathml.converter
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from lossearch.primitives.errors import UserError
from lossearch.primitives.language.formula import latex
from lossearch.primitives.language.parser import parse
from lossearch.results.findings.observation import Observation
from lossearch.results.findings.table_text import rounded, signed
from lossearch.results.findings.tuned_forms import LossKey, key_of
from lossearch.results.leaderboard import NotARun
from lossearch.results.plain_text import printable
from lossearch.results.ranking.row import Row
from lossearch.results.records import BASELINE
from lossearch.results.report import run_figures, training_figures
from lossearch.results.report.contents import Contents, gather_contents
from lossearch.results.report.drawing import Figure, library
from lossearch.results.report.loss_facts import LossFacts
from lossearch.results.statistics.intervals import FEWEST_FOR_INTERVAL, interval_of_mean
from lossearch.results.storage.atomic import write_whole_text
from lossearch.results.storage.run_files import no_run_at

FILE = "report.html"

#: Number of ranks whose formulas are typeset. Formulas of known losses and on the front always are.
TYPESET = 50

#: Largest number of ancestors shown of a survivor, youngest first.
ANCESTORS = 60


def write_report(run: Path, out: Path | None = None, top: int = 3) -> Path:
    """Write the report of a run and return its path: ``out``, or ``report.html`` in the run's directory.

    Raises NotARun where the directory is no run's, and UserError where the directory of ``out`` does not exist.
    """
    path = require_directory(run, out)
    write_whole_text(path, render_page(gather_contents(run, top)), typed=True)
    return path


def require_directory(run: Path, out: Path | None) -> Path:
    """Return the path of a run's report. Raises NotARun, and UserError where the directory of ``out`` is missing."""
    if not run.is_dir():
        raise NotARun(no_run_at(run, "a folder named evaluations"))
    path = run / FILE if out is None else out
    if not path.parent.is_dir():
        raise UserError(f"{path}: expected a file in a directory that exists, got no directory {path.parent}")
    return path


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
    figures = {name: json.loads(figure.to_json()) for name, figure in drawn.items()}
    data = {"figures": figures, "rows": _table(report)}
    return environment.get_template("page.html").render(
        report=report,
        drawn=drawn,
        survivors=list(enumerate(report.survivors, 1)),
        ancestors=ANCESTORS,
        interval=_interval,
        data=Markup(_as_script(data)),
        plotly=Markup(library()),
    )


def _figures(report: Contents) -> dict[str, Figure]:
    """Draw the figures, by the ids of their elements."""
    figures: dict[str, Figure] = {}
    rows = [survivor.row for survivor in report.survivors]
    if rows:
        figures["pareto"] = run_figures.pareto(report.rows, rows)
    if report.generations:
        baseline = None if report.baseline is None else report.baseline.fitness_mean
        figures["progress"] = run_figures.progress(report.generations, report.metric, baseline)
        figures["outcomes"] = run_figures.outcomes(report.generations)
    for number, survivor in enumerate(report.survivors, 1):
        of_survivor = _survivor_figures(survivor, report.metric, report.observed_baseline)
        figures |= {f"{name}-{number}": figure for name, figure in of_survivor.items()}
    return figures


def _survivor_figures(survivor: LossFacts, metric: str, baseline: Observation | None) -> dict[str, Figure]:
    figures = {}
    if survivor.curves:
        for line in ("target", "other"):
            figures[f"value-{line}"] = run_figures.curve(survivor.curves, line, "value")
            figures[f"slope-{line}"] = run_figures.curve(survivor.curves, line, "slope")
    if survivor.observation is not None and survivor.observation.form.reason is None:
        figures |= _training_figures(survivor.row, survivor.observation, baseline)
    if len(survivor.ancestors) > 1:
        figures["family"] = run_figures.family(survivor.ancestors[:ANCESTORS], metric)
    return figures


def _training_figures(row: Row, observation: Observation, baseline: Observation | None) -> dict[str, Figure]:
    """Draw the figures of one training, beside cross-entropy's where that was observed."""
    both = {row.name or row.formula: observation}
    if baseline is not None and baseline.form.loss_id != row.loss_id and baseline.form.reason is None:
        both[BASELINE] = baseline
    figures = {f"course-{what}": training_figures.course(both, what) for what in ("fitness", "loss", "gradient")}
    if observation.form.confusion:
        figures["confusion"] = training_figures.confusion(observation.form.confusion)
    for number, (name, observed) in enumerate(both.items()):
        if observed.embedded:
            figures[f"embedded-{number}"] = training_figures.embedded(observed.embedded, name)
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
            row.difference_low,
            row.difference_high,
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
