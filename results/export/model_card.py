"""Model card of an exported loss: one Markdown page with the known facts about the loss, and the missing ones.

Invariant: every number is read from the run's evaluations or measured while the card is written, and text of a run is
shown as code.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lossearch.primitives.language.formula import latex
from lossearch.results.export.behaviour import checks, conditions
from lossearch.results.export.exportable import Exportable
from lossearch.results.export.python_file import written_by
from lossearch.results.export.usage import EMBEDDING_USE, OWNS_LAST_LAYER
from lossearch.results.findings.explanation import Explanation
from lossearch.results.findings.explanation_text import as_markdown
from lossearch.results.findings.tuned_forms import TunedForm, training_text
from lossearch.results.findings.verdict_table import card_section
from lossearch.results.findings.verdicts import Verdict
from lossearch.results.plain_text import plain
from lossearch.results.ranking.row import Row
from lossearch.results.ranking.rows import Rows
from lossearch.results.records import BASELINE, Evaluation
from lossearch.results.statistics.intervals import (
    FEWEST_FOR_INTERVAL,
    contains_zero,
    interval,
    interval_text,
    lacks_interval,
    mean,
    paired_differences,
    spread,
)
from lossearch.results.storage.fresh_seed_test import FreshSeedTest


@dataclass(frozen=True)
class Evidence:
    """Everything that a run recorded about one of its losses."""

    row: Row  #: of the loss
    rows: Rows  #: of the whole leaderboard
    evaluations: Sequence[Evaluation]  #: of the whole run
    trial: FreshSeedTest | None = None  #: its test under fresh seeds
    samples: int | None = None  #: size of the validation split, where it is known
    explanation: Explanation | None = None  #: written by ``lossearch explain``
    verdicts: Sequence[Verdict] = ()  #: written by ``lossearch compare`` on the run
    form: TunedForm | None = None  #: tuned form of the loss, if the file has its numbers


def model_card(
    loss: Exportable, file: str, form: str = "py", evidence: Evidence | None = None, rejected: str | None = None
) -> str:
    """Return the card of a loss that is in a file of this name, in the format py, onnx or pt2.

    Without evidence the card says that there are no results. ``rejected`` is the reason why the screening of a search
    would reject the loss; None if it passes.
    """
    parts = [_title_section(loss), _usage_section(loss, file, form)]
    if evidence is None:
        parts.append("## Results\n\nNone here: no run of lossearch evaluated the loss.")
    else:
        if evidence.verdicts:
            parts.append(_verdict_section(evidence))
        parts += [_results_section(evidence), _baselines_section(evidence), _training_section(loss, evidence)]
        if evidence.explanation is not None:
            parts.append(as_markdown(evidence.explanation))
    parts += [_checks_section(loss, evidence, rejected), _limits_section(loss, form), _provenance_section(loss)]
    return "\n\n".join(parts) + "\n"


def _verdict_section(evidence: Evidence) -> str:
    """Return the verdicts, and say so if they are on other numbers than those of the file."""
    section = card_section(evidence.verdicts)
    if evidence.form is not None:
        return section
    note = "**This file has other numbers: those that the search found.** `--tuned` exports the judged ones."
    return f"{section}\n\n{note}"


def escaped(text: str) -> str:
    """Return text of a run as code, which Markdown shows as it is."""
    code = re.sub("[<>]", "?", plain(text))
    return f"`{code}`" if code.strip() else "(none)"


def _title_section(loss: Exportable) -> str:
    inputs = f"embeddings: it {OWNS_LAST_LAYER}" if loss.over_embeddings else "logits"
    title = f"# Loss {escaped(loss.title)}" if loss.title else "# A loss by its formula"
    lines = [title, f"`{loss.formula}`", f"$${latex(loss.formula)}$$", f"A loss over {inputs}."]
    if loss.hyperparameters:
        values = [f"| `{name}` | {value:g} | {_range(loss, name)} |" for name, value in loss.hyperparameters.items()]
        lines.append("\n".join(["| hyper-parameter | default | range |", "|---|---|---|", *values]))
    options = {name: getattr(loss, name) for name in ("class_weights", "reduction", "label_smoothing", "scale")}
    usual = {"class_weights": "learned", "reduction": "mean", "label_smoothing": 0.0, "scale": 1.0}
    unusual = [f"{name} = {value}" for name, value in options.items() if value != usual[name]]
    if unusual:
        lines.append(f"Options: {', '.join(unusual)}.")
    return "\n\n".join(lines)


def _range(loss: Exportable, name: str) -> str:
    if name not in loss.ranges:
        return "any"
    low, high, whole = loss.ranges[name]
    return f"{low:g} to {high:g}{', whole' if whole else ''}"


def _usage_section(loss: Exportable, file: str, form: str) -> str:
    """Return an example in Python for a file of this name, in the format py, onnx or pt2."""
    features = "embeddings" if loss.over_embeddings else "logits"
    name = json.dumps(plain(file))
    if form == "onnx":
        lines = [
            "import onnxruntime",
            "",
            f"session = onnxruntime.InferenceSession({name})",
            f'(value,) = session.run(None, {{"{features}": {features}, "target": target}})  # float32, int64 indices',
        ]
    elif form == "pt2":
        lines = [
            "import torch",
            "",
            f"loss = torch.export.load({name}).module()",
            f"value = loss({features}, target)  # float32, int64 indices",
        ]
    else:
        module = file.removesuffix(".py")
        where = f"from {module} import Loss" if module.isidentifier() else f"# Loss is the class in {name}"
        lines = ["import torch", "", where, "", *construction_lines(loss)]
        if loss.over_embeddings:
            lines += EMBEDDING_USE[1:]
        else:
            lines.append("value = loss(logits, target)")
    return "\n".join(["## Use", "", "```python", *lines, "```"])


def construction_lines(loss: Exportable) -> list[str]:
    """Return the lines of Python that build an exported loss, its optimiser if it owns parameters, and set progress."""
    rate = "learning_rate" if loss.learning_rate is None else f"{loss.learning_rate:g}"
    lines, arguments = [], ["num_classes=100", "embedding_size=512"] if loss.over_embeddings else []
    if "prior" in loss.formula.names:
        lines.append("frequencies = counts / counts.sum()  # of the classes in the training set")
        arguments.append("prior=frequencies")
    lines.append(f"loss = Loss({', '.join(arguments)})")
    if _has_parameters(loss):
        lines.append(f"optimizer = torch.optim.SGD([*network.parameters(), *loss.parameters()], lr={rate})")
    if "progress" in loss.formula.names or loss.fine_tune_from is not None:
        lines.append("loss.set_progress(step / steps)  # before each step")
    return lines


def _has_parameters(loss: Exportable) -> bool:
    """Return True if the module owns parameters that an optimiser trains."""
    is_fixed = loss.class_weights == "pedcc" and loss.fine_tune_from is None
    return loss.over_embeddings and ((loss.moves_with_weight and not is_fixed) or loss.moves_with_centers)


def _results_section(evidence: Evidence) -> str:
    row = evidence.row
    fitness, baseline_fitness = _fitness(evidence, row.loss_id), _fitness(evidence, _baseline_id(evidence))
    ranked = evidence.rows.ranking.num_ranked
    lines = ["## Results"]
    if evidence.form is not None:
        lines.append("Those of the search, **before tuning**: with the first numbers and the first learning rate.")
    if row.fitness_mean is None:
        return "\n\n".join([*lines, f"No {row.metric}: {row.status}, {escaped(row.reason or '')}."])
    samples = "" if evidence.samples is None else f" ({evidence.samples} samples)"
    if evidence.trial is None:
        lines.append("It was not trained again under fresh seeds.")
    else:
        lines.append(
            f"Under seeds that the search did not use, on the same split: {evidence.trial.sentence(row.metric)}."
        )
    lines.append(
        f"In the search: {row.metric} on the validation split{samples} of the task {escaped(row.task)} "
        f"{_mean_text(list(fitness.values()))} over {row.seeds} seeds, rank {row.rank} of {ranked} losses."
    )
    differences = paired_differences(fitness, baseline_fitness)
    if row.name != BASELINE and differences:
        lines.append(f"Difference to cross-entropy under the same seeds: {_difference_text(differences)}.")
    lines.append(_selection_note(row, evidence.rows.ranking.candidate_counts().trained))
    return "\n\n".join(lines)


def _selection_note(row: Row, trained: int) -> str:
    if row.name is not None:
        return (
            "It is a known loss that the search began with. Choosing it for this score flatters it all the same. The "
            "test split was not used."
        )
    return (
        f"The loss was chosen from {trained:,} by this very score, which flatters it: the best of many equal losses "
        "looks better than it is. The test split was not used."
    )


def _baselines_section(evidence: Evidence) -> str:
    fitness = _fitness(evidence, evidence.row.loss_id)
    known = [row for row in evidence.rows.named() if row.name and row.fitness_mean is not None]
    lines = ["## Baselines", "", f"| loss | {evidence.row.metric} | this loss minus the baseline |", "|---|---|---|"]
    for row in known:
        baseline_fitness = _fitness(evidence, row.loss_id)
        difference = "this loss"
        if row is not evidence.row:
            difference = _difference_text(paired_differences(fitness, baseline_fitness))
        lines.append(f"| {escaped(row.name or '')} | {_mean_text(list(baseline_fitness.values()))} | {difference} |")
    note = "All were trained by the same protocol, under the same seeds, at their default hyper-parameters, not tuned."
    return "\n".join(lines) + f"\n\n{note}"


def _training_section(loss: Exportable, evidence: Evidence) -> str:
    row = evidence.row
    sentences = [
        f"{escaped(row.fidelity)}: network and its width, steps x batch size, learning rate (lr), momentum (m), and "
        "weight decay (wd) if there is any."
    ]
    if evidence.form is not None:
        sentences = [f"With the numbers of this file: {escaped(training_text(evidence.form))}."]
    return "## Training\n\n" + " ".join([*sentences, *_rate_sentences(loss, evidence)])


def _rate_sentences(loss: Exportable, evidence: Evidence) -> Iterator[str]:
    """Say which factor the loss had, if the file applies it, and which learning rate to start from."""
    row, form = evidence.row, evidence.form
    factor = row.calibration if form is None else form.calibration
    rate = None if form is None else form.learning_rate
    start = "the rate above" if rate is None else f"the learning rate {rate:g}"
    if factor is None:
        if form is not None:
            yield "The run holds no measurement of the factor that it multiplied the loss by. This file applies none."
        return
    yield f"The loss was multiplied by {factor:g}, so that its first gradient is as large as cross-entropy's."
    if loss.calibration is not None:
        yield f"The factor is in this file. In this network, start from {start}, as it is."
    else:
        yield f"The factor **is not in this file**. In this network, start SGD from {start} times {factor:g}."
    yield (
        "In another network, look for the learning rate anew: the factor does not make the loss train at the rate that "
        "suits cross-entropy there."
    )


def _checks_section(loss: Exportable, evidence: Evidence | None, rejected: str | None) -> str:
    screening = "passed" if rejected is None else f"**rejected**: {escaped(rejected)}"
    lines = [f"- the search's screening (finite, not flat, moves predictions to their targets): {screening}"]
    lines += [f"- {check}: {result}" for check, result in checks(loss)]
    if evidence is not None:
        evaluations = [evaluation for evaluation in evidence.evaluations if evaluation.loss_id == evidence.row.loss_id]
        reasons = sorted({escaped(failed.reason or "") for failed in evaluations if failed.status == "failed"})
        num_trainings = len({evaluation.seed for evaluation in evaluations if evaluation.seed is not None})
        lines.append(f"- {num_trainings} trainings in the run: " + ("; ".join(reasons) if reasons else "none failed"))
    title = f"## Checks and known failures\n\n{conditions(loss)}\n"
    return "\n".join([title, *lines])


def _limits_section(loss: Exportable, form: str) -> str:
    lines = ["Nothing is known about data, networks and training lengths other than those above."]
    if form == "py":
        lines.append("On the CPU a class index out of range is an error. On other devices the result is undefined.")
    else:
        lines.append("The graph does not check class indices: the result for one out of range is undefined.")
    return "\n".join(["## Limits", "", *(f"- {line}" for line in (*lines, *loss.limits))])


def _provenance_section(loss: Exportable) -> str:
    facts = [f"- {label}: {escaped(text)}" for label, text in loss.facts]
    license_ = "- License: Apache-2.0, for the code; a formula is free"
    return "\n".join(["## Provenance", "", *facts, f"- Written by: {written_by()}", license_])


def _fitness(evidence: Evidence, loss_id: str | None) -> dict[int, float]:
    return evidence.rows.ranking.fitness_by_seed(loss_id)


def _baseline_id(evidence: Evidence) -> str | None:
    return next((row.loss_id for row in evidence.rows.named() if row.name == BASELINE), None)


def _mean_text(values: Sequence[float]) -> str:
    """Return the mean with its standard deviation, or for two values with both of them."""
    deviation, center = spread(values), f"{mean(values):.4f}"
    if deviation is None:
        return center
    if len(values) < FEWEST_FOR_INTERVAL:
        return f"{center} ({' and '.join(f'{value:.4f}' for value in values)})"
    return f"{center} ± {deviation:.4f}"


def _difference_text(differences: Sequence[float]) -> str:
    if not differences:
        return "not paired"
    return f"{mean(differences):+.4f} ({_interval_text(differences)})"


def _interval_text(differences: Sequence[float]) -> str:
    count, bounds = len(differences), interval(differences)
    if bounds is None:
        if count > 1 and max(differences) - min(differences) < 1e-12:
            return f"no interval: the {count} differences are equal, possibly by chance with so few seeds"
        return lacks_interval(count)
    doubt = "; no difference is shown" if contains_zero(*bounds) else ""
    return f"95 % interval {interval_text(*bounds)}, {count} seeds{doubt}"
