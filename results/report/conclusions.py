"""One sentence or two below each figure, computed from what the figure shows."""

import math
from collections import Counter
from collections.abc import Sequence

from lossearch.results.findings.curve_facts import curve_facts
from lossearch.results.findings.curves import CurvePoint
from lossearch.results.findings.observation import Observation
from lossearch.results.ranking.row import Row
from lossearch.results.records import BASELINE
from lossearch.results.report.contents import Generation
from lossearch.results.report.loss_facts import Ancestor
from lossearch.results.report.ranges import Range, late_range, progress_range

#: What became of births, in words.
_OUTCOMES = {
    "evaluated": "trained to the end",
    "stopped": "stopped at a rung",
    "failed": "failed",
    "rejected": "rejected without training",
    "duplicates": "duplicates of an earlier loss",
}


def conclude_front(rows: Sequence[Row], shown: Range | None) -> str:
    """Say which is the smallest loss ahead of cross-entropy, which is the best, and what lies outside of the plot."""
    ranked = [row for row in rows if row.rank is not None]
    best = ranked[0]
    baseline = next((row for row in ranked if row.name == BASELINE), None)
    text = f"The best has {best.complexity} nodes and a search score of {best.fitness_mean or 0.0:.4f}."
    if baseline is not None and baseline.fitness_mean is not None:
        ahead = [row for row in ranked if (row.fitness_mean or 0.0) > baseline.fitness_mean]
        if ahead:
            smallest = min(ahead, key=lambda row: (row.complexity, -(row.fitness_mean or 0.0)))
            text += (
                f" {len(ahead):,} of {len(ranked):,} losses score above cross-entropy ({baseline.fitness_mean:.4f}); "
                f"the smallest of them has {smallest.complexity} nodes and scores {smallest.fitness_mean:.4f}."
            )
        else:
            text += " No loss scores above cross-entropy."
    return text + _below(shown, "losses lie", "loss lies")


def conclude_progress(generations: Sequence[Generation], baseline: float | None) -> str:
    """Say when the best score rose last, and how far."""
    best = [(generation.number, generation.best) for generation in generations if generation.best is not None]
    if not best:
        return "No loss was trained to the end."
    (_, first), (last_number, last) = best[0], best[-1]
    reached = next(number for number, value in best if value == last)
    if reached == best[0][0]:
        text = f"The best score stayed at {last:.4f} from generation {reached} on."
    else:
        verb = "rose" if last > first else "fell"
        text = (
            f"The best score {verb} from {first:.4f} to {last:.4f}, reached in generation {reached} of {last_number}."
        )
    if baseline is not None:
        text += f" Cross-entropy's is {baseline:.4f}."
    medians = [generation.median for generation in generations]
    shown = progress_range([value for _, value in best], medians, baseline)
    return text + _below(shown, "medians lie", "median lies")


def conclude_outcomes(generations: Sequence[Generation]) -> str:
    """Say which shares of all births had which outcome, the largest first."""
    counts = {name: sum(getattr(generation, name) for generation in generations) for name in _OUTCOMES}
    total = sum(counts.values())
    if not total:
        return "No loss was born."
    shares = [
        f"{_share(count, total)} {_OUTCOMES[name]}"
        for name, count in sorted(counts.items(), key=lambda item: -item[1])
        if count
    ]
    return f"Of {total:,} births: {', '.join(shares)}."


def _share(count: int, total: int) -> str:
    return f"{100 * count / total:.0f} %" if 100 * count >= total else "under 1 %"


def conclude_curves(points: Sequence[CurvePoint], name: str) -> dict[str, str]:
    """Return a sentence for each of the four figures of the curves of a loss, by the figure's name."""
    facts = curve_facts(points, name)
    of_slope = [fact for fact in facts if "pull" in fact]
    beside = [fact for fact in of_slope if "beside cross-entropy" in fact]
    of_other = [fact for fact in facts if "one other class takes" in fact]
    of_value = [fact for fact in facts if fact not in of_slope and fact not in of_other]
    return {
        "slope-target": " ".join((beside or of_slope)[:1]),
        "value-target": " ".join(of_value[:2]),
        "value-other": " ".join(of_other[:1]),
        "slope-other": "",
    }


def conclude_course(ours: Observation, baseline: Observation | None) -> dict[str, str]:
    """Return a sentence for each of the figures of a training, by the figure's name."""
    if not ours.course:
        return {}
    first, last = ours.course[0], ours.course[-1]
    courses = [[point.fitness for point in observation.course] for observation in (ours, baseline) if observation]
    fitness, gradient = f"It ends at {last.fitness:.4f}", ""
    if baseline is not None and baseline.course:
        end = baseline.course[-1]
        fitness += f", cross-entropy at {end.fitness:.4f}"
        if end.gradient > 0.0:
            gradient = f"At the end it pulls {last.gradient / end.gradient:.2g} times as hard as cross-entropy."
    below = late_range(courses)
    early = " Early steps lie below the plot." if below is not None and below.below else ""
    return {
        "course-fitness": f"{fitness}; one training proves nothing.{early}",
        "course-loss": f"From {first.loss:.3g} to {last.loss:.3g}. Values of two losses cannot be compared.",
        "course-gradient": gradient,
    }


def conclude_confusion(counts: Sequence[int]) -> str:
    """Say how many samples were predicted wrongly, and which error is most frequent."""
    classes = math.isqrt(len(counts))
    errors = Counter(
        {(place // classes, place % classes): count for place, count in enumerate(counts) if place % (classes + 1)}
    )
    total, wrong = sum(counts), errors.total()
    if not wrong:
        return f"All of {total:,} predictions are right."
    ((true, predicted), most) = errors.most_common(1)[0]
    return f"{wrong:,} of {total:,} predictions are wrong; most often ({most:,}) class {true} is taken for {predicted}."


def conclude_family(ancestors: Sequence[Ancestor]) -> str:
    """Say from which losses a loss descends, and which step gained most."""
    older = ancestors[1:]
    known = sorted({ancestor.row.name for ancestor in older if ancestor.row.name is not None})
    text = f"It has {len(older)} {'ancestor' if len(older) == 1 else 'ancestors'}"
    text += f", among them {', '.join(known[:4])}." if known else ", none of them a known loss."
    gains = [(ancestor.gained, ancestor.row) for ancestor in ancestors if ancestor.gained is not None]
    if gains:
        gained, row = max(gains, key=lambda gain: gain[0])
        if gained > 0.0:
            text += f" The largest step is {gained:+.4f}, by {row.birth} in g{row.generation}."
        else:
            text += " No step gained on its better parent."
    return text


def _below(shown: Range | None, several: str, one: str) -> str:
    """Say how many values lie below a plot; nothing if none does."""
    if shown is None or not shown.below:
        return ""
    count = len(shown.below)
    return f" {count:,} {one if count == 1 else several} below the plot, down to {min(shown.below):.4f}."
