"""Curve facts: what the curves of a loss say in words, beside cross-entropy's.

The pull is how hard the loss draws a prediction to its target: minus the derivative in the target's logit, or the
derivative in the cosine to the target's weight with its sign turned.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lossearch.results.findings.curves import DEGREES, PROBABILITIES, CurvePoint
from lossearch.results.records import BASELINE

#: Share of the largest pull below which a pull has vanished, and below which it is called no pull at all.
VANISHED, FLAT = 0.05, 1e-4

#: Share of the range of values within which a value is the least one.
_LEAST = 1e-6


@dataclass(frozen=True)
class Pull:
    """How hard each loss pulls at one place: where, and by the loss's name; None where it is not finite."""

    where: str
    of_loss: dict[str, float | None]


def pulls(points: Sequence[CurvePoint]) -> list[Pull]:
    """The pulls of all losses at a few places of the target's line, late in training where a loss changes."""
    lines = {name: _late(_line(points, name)) for name in dict.fromkeys(each.loss for each in points)}
    by_angle = bool(points) and points[0].axis == "angle"
    places = [(f"{each:g} degrees", math.radians(each)) for each in DEGREES]
    places = places if by_angle else [(f"p = {each:g}", each) for each in PROBABILITIES]
    return [
        Pull(where, {name: _pull(_nearest(line, at)) for name, line in lines.items() if line}) for where, at in places
    ]


def curve_facts(points: Sequence[CurvePoint], loss: str) -> list[str]:
    """Sentences on a loss: where it falls and rises, where its pull vanishes, how it compares with cross-entropy's."""
    found = []
    baseline = _late(_line(points, BASELINE))
    moments = list(dict.fromkeys(each.progress for each in points if each.loss == loss))
    for moment in moments:
        before = "" if moment is None else f"At {moment:.0%} of the training: "
        own = [each for each in _line(points, loss) if each.progress == moment]
        other = [each for each in _line(points, loss, "other") if each.progress == moment]
        facts = [*_facts(_finite(own), baseline if loss != BASELINE else []), *_facts_of_other(_finite(other))]
        found += [before + each[0].lower() + each[1:] if before else each for each in facts]
    return found


def _facts(line: Sequence[CurvePoint], baseline: Sequence[CurvePoint]) -> Iterator[str]:
    """Of the target's line, from the furthest prediction to the nearest."""
    if len(line) < 3:
        yield "The loss is not finite along most of the line."
        return
    strength = [_pull(each) or 0.0 for each in line]
    largest = max(map(abs, strength))
    if largest == 0.0:
        yield "The loss does not look at how probable the target is."
        return
    yield _where_it_falls(line, strength, largest)
    yield _least(line)
    yield _far_from_target(line, strength, largest)
    yield _near_target(line, strength, largest)
    yield from _beside(line, baseline)


def _where_it_falls(line: Sequence[CurvePoint], strength: Sequence[float], largest: float) -> str:
    """Whether it falls all the way to the target, and else where it rises."""
    rising = [each < -FLAT * largest for each in strength]
    if not any(rising):
        return f"It falls all the way as {_toward(line)}."
    return f"As {_toward(line)}, it falls, but rises {_ranges(line, rising)}."


def _least(line: Sequence[CurvePoint]) -> str:
    values = [each.value or 0.0 for each in line]
    least, bound = values.index(min(values)), min(values) + _LEAST * (max(values) - min(values))
    if values[-1] <= bound:
        also = ", and again as far from the target as can be" if values[0] <= bound else ""
        return f"Its least value lies where the prediction is right and certain{also}."
    if values[0] <= bound:
        return "Its least value lies where the prediction is as far from the target as it can be."
    return f"Its least value lies at {_place(line[least])}, and not at the target."


def _far_from_target(line: Sequence[CurvePoint], strength: Sequence[float], largest: float) -> str:
    """Whether samples that look wrongly labelled still count."""
    share = strength[0] / largest
    far = "as the target's probability goes to 0" if line[0].axis == "probability" else "opposite the target's weight"
    if abs(share) < VANISHED:
        half = next(place for place, each in enumerate(strength) if abs(each) >= largest / 2.0)
        return (
            f"Its pull vanishes {far}: samples that contradict the network, as wrongly labelled ones do, count little "
            f"(half of the largest pull is reached at {_place(line[half])})."
        )
    if share < 0.0:
        return f"{far[0].upper()}{far[1:]} it pushes away from the target, at {-share:.0%} of its largest pull."
    how = "count in full" if share > 0.5 else "still count"
    return f"Its pull does not vanish {far}: it is {share:.0%} of the largest, so that wrong labels {how}."


def _near_target(line: Sequence[CurvePoint], strength: Sequence[float], largest: float) -> str:
    """Whether samples that are told rightly still count."""
    share = strength[-1] / largest
    if abs(share) < VANISHED:
        return "Its pull vanishes at the target: what is right and certain is left alone."
    if share < 0.0:
        return f"At the target it pushes away, at {-share:.0%} of its largest pull: it does not want certainty."
    return f"Its pull does not vanish at the target: it is {share:.0%} of the largest, however certain the prediction."


def _beside(line: Sequence[CurvePoint], baseline: Sequence[CurvePoint]) -> Iterator[str]:
    """Its pull over cross-entropy's, far from the target, halfway, and near it."""
    places = PROBABILITIES if line[0].axis == "probability" else [math.radians(each) for each in DEGREES]
    if not baseline:
        return
    words = []
    for at in places[::2]:
        point = _nearest(line, at)
        own, theirs = _pull(point), _pull(_nearest(baseline, at))
        if own is not None and theirs:
            words.append(f"{_rounded(own / theirs)} times as hard at {_place(point)}")
    if words:
        away = "; below zero it pushes away" if any(each.startswith("-") for each in words) else ""
        yield f"With its factor, and beside cross-entropy, it pulls {', '.join(words)}{away}."


def _rounded(ratio: float) -> str:
    if abs(ratio) >= 10.0:
        return f"{ratio:.0f}"
    return f"{ratio:.2g}" if abs(ratio) >= 1e-3 else "0.000"


def _facts_of_other(line: Sequence[CurvePoint]) -> Iterator[str]:
    """Where the loss falls as one other class takes over."""
    if len(line) < 3:
        return
    toward_other = line if line[0].axis == "probability" else line[::-1]
    slopes = [(each.slope or 0.0) * (1.0 if each.axis == "probability" else -1.0) for each in toward_other]
    pace = [_pace(each) * slope for each, slope in zip(toward_other, slopes, strict=True)]
    largest = max(map(abs, pace))
    falling = [each < -FLAT * largest for each in pace]
    what = "one other class takes the target's place"
    if largest == 0.0:
        return
    yield (
        f"As {what}, it falls {_ranges(toward_other, falling)}, to its profit."
        if any(falling)
        else f"As {what}, it rises all the way."
    )


def _pace(point: CurvePoint) -> float:
    """What a step along the line is worth in log-odds or in the angle, so that the ends are not all that counts."""
    return point.at * (1.0 - point.at) if point.axis == "probability" else 1.0


def _pull(point: CurvePoint) -> float | None:
    """How hard the loss pulls there."""
    if point.axis == "probability":
        return None if point.slope_in_logit is None else -point.slope_in_logit
    return None if point.slope is None else point.slope / math.sin(point.at)


def _line(points: Sequence[CurvePoint], loss: str, line: str = "target") -> list[CurvePoint]:
    """A line of a loss, from the furthest prediction from the class that varies to the nearest."""
    own = [each for each in points if each.loss == loss and each.line == line]
    return sorted(own, key=lambda each: each.at if each.axis == "probability" else -each.at)


def _late(line: Sequence[CurvePoint]) -> list[CurvePoint]:
    """The line at the last moment that it is drawn at."""
    last = max((each.progress for each in line if each.progress is not None), default=None)
    return [each for each in line if each.progress == last]


def _finite(line: Sequence[CurvePoint]) -> list[CurvePoint]:
    return [each for each in line if None not in (each.value, each.slope)]


def _nearest(line: Sequence[CurvePoint], at: float) -> CurvePoint:
    """The point next to a probability, by its log-odds, or to an angle."""
    if line[0].axis == "angle":
        return min(line, key=lambda each: abs(each.at - at))
    return min(line, key=lambda each: abs(math.log(each.at / (1.0 - each.at)) - math.log(at / (1.0 - at))))


def _toward(line: Sequence[CurvePoint]) -> str:
    if line[0].axis == "probability":
        return "the target's probability rises"
    return "the embedding turns to the target's weight"


def _ranges(line: Sequence[CurvePoint], which: Sequence[bool]) -> str:
    """Where along the line something is so, as ranges."""
    found: list[tuple[CurvePoint, CurvePoint]] = []
    for point, before, so in zip(line, (False, *which), which, strict=False):
        if so and not before:
            found.append((point, point))
        elif so:
            found[-1] = found[-1][0], point
    return " and ".join(f"between {_place(first)} and {_place(last)}" for first, last in found)


def _place(point: CurvePoint) -> str:
    if point.axis == "angle":
        return f"{math.degrees(point.at):.0f} degrees"
    rest = 1.0 - point.at
    return f"p = {point.at:.2g}" if rest > 0.1 else f"p = 1 - {rest:.1g}"
