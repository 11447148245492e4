"""What ``lossearch compare RUN`` does with a search: its tuned losses are judged, and the verdicts printed."""

from pathlib import Path
from typing import Any

from lossearch.outcome import as_words, interrupted, print_json, say


def print_verdicts(run: Path, as_json: bool, **options: Any) -> None:
    """Judge the tuned losses of a run, and print what may be said of them; an option that is None is as usual."""
    from lossearch.comparison_view import comparison_view
    from lossearch.launch_verdict import VerdictInterrupted, verdict
    from lossearch.results.findings.verdict_table import chosen_from
    from lossearch.results.plain_text import printable
    from lossearch.terminal import tables
    from lossearch.verdict_view import verdict_table

    given = {name: value for name, value in options.items() if value is not None}
    try:
        with comparison_view() as view:
            judged = verdict(run, view=view, **given)
    except VerdictInterrupted:
        words = {name.replace("tasks", "task"): value for name, value in given.items()}
        interrupted("measured", ["compare", str(run), *as_words(words)])
    if as_json:
        print_json(judged.table.to_dicts())
    else:
        console = tables()
        for scene in judged.table.scenes:
            lines = judged.table.of_scene(scene)
            console.print(verdict_table(lines, narrow=console.width < 100))
            for line in lines:
                say(printable(f"{line.formula}: {line.verdict}; {line.why}."))
            say(chosen_from(lines[0]))
            console.print()
    say(f"Verdicts: {judged.path}")
