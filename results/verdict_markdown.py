"""The verdicts on one loss as a section of its model card."""

from collections.abc import Sequence

from lossearch.results.comparison_markdown import code
from lossearch.results.verdict_table import chosen_from, interval_text, signed
from lossearch.results.verdicts import Verdict


def judged(verdicts: Sequence[Verdict]) -> str:
    """What may be said of the loss, scene by scene. Text of a run stands as code."""
    head = verdicts[0]
    lines = [
        "## Verdict",
        "",
        f"With the numbers that tuning chose, {code(head.formula)}, on the test split under fresh seeds, beside known "
        f"losses that were tuned with the same budget. {chosen_from(head)}",
        "",
        *(f"- {_sentence(each)}" for each in verdicts),
    ]
    return "\n".join(lines)


def _sentence(line: Verdict) -> str:
    """The verdict of one scene."""
    beside = f"{line.seeds} seeds, {line.baselines} known losses"
    said = f"{line.scene}, {code(line.task)}, {code(line.fidelity)}, {beside}: **{line.verdict}**; {code(line.why)}."
    if line.closest is not None and line.difference is not None:
        said += (
            f" To the best known loss there, {code(line.closest)}: {signed(line.difference)}, 95 % interval "
            f"{interval_text(line.low, line.high)}"
        )
        other = interval_text(line.low_on_other_samples, line.high_on_other_samples)
        said += f" over seeds, {other} over seeds and samples." if other else " over seeds."
    if line.random_difference is not None:
        at_random = interval_text(line.random_low, line.random_high)
        said += f" To the best of a random search: {signed(line.random_difference)} ({at_random})."
    return said
