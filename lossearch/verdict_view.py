"""What a person sees of tuning and of verdicts in a terminal."""

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from lossearch.results.findings.tuned_losses import TunedLoss
from lossearch.results.findings.verdict_table import interval_text, signed
from lossearch.results.findings.verdicts import Verdict
from lossearch.results.plain_text import printable

#: Baselines that a table of tuned losses shows: the best, and cross-entropy.
_SHOWN = 8


def tuned_table(losses: Sequence[TunedLoss], narrow: bool = False) -> Table:
    """The tuned losses of one task, best first: those that were found, and the best of the known ones."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("kind", "validation") if narrow else ("kind", "validation", "learning rate", "settings", "pruned"):
        table.add_column(name, justify="right" if name != "kind" else "left", no_wrap=True)
    table.add_column("loss", overflow="fold", ratio=1)
    ranked = sorted(losses, key=lambda each: -(each.value or 0.0))
    best = [each for each in ranked if each.kind == "baseline"][:_SHOWN]
    for each in ranked:
        if each.kind != "baseline" or each in best or each.loss == "cross_entropy":
            value = "failed" if each.value is None else f"{each.value:.4f}"
            rate = f"{each.settings_by_name().get('learning_rate', 0.0):.3g}"
            text = each.formula if each.kind != "baseline" else f"{each.loss}: {each.formula}"
            cells = [each.kind, value, *([] if narrow else [rate, str(each.trials), str(each.pruned)]), text]
            table.add_row(*(Text(printable(cell)) for cell in cells), style="bold" if each.kind == "found" else None)
    return table


def verdict_table(lines: Sequence[Verdict], narrow: bool = False) -> Table:
    """The verdicts of one scene."""
    head = lines[0]
    seeds = max(each.seeds for each in lines)
    title = f"{head.scene}: {head.task}, {head.measure} on the test split, {seeds} fresh seeds"
    table = Table(box=None, pad_edge=False, header_style="bold", title=Text(printable(title)), title_justify="left")
    table.add_column("loss", overflow="fold", ratio=1)
    for name in ("mean", "to best known") if narrow else ("mean", "to best known", "95 % interval", "p", "to random"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict", overflow="fold")
    for line in lines:
        cells = [line.formula, "" if line.mean is None else f"{line.mean:.4f}", signed(line.difference)]
        if not narrow:
            cells += [interval_text(line.low, line.high), "" if line.p is None else f"{line.p:.2g}"]
            cells.append(signed(line.random_difference))
        table.add_row(*(Text(printable(cell)) for cell in cells), Text(printable(line.verdict), style="bold"))
    return table
