"""Model card: what is known of an exported loss and what is not, as one Markdown page.

Invariant: every number on it is read from the run's evaluations or measured while it is written, and text of a run
is escaped.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from primitives.latex import latex
from primitives.torch_loss import FormulaLoss, loss_module
from results.behaviour import CLASSES, SIZE, failures, least_at
from results.export import plain, written_by
from results.exportable import Exportable
from results.leaderboard import BASELINE, Row
from results.records import Evaluation
from results.statistics import interval, mean, paired_differences, shows_a_difference, spread, standard_error


@dataclass(frozen=True)
class Evidence:
    """What a run says about one of its losses: its row, all rows, all evaluations, and its trial if it had one."""

    row: Row
    rows: Sequence[Row]
    evaluations: Sequence[Evaluation]
    trial: dict[str, float] | None = None


def model_card(loss: Exportable, evidence: Evidence | None = None) -> str:
    """The card of a loss; without evidence it says that there are no results."""
    parts = [_what(loss)]
    parts += [_no_results()] if evidence is None else [_results(evidence), _baselines(evidence), _training(evidence)]
    parts += [_behaviour(loss, evidence), _provenance(loss)]
    return "\n\n".join(parts) + "\n"


def _what(loss: Exportable) -> str:
    over = "embeddings, with class weights of its own" if loss.over_embeddings else "logits"
    lines = [f"# Loss {escaped(loss.title)}", f"`{loss.formula}`", f"$${latex(loss.formula)}$$", f"A loss over {over}."]
    if loss.hyperparameters:
        values = [f"| `{name}` | {value:g} |" for name, value in loss.hyperparameters.items()]
        lines.append("\n".join(["| hyper-parameter | default |", "|---|---|", *values]))
    return "\n\n".join(lines)


def _no_results() -> str:
    return "## Results\n\nNone here: the loss was not evaluated in a run of this project."


def _results(evidence: Evidence) -> str:
    row = evidence.row
    own, theirs = _fitness(evidence, row.loss_id), _fitness(evidence, _baseline_id(evidence))
    ranked = sum(each.rank is not None for each in evidence.rows)
    lines = ["## Results"]
    if row.fitness_mean is None:
        return "\n\n".join([*lines, f"No fitness: {row.status}, {escaped(row.reason or '')}."])
    lines.append(
        f"Accuracy on the validation split of the task {escaped(row.task)}: {_spread_of(list(own.values()))} over "
        f"{row.seeds} seeds, rank {row.rank} of {ranked} losses."
    )
    differences = paired_differences(own, theirs)
    if row.name != BASELINE and differences:
        lines.append(f"Difference to cross-entropy under the same seeds: {_with_interval(differences)}.")
    lines.append(
        f"The loss was chosen from {ranked} by this very score, which flatters it: the best of many equal losses looks "
        "better than it is. The test split was not used."
    )
    lines.append(_trial(evidence.trial))
    return "\n\n".join(lines)


def _trial(trial: dict[str, float] | None) -> str:
    if trial is None or trial.get("difference") is None:
        return "It was not trained again under fresh seeds."
    error = standard_error(trial["difference_std"], trial["seeds"])
    shown = "" if shows_a_difference(trial["difference"], error) else " No difference is shown."
    return (
        f"Under {trial['seeds']:.0f} fresh seeds that the search did not use: accuracy {trial['fitness']:.4f}, "
        f"cross-entropy {trial['cross_entropy']:.4f}, difference {trial['difference']:+.4f} with a standard error of "
        f"{error:.4f}.{shown}"
    )


def _baselines(evidence: Evidence) -> str:
    own = _fitness(evidence, evidence.row.loss_id)
    known = [row for row in evidence.rows if row.name and row.fitness_mean is not None]
    lines = ["## Baselines", "", "| loss | accuracy | this loss, less the baseline |", "|---|---|---|"]
    for row in known:
        theirs = _fitness(evidence, row.loss_id)
        difference = _with_interval(paired_differences(own, theirs)) if row is not evidence.row else ""
        lines.append(f"| {escaped(row.name or '')} | {_spread_of(list(theirs.values()))} | {difference} |")
    note = "Trained by the same protocol, under the same seeds, at their default hyper-parameters: they were not tuned."
    return "\n".join(lines) + f"\n\n{note}"


def _training(evidence: Evidence) -> str:
    row = evidence.row
    factor = "none" if row.calibration is None else f"{row.calibration:g}"
    return (
        f"## Training\n\n{escaped(row.fidelity)}. The loss was multiplied by {factor}, so that its first gradient is "
        "as large as cross-entropy's."
    )


def _behaviour(loss: Exportable, evidence: Evidence | None) -> str:
    lines = [f"- {each}" for each in _known_failures(loss, evidence)]
    limits = [
        "- Nothing is known of other data, other networks and longer training than what is written above.",
        "- Range checks of class indices work on the CPU alone; on other devices an index out of range is undefined.",
    ]
    return "\n".join(["## Known failures and limits", "", *(lines or ["- No failure was found."]), *limits])


def _known_failures(loss: Exportable, evidence: Evidence | None) -> Iterator[str]:
    if evidence is not None:
        own = [each for each in evidence.evaluations if each.loss_id == evidence.row.loss_id]
        yield from sorted(
            {f"a training failed: {escaped(each.reason or '')}" for each in own if each.status == "failed"}
        )
    module = _module(loss)
    yield from failures(module)
    least = least_at(module)
    if least is not None and least < 0.95:
        yield (
            f"it is least where the target has probability {least:.2f} ({CLASSES} classes, the rest even), not at "
            "certainty: do not read its softmax as confidence"
        )


def _module(loss: Exportable) -> FormulaLoss:
    options = {"class_weights": loss.class_weights} if loss.over_embeddings else {}
    prior = torch.full((CLASSES,), 1.0 / CLASSES)
    return loss_module(
        loss.formula, loss.hyperparameters, num_classes=CLASSES, embedding_size=SIZE, prior=prior, **options
    )


def _provenance(loss: Exportable) -> str:
    facts = [f"- {label}: {escaped(text)}" for label, text in loss.facts]
    return "\n".join(["## Provenance", "", *facts, f"- Written by: {written_by()}", "- License: Apache-2.0"])


def _fitness(evidence: Evidence, loss_id: str | None) -> dict[int, float]:
    return {
        each.seed: each.fitness
        for each in evidence.evaluations
        if each.loss_id == loss_id and each.seed is not None and each.fitness is not None
    }


def _baseline_id(evidence: Evidence) -> str | None:
    return next((row.loss_id for row in evidence.rows if row.name == BASELINE), None)


def escaped(text: str) -> str:
    """Text of a run as code, which Markdown shows as it is and does not obey."""
    code = re.sub("[<>]", "?", plain(text))
    return f"`{code}`" if code.strip() else "(none)"


def _spread_of(values: Sequence[float]) -> str:
    deviation = spread(values)
    return f"{mean(values):.4f}" + ("" if deviation is None else f" ± {deviation:.4f}")


def _with_interval(differences: Sequence[float]) -> str:
    if not differences:
        return "not paired"
    bounds = interval(differences)
    between = "no interval from one seed" if bounds is None else f"95 % interval {bounds[0]:+.4f} to {bounds[1]:+.4f}"
    return f"{mean(differences):+.4f} ({between})"
