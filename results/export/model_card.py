"""Model card: what is known of an exported loss and what is not, as one Markdown page.

Invariant: every number on it is read from the run's evaluations or measured while it is written, and text of a run
is escaped.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from lossearch.primitives.language.formula import latex
from lossearch.results.export.behaviour import checks, conditions
from lossearch.results.export.exportable import Exportable
from lossearch.results.export.python_file import written_by
from lossearch.results.findings.explanation import Explanation
from lossearch.results.findings.explanation_text import as_markdown
from lossearch.results.findings.verdict_table import card_section
from lossearch.results.findings.verdicts import Verdict
from lossearch.results.plain_text import plain
from lossearch.results.ranking.row import Row, fitness_by_seed, tasks_of
from lossearch.results.ranking.rows import Rows
from lossearch.results.records import BASELINE, Evaluation
from lossearch.results.statistics.intervals import interval, mean, paired_differences, spread
from lossearch.results.storage.run_files import FreshSeedTest


@dataclass(frozen=True)
class Evidence:
    """What a run says about one of its losses: its row, all rows, all evaluations, its trial if it had one.

    ``samples`` is the size of the validation split, where it is known; ``explanation`` is what ``lossearch explain``
    found, ``verdicts`` what ``lossearch compare`` on the run said of the loss.
    """

    row: Row
    rows: Rows
    evaluations: Sequence[Evaluation]
    trial: FreshSeedTest | None = None
    samples: int | None = None
    explanation: Explanation | None = None
    verdicts: Sequence[Verdict] = ()


def model_card(
    loss: Exportable, file: str, form: str = "py", evidence: Evidence | None = None, rejected: str | None = None
) -> str:
    """The card of a loss that is in a file of this name, in the format py, onnx or pt2.

    Without evidence it says that there are no results. ``rejected`` is why the search's screening would reject the
    loss, None where it passes.
    """
    parts = [_what(loss), usage(loss, file, form)]
    parts += (
        [_no_results()] if evidence is None else [_results(evidence), _baselines(evidence), _training(loss, evidence)]
    )
    if evidence is not None and evidence.verdicts:
        parts.append(card_section(evidence.verdicts))
    if evidence is not None and evidence.explanation is not None:
        parts.append(as_markdown(evidence.explanation))
    parts += [_checked(loss, evidence, rejected), _limits(loss, form), _provenance(loss)]
    return "\n\n".join(parts) + "\n"


def _what(loss: Exportable) -> str:
    over = "embeddings, with class weights of its own" if loss.over_embeddings else "logits"
    title = f"# Loss {escaped(loss.title)}" if loss.title else "# A loss by its formula"
    lines = [title, f"`{loss.formula}`", f"$${latex(loss.formula)}$$", f"A loss over {over}."]
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


def _no_results() -> str:
    return "## Results\n\nNone here: the loss was not evaluated in a run of this project."


def _results(evidence: Evidence) -> str:
    row = evidence.row
    own, theirs = _fitness(evidence, row.loss_id), _fitness(evidence, _baseline_id(evidence))
    ranked = evidence.rows.ranking.ranked
    lines = ["## Results"]
    if row.fitness_mean is None:
        return "\n\n".join([*lines, f"No {row.metric}: {row.status}, {escaped(row.reason or '')}."])
    samples = "" if evidence.samples is None else f" ({evidence.samples} samples)"
    lines.append(
        f"{row.metric[0].upper()}{row.metric[1:]} on the validation split{samples} of the task {escaped(row.task)}: "
        f"{_spread_of(list(own.values()))} "
        f"over {row.seeds} seeds, rank {row.rank} of {ranked} losses."
    )
    differences = paired_differences(own, theirs)
    if row.name != BASELINE and differences:
        lines.append(f"Difference to cross-entropy under the same seeds: {_with_interval(differences)}.")
    lines.append(_flattery(row, ranked + evidence.rows.ranking.counts().get("stopped", 0)))
    if evidence.trial is None:
        lines.append("It was not trained again under fresh seeds.")
    else:
        lines.append(
            f"Under seeds that the search did not use, on the same split: {evidence.trial.sentence(row.metric)}."
        )
    return "\n\n".join(lines)


def _flattery(row: Row, trained: int) -> str:
    if row.name is not None:
        return (
            "It is a known loss that the search began with; to choose it for this score flatters it nevertheless. The "
            "test split was not used."
        )
    return (
        f"The loss was chosen from {trained} by this very score, which flatters it: the best of many equal losses "
        "looks better than it is. The test split was not used."
    )


def _baselines(evidence: Evidence) -> str:
    own = _fitness(evidence, evidence.row.loss_id)
    known = [row for row in evidence.rows.named() if row.name and row.fitness_mean is not None]
    lines = ["## Baselines", "", f"| loss | {evidence.row.metric} | this loss, less the baseline |", "|---|---|---|"]
    for row in known:
        theirs = _fitness(evidence, row.loss_id)
        difference = "this loss" if row is evidence.row else _with_interval(paired_differences(own, theirs))
        lines.append(f"| {escaped(row.name or '')} | {_spread_of(list(theirs.values()))} | {difference} |")
    note = "Trained by the same protocol, under the same seeds, at their default hyper-parameters: they were not tuned."
    return "\n".join(lines) + f"\n\n{note}"


def _training(loss: Exportable, evidence: Evidence) -> str:
    row = evidence.row
    sentences = [
        f"{escaped(row.fidelity)}: network and its width, steps x batch size, learning rate (lr), momentum (m), and "
        "weight decay (wd) where there is any."
    ]
    if row.calibration is not None:
        sentences.append(
            f"The loss was multiplied by {row.calibration:g}, so that its first gradient is as large as "
            "cross-entropy's."
        )
        kept = "is in this file" if loss.calibration is not None else "**is not in this file**"
        sentences.append(f"The factor {kept}.")
    return "## Training\n\n" + " ".join(sentences)


def _checked(loss: Exportable, evidence: Evidence | None, rejected: str | None) -> str:
    screening = "passed" if rejected is None else f"**rejected**: {escaped(rejected)}"
    lines = [f"- the search's screening (finite, not flat, moves predictions to their targets): {screening}"]
    lines += [f"- {what}: {found}" for what, found in checks(loss)]
    if evidence is not None:
        own = [each for each in evidence.evaluations if each.loss_id == evidence.row.loss_id]
        failed = sorted({escaped(each.reason or "") for each in own if each.status == "failed"})
        trainings = len({each.seed for each in own if each.seed is not None})
        lines.append(f"- {trainings} trainings in the run: " + ("; ".join(failed) if failed else "none failed"))
    title = f"## Checks and known failures\n\n{conditions(loss)}\n"
    return "\n".join([title, *lines])


def _limits(loss: Exportable, form: str) -> str:
    lines = ["Nothing is known of other data, other networks and longer training than what is written above."]
    if form == "py":
        lines.append("A class index out of range is refused on the CPU; on other devices it is undefined.")
    else:
        lines.append("The graph does not check class indices: one out of range is undefined.")
    return "\n".join(["## Limits", "", *(f"- {line}" for line in (*lines, *loss.limits))])


def _provenance(loss: Exportable) -> str:
    facts = [f"- {label}: {escaped(text)}" for label, text in loss.facts]
    license_ = "- License: Apache-2.0, for the code; a formula is free"
    return "\n".join(["## Provenance", "", *facts, f"- Written by: {written_by()}", license_])


def _fitness(evidence: Evidence, loss_id: str | None) -> dict[int, float]:
    own = (each for each in evidence.evaluations if each.loss_id == loss_id)
    return fitness_by_seed(own, tasks_of(evidence.evaluations))


def _baseline_id(evidence: Evidence) -> str | None:
    return next((row.loss_id for row in evidence.rows.named() if row.name == BASELINE), None)


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
    return f"{mean(differences):+.4f} ({_interval_of(differences)})"


def _interval_of(differences: Sequence[float]) -> str:
    bounds = interval(differences)
    if bounds is None:
        return "no interval from one seed"
    if bounds[1] - bounds[0] < 1e-12:
        return f"no interval: the {len(differences)} differences are equal, which so few seeds can be by chance"
    return f"95 % interval {bounds[0]:+.4f} to {bounds[1]:+.4f}, {len(differences)} seeds"


# --- Usage: how to call an exported loss, as lines of Python for its model card.


def usage(loss: Exportable, file: str, form: str) -> str:
    """A section with an example for a file of this name, in the format py, onnx or pt2."""
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
        lines = ["import torch", "", where, "", *_construction(loss), f"value = loss({features}, target)"]
    return "\n".join(["## Use", "", "```python", *lines, "```"])


def _construction(loss: Exportable) -> list[str]:
    lines, arguments = [], ["num_classes=100", "embedding_size=512"] if loss.over_embeddings else []
    if "prior" in loss.formula.names:
        lines.append("frequencies = counts / counts.sum()  # of the classes in the training set")
        arguments.append("prior=frequencies")
    lines.append(f"loss = Loss({', '.join(arguments)})")
    if _learns(loss):
        lines.append("optimizer = torch.optim.SGD([*network.parameters(), *loss.parameters()], lr=learning_rate)")
    if "progress" in loss.formula.names or loss.fine_tune_from is not None:
        lines.append("loss.set_progress(step / steps)  # before each step")
    return lines


def _learns(loss: Exportable) -> bool:
    """Whether the module owns parameters that an optimiser moves."""
    fixed = loss.class_weights == "pedcc" and loss.fine_tune_from is None
    return loss.over_embeddings and (not fixed or "dist2" in loss.formula.names)
