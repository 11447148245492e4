"""FaceScrub to train on, for the verification of people who are in no image of it.

Source: Ng and Winkler, A data-driven approach to cleaning large face datasets, ICIP 2014. People who are in pairs of
Labeled Faces in the Wild are left out, by their names, so that none who is verified was trained on.
"""

import warnings

from evaluators.data.data_home import DataMissing, place, raw_folder
from evaluators.data.identities import divided, same_name, verification_pairs
from evaluators.data.image_folder import ImageFolder, prepared_images
from evaluators.data.image_listing import Listing, listed
from evaluators.data.image_parts import HELD_OUT, SPLIT_SEED
from evaluators.data.lfw import lfw_pairs
from evaluators.splits import Splits
from primitives.errors import UserError

NAME, PAGE = "facescrub_lfw", "https://vintage.winklerbros.net/facescrub.html"


def facescrub(size: int, identities: int) -> Splits:
    """Nine tenths of the identities, at most so many, to train on, and pairs of the others to validate.

    Classes of training are numbered from 0 on. Warns of the identities that are left out; raises UserError.
    """
    found = _images()
    train, validation = divided(_not_in_pairs(found), HELD_OUT, SPLIT_SEED)
    if not 2 <= len(train) <= identities:
        raise UserError(
            f"Expected 2 to {identities} identities to train on in {place(found.folder)}, got {len(train)}. Put one "
            "subfolder for each identity of FaceScrub there, and no other."
        )
    number = {old: new for new, old in enumerate((*train, *validation))}
    images = [(file, number[old]) for file, old in found.parts["all"] if old in number]
    parts = {
        "train": [each for each in images if each[1] < len(train)],
        "validation": [each for each in images if each[1] >= len(train)],
    }
    names = [found.classes[old] for old in number]
    data = prepared_images(NAME, found.folder, names, parts, ImageFolder(found.folder, size))
    held_out = data.split("validation")
    pairs = verification_pairs(held_out.targets, SPLIT_SEED, "validation")
    return Splits(data.split("train"), data.split("validation", pairs))


def _not_in_pairs(found: Listing) -> list[int]:
    """The identities that are in no pair. Warns of those that are."""
    in_pairs = {same_name(name) for pair in lfw_pairs() for name, _ in (pair.first, pair.second)}
    kept = [index for index, name in enumerate(found.classes) if same_name(name) not in in_pairs]
    if len(kept) < len(found.classes):
        warnings.warn(
            "Identities of FaceScrub that are in pairs of Labeled Faces in the Wild are left out: "
            f"{len(found.classes) - len(kept)} of {len(found.classes)}.",
            UserWarning,
            stacklevel=3,
        )
    return kept


def _images() -> Listing:
    folder = raw_folder(NAME)
    if not folder.is_dir():
        raise DataMissing(
            f"The data of the task {NAME} is not in {place(folder)}. Get FaceScrub from {PAGE} and put one subfolder "
            "of faces for each identity there."
        )
    return listed(folder)
