"""Division of a file of arrays into train, validation and test: by class, by identity, or as the file defines.

Half of each class trains, a quarter validates, a quarter tests. Images whose pixels have classes are divided in these
shares too, whatever their classes. Rows are drawn by hashes of their numbers, so that adding rows moves few others.
"""

from dataclasses import replace
from itertools import count
from pathlib import Path

import torch
from torch import Tensor

from lossearch.evaluators.data.array_file import ALL, advise_numbering, file_error, written_label
from lossearch.evaluators.data.pairs import draw_verification_pairs
from lossearch.evaluators.data.parts import HELD_OUT, PARTS, SHARES, SPLIT_SEED, cut
from lossearch.evaluators.data.splits import Split, warn_of_shared

#: The samples of each part.
Parts = dict[str, Split]


def divide_by_class(path: Path, samples: Parts) -> Parts:
    """Divide samples with classes, or with classes of pixels, so that each part has every class.

    Warns of samples that occur in two parts. Raises UserError.
    """
    _require_classes(path, samples)
    if ALL in samples:
        parts = _draw_rows(samples[ALL], PARTS, SHARES)
    else:
        drawn = {} if "validation" in samples else _draw_rows(samples["train"], PARTS[:2], HELD_OUT)
        parts = {part: (samples | drawn)[part] for part in PARTS}
    _require_every_class(path, parts)
    warn_of_shared(path, parts, "Remove the copies, or put all copies of a sample into one part.")
    return parts


def divide_by_identity(path: Path, samples: Parts) -> Parts:
    """Divide samples whose targets are identities, so that each identity is in one part.

    Identities are numbered anew: those of train from 0 on, then those of validation and test. Validation and test get
    pairs to verify. Raises UserError if an identity is in two parts.
    """
    if any(split.targets.ndim > 1 for split in samples.values()):
        raise file_error(path, "one identity per sample", "one target per pixel")
    if ALL in samples:
        samples = _draw_identities(samples[ALL])
    elif "validation" not in samples:
        raise file_error(path, "validation_inputs and validation_targets with identities of their own", "none")
    identities = {part: set(samples[part].targets.tolist()) for part in PARTS}
    for part, other in (PARTS[:2], PARTS[1:], PARTS[::2]):
        both = identities[part] & identities[other]
        if both:
            got = f"identity {written_label(min(both))} in {part} and {other}"
            raise file_error(path, "every identity in one part", got)
    if len(identities["train"]) < 2:
        raise file_error(path, "at least two identities to train on", str(len(identities["train"])))
    number = {old: new for new, old in enumerate(old for part in PARTS for old in sorted(identities[part]))}
    parts = {part: replace(samples[part], targets=_renumber(samples[part].targets, number)) for part in PARTS}
    pairs = {part: draw_verification_pairs(parts[part].targets, SPLIT_SEED, part) for part in PARTS[1:]}
    return {part: replace(split, pairs=pairs.get(part)) for part, split in parts.items()}


def _draw_rows(whole: Split, names: tuple[str, ...], shares: tuple[float, ...]) -> Parts:
    """Draw parts with these shares of every class, at least one sample each. Images with masks count as one class."""
    rows_by_class: dict[int, list[str]] = {}
    for row, target in enumerate(whole.targets.tolist() if whole.targets.ndim == 1 else [0] * len(whole)):
        rows_by_class.setdefault(target, []).append(str(row))
    cuts = [cut(rows, shares) for rows in rows_by_class.values()]
    rows_by_part = [sorted(int(row) for groups in cuts for row in groups[index]) for index in range(len(names))]
    return {name: whole.part(torch.tensor(rows)) for name, rows in zip(names, rows_by_part, strict=True)}


def _draw_identities(whole: Split) -> Parts:
    """Draw half of the identities to train, a quarter for each other part. Identities with one sample train."""
    identities, counts = whole.targets.unique(return_counts=True)
    drawn = cut(map(str, identities[counts >= 2].tolist()), SHARES)
    part_of = {int(name): part for part, names in zip(PARTS, drawn, strict=True) for name in names}
    part_of_row = [part_of.get(identity, "train") for identity in whole.targets.tolist()]
    rows_by_part = {part: [row for row, name in enumerate(part_of_row) if name == part] for part in PARTS}
    return {part: whole.part(torch.tensor(rows, dtype=torch.int64)) for part, rows in rows_by_part.items()}


def _renumber(targets: Tensor, number: dict[int, int]) -> Tensor:
    return torch.tensor([number[old] for old in targets.tolist()], dtype=torch.int64)


def _require_classes(path: Path, samples: Parts) -> None:
    """Raise UserError unless each of the classes 0, 1, ... has enough samples to divide."""
    _require_numbered(path, samples)
    classes = _count_classes(samples)
    if classes < 2:
        raise file_error(path, "at least two classes", str(classes))
    part = ALL if ALL in samples else "train"
    targets = samples[part].targets
    counts = torch.bincount(targets[targets >= 0], minlength=classes)
    fewest = len(PARTS) + 1 if part == ALL else 2 if "validation" not in samples else 1
    if targets.ndim > 1:
        fewest = 1
    rare = torch.nonzero(counts < fewest).flatten().tolist()
    if rare:
        unit = f"{'samples' if targets.ndim == 1 else 'pixels'}{'' if part == ALL else ' in train'}"
        expected = f"at least {fewest} {unit} of each class from 0 to {classes - 1}"
        advice = ""
        if all(bool((split.targets != rare[0]).all()) for split in samples.values()):
            name = "targets" if part == ALL else "train_targets"
            advice = advise_numbering(name) if targets.ndim == 1 else "Pixels without a class have negative targets."
        raise file_error(path, expected, f"{int(counts[rare[0]])} of class {rare[0]}", advice)


def _require_numbered(path: Path, samples: Parts) -> None:
    """Raise UserError if labels cannot be class indices, such as hashes: a network has one output for each."""
    targets = [split.targets for split in samples.values() if split.targets.ndim == 1]
    labels = {written_label(label) for part in targets for label in part.unique().tolist()}
    if labels and max(labels) >= sum(map(len, samples.values())):
        absent = next(number for number in count() if number not in labels)
        got = f"0 of class {absent}, and class {max(labels)}"
        raise file_error(path, "samples of each class, numbered from 0 on", got, advise_numbering("targets"))


def _require_every_class(path: Path, parts: Parts) -> None:
    """Raise UserError if train lacks a class, or another part does.

    Validation and test of images with masks may lack some classes, but not all.
    """
    classes = set(range(_count_classes(parts)))
    for part, split in parts.items():
        present = set(split.targets.unique().tolist()) & classes
        absent = classes - present
        if absent and (part == "train" or split.targets.ndim == 1 or not present):
            raise file_error(path, f"every class in {part}", f"none of class {min(absent)}")


def _count_classes(samples: Parts) -> int:
    return 1 + max(int(split.targets.max()) for split in samples.values())
