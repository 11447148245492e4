"""The page of a report: its contents and figures as one HTML file that loads nothing.

Invariant: text of a run is escaped wherever it stands, and the page's own policy forbids every request.
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
from lossearch.results.leaderboard import NotARun
from lossearch.results.plain_text import printable
from lossearch.results.ranking.row import Row
from lossearch.results.records import BASELINE
from lossearch.results.report import run_figures, training_figures
from lossearch.results.report.contents import Contents, contents
from lossearch.results.report.drawing import Figure, library
from lossearch.results.report.loss_facts import LossFacts
from lossearch.results.statistics.intervals import interval_of_mean, standard_error
from lossearch.results.storage.atomic import write_whole_text
from lossearch.results.storage.run_files import no_run_at

FILE = "report.html"

#: Losses of the leaderboard whose formulas are typeset, beside known ones and those on the front.
TYPESET = 50

#: Ancestors of a survivor that are shown at most, the youngest.
ANCESTORS = 60


def write_report(run: Path, out: Path | None = None, top: int = 3) -> Path:
    """Write the report of a run; returns its path, ``report.html`` in the run unless ``out`` is given.

    Raises NotARun where there is none, UserError where the file's directory does not exist.
    """
    path = require_directory(run, out)
    write_whole_text(path, page(contents(run, top)))
    return path


def require_directory(run: Path, out: Path | None) -> Path:
    """Where the report of a run is written. Raises NotARun, and UserError for no place to write it to."""
    if not run.is_dir():
        raise NotARun(no_run_at(run, "a folder named evaluations"))
    path = run / FILE if out is None else out
    if not path.parent.is_dir():
        raise UserError(f"{path}: expected a file in a directory that exists, got none called {path.parent}")
    return path


def page(told: Contents) -> str:
    """The page."""
    environment = Environment(
        loader=PackageLoader("lossearch.results.report", "page"),
        autoescape=True,
        finalize=visible,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"mathml": _mathml, "signed": _signed, "number": _number, "short": _short}
    drawn = _figures(told)
    data = {"figures": {name: json.loads(figure.to_json()) for name, figure in drawn.items()}, "rows": _table(told)}
    return environment.get_template("page.html").render(
        told=told,
        drawn=drawn,
        survivors=list(enumerate(told.survivors, 1)),
        ancestors=ANCESTORS,
        interval=_interval,
        data=Markup(_as_script(data)),
        plotly=Markup(library()),
    )


def _figures(told: Contents) -> dict[str, Figure]:
    """The figures by the ids of their places."""
    found: dict[str, Figure] = {}
    rows = [survivor.row for survivor in told.survivors]
    if rows:
        found["pareto"] = run_figures.pareto(told.rows, rows)
    if told.generations:
        baseline = None if told.baseline is None else told.baseline.fitness_mean
        found["progress"] = run_figures.progress(told.generations, told.metric, baseline)
        found["outcomes"] = run_figures.outcomes(told.generations)
    for number, survivor in enumerate(told.survivors, 1):
        found |= {
            f"{name}-{number}": figure
            for name, figure in _of_survivor(survivor, told.metric, told.observed_baseline).items()
        }
    return found


def _of_survivor(survivor: LossFacts, metric: str, baseline: Observation | None) -> dict[str, Figure]:
    found = {}
    if survivor.curves:
        for line in ("target", "other"):
            found[f"value-{line}"] = run_figures.curve(survivor.curves, line, "value")
            found[f"slope-{line}"] = run_figures.curve(survivor.curves, line, "slope")
    if survivor.observation is not None and survivor.observation.form.reason is None:
        found |= _observed(survivor.row, survivor.observation, baseline)
    if len(survivor.ancestors) > 1:
        found["family"] = run_figures.family(survivor.ancestors[:ANCESTORS], metric)
    return found


def _observed(row: Row, seen: Observation, baseline: Observation | None) -> dict[str, Figure]:
    """The figures of one training, beside cross-entropy's where that was observed."""
    both = {row.name or row.formula: seen}
    if baseline is not None and baseline.form.loss_id != row.loss_id and baseline.form.reason is None:
        both[BASELINE] = baseline
    found = {f"course-{what}": training_figures.course(both, what) for what in ("fitness", "loss", "gradient")}
    if seen.form.confusion:
        found["confusion"] = training_figures.confusion(seen.form.confusion)
    for number, (called, each) in enumerate(both.items()):
        if each.embedded:
            found[f"embedded-{number}"] = training_figures.embedded(each.embedded, called)
        for what in ("value", "ratio"):
            own = [point for point in each.grid if point.what == what]
            if own:
                found[f"grid-{what}-{number}"] = training_figures.landscape(own, what)
    if seen.pictures:
        found["maps"] = training_figures.class_maps(seen.pictures)
    return found


def _table(told: Contents) -> list[list[Any]]:
    """What the leaderboard shows of each loss with a rank: few columns, since there may be many rows."""
    judged: dict[int | None, str] = {}
    for each in told.verdicts:
        if each.scene == "own":
            judged.setdefault(each.rank, each.verdict)
    return [
        [
            row.rank,
            visible(row.name or ""),
            visible(row.formula),
            row.fitness_mean,
            row.fitness_std,
            row.seeds,
            row.difference_to_cross_entropy,
            row.complexity,
            visible(f"{row.birth} g{row.generation}"),
            row.pareto,
            judged.get(row.rank, ""),
            _typeset(row),
            row.difference_low,
            row.difference_high,
        ]
        for row in told.rows
        if row.rank is not None
    ]


def _typeset(row: Row) -> str:
    """The formula as MathML where the row is one that is looked at first; of all there would be too much."""
    if row.rank is None or not (row.rank <= TYPESET or row.pareto or row.name):
        return ""
    try:
        return latex2mathml.converter.convert(latex(parse(row.formula)))
    except UserError:  # a stranger's text that is no formula
        return ""


def visible(value: Any) -> Any:
    """Text of a run in which what is not seen is replaced; anything else as it is."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _as_script(data: Any) -> str:
    """JSON that no text in it can end the script of."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _mathml(text: str) -> Markup:
    """LaTeX of ours as MathML, which browsers draw themselves."""
    return Markup(latex2mathml.converter.convert(text, display="block"))


def _interval(row: Row) -> tuple[float, float] | None:
    """95 % interval of the fitness over the seeds."""
    if row.fitness_mean is None or row.fitness_std is None or row.seeds < 2:
        return None
    return interval_of_mean(row.fitness_mean, standard_error(row.fitness_std, row.seeds), row.seeds)


def _signed(value: float | None) -> str:
    return "" if value is None else f"{value:+.4f}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _short(text: str, most: int = 80) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
