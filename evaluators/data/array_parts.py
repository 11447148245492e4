"""Which samples of a file of arrays train, validate and test: by class, by identity, or as the file says.

Half of each class trains, a quarter validates, a quarter tests; images whose pixels have classes are divided likewise,
without regard to these. Rows are drawn by hashes of their numbers, so that rows which are added move few others.
"""

import warnings
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from lossearch.evaluators.data.array_file import ALL, refused, same_samples
from lossearch.evaluators.data.data_home import place
from lossearch.evaluators.data.identities import verification_pairs
from lossearch.evaluators.data.parts import HELD_OUT, PARTS, SHARES, SPLIT_SEED, cut
from lossearch.evaluators.data.splits import Split

#: The samples of each part.
Parts = dict[str, Split]


def with_classes_in_all(path: Path, samples: Parts) -> Parts:
    """The parts of samples that have classes, or whose pixels have. Warns of samples in two parts; raises UserError."""
    _require_classes(path, samples)
    if ALL in samples:
        parts = _drawn(samples[ALL], PARTS, SHARES)
    else:
        drawn = {} if "validation" in samples else _drawn(samples["train"], PARTS[:2], HELD_OUT)
        parts = {part: (samples | drawn)[part] for part in PARTS}
    _require_every_class(path, parts)
    _warn_of_same(path, parts)
    return parts


def with_identities_apart(path: Path, samples: Parts) -> Parts:
    """The parts of samples whose targets are identities: of others in each, and pairs of those that are verified.

    Identities that are trained on are numbered from 0 on. Raises UserError where they cannot be kept apart.
    """
    if any(each.targets.ndim > 1 for each in samples.values()):
        raise refused(path, "an identity for each sample", "targets of pixels")
    if ALL in samples:
        samples = _identities_drawn(samples[ALL])
    elif "validation" not in samples:
        raise refused(path, "validation_inputs and validation_targets with identities of their own", "none")
    wanted = {part: set(samples[part].targets.tolist()) for part in PARTS}
    for one, other in (PARTS[:2], PARTS[1:], PARTS[::2]):
        both = wanted[one] & wanted[other]
        if both:
            raise refused(path, "every identity in one part", f"{min(both)} in {one} and {other}")
    if len(wanted["train"]) < 2:
        raise refused(path, "two identities at least to train on", str(len(wanted["train"])))
    number = {old: new for new, old in enumerate(old for part in PARTS for old in sorted(wanted[part]))}
    parts = {part: replace(samples[part], targets=_renumbered(samples[part].targets, number)) for part in PARTS}
    pairs = {part: verification_pairs(parts[part].targets, SPLIT_SEED, part) for part in PARTS[1:]}
    return {part: replace(each, pairs=pairs.get(part)) for part, each in parts.items()}


def _drawn(whole: Split, names: tuple[str, ...], shares: tuple[float, ...]) -> Parts:
    """Parts of these shares of every class, each with one sample of it at least; of pixels' classes, of all."""
    members: dict[int, list[str]] = {}
    for row, target in enumerate(whole.targets.tolist() if whole.targets.ndim == 1 else [0] * len(whole)):
        members.setdefault(target, []).append(str(row))
    drawn = [cut(each, shares) for each in members.values()]
    rows = [sorted(int(row) for each in drawn for row in each[place]) for place in range(len(names))]
    return {name: whole.part(torch.tensor(each)) for name, each in zip(names, rows, strict=True)}


def _identities_drawn(whole: Split) -> Parts:
    """Half of the identities for training, a quarter for each other part; those with one sample are trained on."""
    known, counts = whole.targets.unique(return_counts=True)
    drawn = cut(map(str, known[counts >= 2].tolist()), SHARES)
    part_of = {int(name): part for part, names in zip(PARTS, drawn, strict=True) for name in names}
    parts = [part_of.get(identity, "train") for identity in whole.targets.tolist()]
    rows = {part: [row for row, its in enumerate(parts) if its == part] for part in PARTS}
    return {part: whole.part(torch.tensor(each, dtype=torch.int64)) for part, each in rows.items()}


def _renumbered(targets: Tensor, number: dict[int, int]) -> Tensor:
    return torch.tensor([number[each] for each in targets.tolist()], dtype=torch.int64)


def _require_classes(path: Path, samples: Parts) -> None:
    """Raise UserError unless there are classes 0, 1, ... with enough samples of each to be divided."""
    classes = _classes(samples)
    if classes < 2:
        raise refused(path, "two classes at least", str(classes))
    part = ALL if ALL in samples else "train"
    targets = samples[part].targets
    counts = torch.bincount(targets[targets >= 0], minlength=classes)
    fewest = len(PARTS) + 1 if part == ALL else 2 if "validation" not in samples else 1
    if targets.ndim > 1:
        fewest = 1
    few = torch.nonzero(counts < fewest).flatten().tolist()
    if few:
        of_what = f"{'samples' if targets.ndim == 1 else 'pixels'}{'' if part == ALL else ' in train'}"
        wanted = f"classes 0 to {classes - 1} with {fewest} {of_what} each at least"
        raise refused(path, wanted, f"{int(counts[few[0]])} of class {few[0]}")


def _require_every_class(path: Path, parts: Parts) -> None:
    """Raise UserError where training lacks a class, or another part one of samples, or all of pixels."""
    classes = set(range(_classes(parts)))
    for part, each in parts.items():
        known = set(each.targets.unique().tolist()) & classes
        absent = classes - known
        if absent and (part == "train" or each.targets.ndim == 1 or not known):
            raise refused(path, f"every class in {part}", f"none of class {min(absent)}")


def _classes(samples: Parts) -> int:
    return 1 + max(int(each.targets.max()) for each in samples.values())


def _warn_of_same(path: Path, parts: Parts) -> None:
    twice = same_samples(parts.values())
    if twice:
        warnings.warn(
            f"Of the samples in {place(path)} {twice} stand in more than one part: what is measured on them is "
            "flattered.",
            UserWarning,
            stacklevel=3,
        )
