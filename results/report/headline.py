"""The top of a report in three sentences: what was found, what may be claimed, what to do next; and how to use it.

The number that stands out is one that played no part in the choice: of the test split if the loss was judged, else of
fresh seeds. The score of the search is the best of many and so flattered.
"""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lossearch.primitives.errors import UserError
from lossearch.results.export.model_card import construction_lines
from lossearch.results.export.usage import EMBEDDING_USE, OWNS_LAST_LAYER
from lossearch.results.findings.table_text import in_words
from lossearch.results.findings.verdicts import Verdict
from lossearch.results.leaderboard import Entry
from lossearch.results.records import BASELINE
from lossearch.results.statistics.intervals import FEWEST_FOR_INTERVAL, contains_zero, interval_text, lacks_interval
from lossearch.results.storage.fresh_seed_test import FreshSeedTest

#: File that the lines of use import.
FILE = "my_loss"

#: What to do after a verdict. "{closest}" is the best known loss.
_AFTER_VERDICT = {
    "better than every baseline": "Use it, and compare it once more on your own data.",
    "no difference shown": "Use {closest}, or judge again under more seeds.",
    "worse than a known loss": "Use the known loss instead.",
    "too few seeds": "Judge it under more seeds.",
    "split too small": "Judge it on a task with a larger test split.",
    "saturated": "Search on a harder task: on this one the known losses leave nothing to win.",
    "failed": "Look at why a training failed, then judge it again.",
    "baselines failed": "Look at why the known losses failed, then judge it again.",
}
_MORE_SEEDS = ("no difference shown", "too few seeds")


@dataclass(frozen=True)
class Headline:
    """The first sentences of a report. The claim stands around its number, which is None if nothing may be claimed."""

    rank: int | None  #: of the loss to use
    found: str
    claim: str  #: up to the number
    number: str | None
    limits: str  #: of the claim, after the number
    advice: str
    commands: tuple[str, ...]  #: to type next
    usage: tuple[str, ...]  #: lines of Python; empty for a loss that cannot be exported
    export: str  #: command that writes the file that these lines import
    note: str  #: what is special about its use; empty if nothing is


def write_headline(entry: Entry, ranked: int, run: Path, state: str, is_tuned: bool) -> Headline:
    """Write the headline of a run: ``entry`` is the loss to use, one of ``ranked`` losses.

    ``state`` is the run's. ``is_tuned`` tells if losses of it were tuned.
    """
    verdict = None if entry.form is None else entry.form.verdict
    trial = entry.trial if verdict is None else None
    if verdict is not None:
        claim, number, limits = _claim_of_verdict(verdict)
    elif trial is not None:
        claim, number, limits = _claim_of_trial(trial, entry.metric)
    else:
        claim, number, limits = _no_claim(entry)
    advice, commands = _after_verdict(verdict, run) if verdict else _before_verdict(entry, run, state, is_tuned)
    return Headline(
        rank=entry.rank,
        found=_found(entry, ranked, verdict is not None),
        claim=claim,
        number=number,
        limits=limits,
        advice=advice,
        commands=commands,
        usage=_usage(entry),
        export=shlex.join(["lossearch", "export", str(run), "--out", f"{FILE}.py"]),
        note=" ".join(_notes(entry)),
    )


def _found(entry: Entry, ranked: int, is_judged: bool) -> str:
    losses = "1 loss" if ranked == 1 else f"{ranked:,} losses"
    kind = "embeddings" if entry.over_embeddings else "logits"
    what = f"the known loss {entry.name}" if entry.name else f"a loss for {kind} with {entry.complexity} nodes"
    if is_judged:
        return (
            f"The search trained {losses} on {entry.task} to the end; the best one that was judged is {what}, rank "
            f"{entry.rank}, with its tuned numbers."
        )
    return f"The search trained {losses} on {entry.task} to the end; the best one is {what}."


def _claim_of_verdict(verdict: Verdict) -> tuple[str, str | None, str]:
    where = f"on the test split under {verdict.seeds} fresh seeds"
    if verdict.mean is None:
        return f"Judged {where}: {verdict.verdict}; {verdict.why}.", None, ""
    limits = f" ({verdict.measure}): {verdict.verdict}; {verdict.why}."
    if verdict.difference is not None and verdict.closest is not None:
        best = "" if verdict.baselines < 2 else f", the best of {verdict.baselines} known losses,"
        limits += (
            f" The difference to {verdict.closest}{best} is {verdict.difference:+.4f} ({in_words(verdict.interval)})."
        )
    return f"Judged {where}, it reaches ", f"{verdict.mean:.4f}", limits


def _claim_of_trial(trial: FreshSeedTest, metric: str) -> tuple[str, str | None, str]:
    if trial.fitness is None or trial.cross_entropy is None or trial.difference is None:
        return "It was not judged, and a training under fresh seeds failed: nothing may be claimed.", None, ""
    low, high = trial.interval or (None, None)
    shows_none = trial.difference == 0.0 if low is None or high is None else contains_zero(low, high)
    limits = (
        f" ({metric}) on the validation split, cross-entropy {trial.cross_entropy:.4f}: {trial.difference:+.4f} "
        f"({_interval(low, high, trial.seeds)}){', so no difference is shown' if shows_none else ''}."
    )
    return f"It was not judged. Under {trial.seeds} fresh seeds it reaches ", f"{trial.fitness:.4f}", limits


def _no_claim(entry: Entry) -> tuple[str, str | None, str]:
    score = "" if entry.fitness_mean is None else f", {entry.fitness_mean:.4f},"
    return (
        "Nothing was judged, and no fresh seed has tested it: nothing may be claimed. "
        f"Its score in the search{score} is the one that it was chosen by, and so looks better than it is.",
        None,
        "",
    )


def _interval(low: float | None, high: float | None, seeds: int) -> str:
    if low is None or high is None or seeds < FEWEST_FOR_INTERVAL:
        return lacks_interval(seeds)
    return f"95 % interval {interval_text(low, high)}"


def _after_verdict(verdict: Verdict, run: Path) -> tuple[str, tuple[str, ...]]:
    closest = verdict.closest or "a known loss"
    advice = _AFTER_VERDICT.get(verdict.verdict, "").format(closest=closest)
    if verdict.verdict == "worse than a known loss":
        advice = f"Use {closest} instead."
    if verdict.verdict in _MORE_SEEDS:
        return advice, (shlex.join(["lossearch", "compare", str(run), "--seeds", str(max(10, 2 * verdict.seeds))]),)
    return advice, ()


def _before_verdict(entry: Entry, run: Path, state: str, is_tuned: bool) -> tuple[str, tuple[str, ...]]:
    tune, judge = (shlex.join(["lossearch", command, str(run)]) for command in ("tune", "compare"))
    if state not in ("finished", "unknown"):
        resume = ["lossearch", "search", str(run / "experiment.toml"), "--run-dir", str(run), "--resume"]
        return "Wait until the search has ended, or let it go on if it was stopped.", (shlex.join(resume),)
    if entry.name == BASELINE:
        return "Search longer, or with other terminals and starting losses: nothing scored above cross-entropy.", ()
    if is_tuned:
        return "Judge the tuned losses on the test split.", (judge,)
    return "Tune it and every known loss with the same budget, then judge it on the test split.", (tune, judge)


def _notes(entry: Entry) -> Iterator[str]:
    if entry.over_embeddings:
        yield f"It takes embeddings, and it {OWNS_LAST_LAYER}."
    if entry.learning_rate is not None:
        yield f"It was tuned with a learning rate of {entry.learning_rate:g}."


def _usage(entry: Entry) -> tuple[str, ...]:
    """Return the lines that use the exported loss."""
    try:
        loss = entry.exportable()
    except UserError:  # text of a stranger's run
        return ()
    lines = construction_lines(loss)
    use = EMBEDDING_USE[1:] if loss.over_embeddings else ("value = loss(logits, target)",)
    imports = ["import torch"] if any("torch." in line for line in lines) else []
    return (*imports, f"from {FILE} import Loss", *lines, *use)
