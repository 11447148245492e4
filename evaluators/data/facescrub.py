"""FaceScrub to train on, for the verification of people who are in no image of it.

Source: Ng and Winkler, A data-driven approach to cleaning large face datasets, ICIP 2014. People who are in pairs of
Labeled Faces in the Wild are left out, by their names, so that none who is verified was trained on. How many are left
to train is known once the data is there: the task has a class for each who could be, 477, and classes beyond those who
train never occur. Their weights are learned as those of classes with a frequency of 0.
"""

import warnings

from lossearch.evaluators.data.data_home import DataMissing, is_there, place, raw_folder
from lossearch.evaluators.data.identities import same_name, verification_pairs
from lossearch.evaluators.data.image_folder import ImageFolder, prepared_images, warn_of_left_out
from lossearch.evaluators.data.image_listing import Listing, listed
from lossearch.evaluators.data.lfw import lfw_pairs
from lossearch.evaluators.data.parts import HELD_OUT, SPLIT_SEED, cut
from lossearch.evaluators.data.splits import Splits
from lossearch.primitives.errors import UserError

NAME, PAGE = "facescrub_lfw", "https://vintage.winklerbros.net/facescrub.html"


def facescrub(size: int, identities: int) -> Splits:
    """Nine tenths of the identities, at most so many, to train on, and pairs of the others to validate.

    Classes of training are numbered from 0 on. Warns of the identities that are left out; raises UserError.
    """
    found = _images()
    train, validation = (sorted(each) for each in cut(_not_in_pairs(found), HELD_OUT))
    if not 2 <= len(train) <= identities:
        raise UserError(
            f"Expected 2 to {identities} identities to train on in {place(found.folder)}, got {len(train)}. Put one "
            "subfolder for each identity of FaceScrub there, and no other."
        )
    names = [*train, *validation]
    number = {name: new for new, name in enumerate(names)}
    named = [(file, found.classes[old]) for file, old in found.parts["all"]]
    images = [(file, number[name]) for file, name in named if name in number]
    parts = {
        "train": [each for each in images if each[1] < len(train)],
        "validation": [each for each in images if each[1] >= len(train)],
    }
    data = prepared_images(NAME, found.folder, names, parts, ImageFolder(found.folder, size))
    pairs = verification_pairs(data.split("validation").targets, SPLIT_SEED, "validation")
    return Splits(data.split("train"), data.split("validation", pairs))


def _not_in_pairs(found: Listing) -> list[str]:
    """The identities that are in no pair. Warns of those that are."""
    in_pairs = {same_name(name) for pair in lfw_pairs() for name, _ in (pair.first, pair.second)}
    kept = [name for name in found.classes if same_name(name) not in in_pairs]
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
    if not is_there(folder):
        raise DataMissing(
            f"The data of the task {NAME} is not in {place(folder)}. Get FaceScrub from {PAGE} and put one subfolder "
            "of faces for each identity there."
        )
    found = listed(folder, identities=True)
    if found.is_split:
        raise UserError(
            f"Expected one subfolder for each identity of FaceScrub in {place(folder)}, got {', '.join(found.parts)}. "
            "Move the subfolders of all parts up by one: who trains is drawn here."
        )
    warn_of_left_out(found)
    return found
