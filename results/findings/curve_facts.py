"""Sentences about the curves of a loss, with cross-entropy's curves for comparison.

The pull is the force of the loss on a prediction towards its target: minus the derivative in the target's logit or,
over embeddings, minus the derivative in the cosine to the target's weight.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lossearch.results.findings.curves import DEGREES, PROBABILITIES, CurvePoint
from lossearch.results.records import BASELINE

#: Shares of the largest pull: below the first a pull has vanished, below the second it counts as none.
VANISHED, FLAT = 0.05, 1e-4

#: Share of the range of values within which a value counts as the least one.
_LEAST = 1e-6


@dataclass(frozen=True)
class Pull:
    """The pull of every loss at one point of the target's line."""

    where: str
    of_loss: dict[str, float | None]  #: by the loss's name; None where the pull is not finite


def pulls(points: Sequence[CurvePoint]) -> list[Pull]:
    """Compute the pulls of all losses at a few points of the target's line, at the last moment that is drawn."""
    lines = {name: _last_moment(_line(points, name)) for name in dict.fromkeys(point.loss for point in points)}
    by_angle = bool(points) and points[0].axis == "angle"
    places = [(f"p = {probability:g}", probability) for probability in PROBABILITIES]
    if by_angle:
        places = [(f"{degrees:g} degrees", math.radians(degrees)) for degrees in DEGREES]
    return [
        Pull(where, {name: _pull(_nearest(line, at)) for name, line in lines.items() if line}) for where, at in places
    ]


def curve_facts(points: Sequence[CurvePoint], loss: str) -> list[str]:
    """Say where a loss falls and rises, where its pull vanishes, and how its pull compares with cross-entropy's."""
    sentences = []
    baseline = _last_moment(_line(points, BASELINE)) if loss != BASELINE else []
    for moment in dict.fromkeys(point.progress for point in points if point.loss == loss):
        prefix = "" if moment is None else f"At {moment:.0%} of the training: "
        target_line = [point for point in _line(points, loss) if point.progress == moment]
        other_line = [point for point in _line(points, loss, "other") if point.progress == moment]
        facts = [*_target_facts(_finite(target_line), baseline), *_other_facts(_finite(other_line))]
        sentences += [prefix + fact[0].lower() + fact[1:] if prefix else fact for fact in facts]
    return sentences


def _target_facts(line: Sequence[CurvePoint], baseline: Sequence[CurvePoint]) -> Iterator[str]:
    """Describe the target's line, from the prediction furthest from the target to the nearest."""
    if len(line) < 3:
        yield "The loss is not finite along most of the line."
        return
    strengths = [_pull(point) or 0.0 for point in line]
    largest = max(map(abs, strengths))
    if largest == 0.0:
        yield "The loss does not look at how probable the target is."
        return
    yield _where_it_falls(line, strengths, largest)
    yield _where_it_is_least(line)
    yield _far_from_target(line, strengths, largest)
    yield _near_target(strengths, largest)
    yield from _beside_cross_entropy(line, baseline)


def _where_it_falls(line: Sequence[CurvePoint], strengths: Sequence[float], largest: float) -> str:
    rising = [strength < -FLAT * largest for strength in strengths]
    if not any(rising):
        return f"It falls all the way as {_toward_target(line)}."
    return f"As {_toward_target(line)}, it falls, but rises {_ranges(line, rising)}."


def _where_it_is_least(line: Sequence[CurvePoint]) -> str:
    values = [point.value or 0.0 for point in line]
    least, bound = values.index(min(values)), min(values) + _LEAST * (max(values) - min(values))
    if values[-1] <= bound:
        also = ", and again as far from the target as possible" if values[0] <= bound else ""
        return f"Its least value lies where the prediction is right and certain{also}."
    if values[0] <= bound:
        return "Its least value lies where the prediction is as far from the target as it can be."
    return f"Its least value lies at {_place(line[least])}, and not at the target."


def _far_from_target(line: Sequence[CurvePoint], strengths: Sequence[float], largest: float) -> str:
    """Say if samples that look wrongly labelled still count."""
    share = strengths[0] / largest
    far = "as the target's probability goes to 0" if line[0].axis == "probability" else "opposite the target's weight"
    if abs(share) < VANISHED:
        half = next(place for place, strength in enumerate(strengths) if abs(strength) >= largest / 2.0)
        return (
            f"Its pull vanishes {far}: samples that contradict the network, such as wrongly labelled ones, count "
            f"little. Half of the largest pull is reached at {_place(line[half])}."
        )
    if share < 0.0:
        return f"{far[0].upper()}{far[1:]} it pushes away from the target, at {-share:.0%} of its largest pull."
    how = "count in full" if share > 0.5 else "still count"
    return f"Its pull does not vanish {far}: it is {share:.0%} of the largest, so wrong labels {how}."


def _near_target(strengths: Sequence[float], largest: float) -> str:
    """Say if samples that are right and certain still count."""
    share = strengths[-1] / largest
    if abs(share) < VANISHED:
        return "Its pull vanishes at the target: samples that are right and certain are left alone."
    if share < 0.0:
        return f"At the target it pushes away, at {-share:.0%} of its largest pull: it does not want certainty."
    return f"Its pull does not vanish at the target: it is {share:.0%} of the largest, however certain the prediction."


def _beside_cross_entropy(line: Sequence[CurvePoint], baseline: Sequence[CurvePoint]) -> Iterator[str]:
    """Divide its pull by cross-entropy's: far from the target, halfway, and near the target."""
    if not baseline:
        return
    places = PROBABILITIES if line[0].axis == "probability" else [math.radians(degrees) for degrees in DEGREES]
    ratios = []
    for at in places[::2]:
        point = _nearest(line, at)
        pull, baseline_pull = _pull(point), _pull(_nearest(baseline, at))
        if pull is not None and baseline_pull:
            ratios.append(f"{_rounded(pull / baseline_pull)} times as hard at {_place(point)}")
    if ratios:
        away = "; below zero it pushes away" if any(ratio.startswith("-") for ratio in ratios) else ""
        yield f"With its factor, and beside cross-entropy, it pulls {', '.join(ratios)}{away}."


def _rounded(ratio: float) -> str:
    if abs(ratio) >= 10.0:
        return f"{ratio:.0f}"
    return f"{ratio:.2g}" if abs(ratio) >= 1e-3 else "0.000"


def _other_facts(line: Sequence[CurvePoint]) -> Iterator[str]:
    """Say where the loss falls as one other class takes over."""
    if len(line) < 3:
        return
    toward_other = line if line[0].axis == "probability" else line[::-1]
    slopes = [(point.slope or 0.0) * (1.0 if point.axis == "probability" else -1.0) for point in toward_other]
    paces = [_step_size(point) * slope for point, slope in zip(toward_other, slopes, strict=True)]
    largest = max(map(abs, paces))
    if largest == 0.0:
        return
    falling = [pace < -FLAT * largest for pace in paces]
    change = "one other class takes the target's place"
    if any(falling):
        yield f"As {change}, it falls {_ranges(toward_other, falling)}: there it rewards the wrong class."
    else:
        yield f"As {change}, it rises all the way."


def _step_size(point: CurvePoint) -> float:
    """Return the step along the line per step in log-odds or angle. In log-odds the ends do not outweigh the rest."""
    return point.at * (1.0 - point.at) if point.axis == "probability" else 1.0


def _pull(point: CurvePoint) -> float | None:
    """Return how hard the loss pulls at a point."""
    if point.axis == "probability":
        return None if point.slope_in_logit is None else -point.slope_in_logit
    return None if point.slope is None else point.slope / math.sin(point.at)


def _line(points: Sequence[CurvePoint], loss: str, line: str = "target") -> list[CurvePoint]:
    """Return a line of a loss. It begins furthest from the class that varies."""
    chosen = [point for point in points if point.loss == loss and point.line == line]
    return sorted(chosen, key=lambda point: point.at if point.axis == "probability" else -point.at)


def _last_moment(line: Sequence[CurvePoint]) -> list[CurvePoint]:
    """Return the points at the last progress that the line is drawn at."""
    last = max((point.progress for point in line if point.progress is not None), default=None)
    return [point for point in line if point.progress == last]


def _finite(line: Sequence[CurvePoint]) -> list[CurvePoint]:
    return [point for point in line if None not in (point.value, point.slope)]


def _nearest(line: Sequence[CurvePoint], at: float) -> CurvePoint:
    """Return the point nearest to an angle, or to a probability by its log-odds."""
    if line[0].axis == "angle":
        return min(line, key=lambda point: abs(point.at - at))
    return min(line, key=lambda point: abs(math.log(point.at / (1.0 - point.at)) - math.log(at / (1.0 - at))))


def _toward_target(line: Sequence[CurvePoint]) -> str:
    if line[0].axis == "probability":
        return "the target's probability rises"
    return "the embedding turns to the target's weight"


def _ranges(line: Sequence[CurvePoint], holds: Sequence[bool]) -> str:
    """Describe the ranges of the line in which ``holds`` is True."""
    ranges: list[tuple[CurvePoint, CurvePoint]] = []
    for point, held_before, holds_here in zip(line, (False, *holds), holds, strict=False):
        if holds_here and not held_before:
            ranges.append((point, point))
        elif holds_here:
            ranges[-1] = ranges[-1][0], point
    return " and ".join(f"between {_place(first)} and {_place(last)}" for first, last in ranges)


def _place(point: CurvePoint) -> str:
    if point.axis == "angle":
        return f"{math.degrees(point.at):.0f} degrees"
    rest = 1.0 - point.at
    return f"p = {point.at:.2g}" if rest > 0.1 else f"p = 1 - {rest:.1g}"
