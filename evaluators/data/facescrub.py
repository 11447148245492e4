"""FaceScrub as training data, to verify people who are in none of its images.

Source: Ng and Winkler, A data-driven approach to cleaning large face datasets, ICIP 2014. People in the pairs of
Labeled Faces in the Wild are left out by name, so that nobody who is verified was trained on. The number of identities
that remain is only known once the data is there. The task therefore has the largest possible number of classes, 477.
Classes without an identity never occur. Their weights are learned like those of classes with a frequency of 0.
"""

import warnings

from lossearch.evaluators.data.data_home import DataMissing, is_filled, raw_folder, shown_path
from lossearch.evaluators.data.image_folder import ImageFolder, prepare_images, warn_of_left_out
from lossearch.evaluators.data.image_listing import ImageListing, list_images, plain_name
from lossearch.evaluators.data.image_parts import Parts
from lossearch.evaluators.data.lfw import read_named_pairs
from lossearch.evaluators.data.pairs import draw_verification_pairs
from lossearch.evaluators.data.parts import HELD_OUT, SPLIT_SEED, cut
from lossearch.evaluators.data.splits import Splits
from lossearch.primitives.errors import UserError

NAME, PAGE = "facescrub_lfw", "https://vintage.winklerbros.net/facescrub.html"


def read_facescrub(size: int, max_identities: int) -> Splits:
    """Train on nine tenths of the identities and validate with pairs of the others, ``size`` pixels each way.

    Classes of train are numbered from 0 on. Warns of identities that are left out. Raises UserError if more than
    ``max_identities`` or fewer than two would train.
    """
    listing, names, parts = _divide_identities(max_identities)
    data = prepare_images(NAME, listing.folder, names, parts, ImageFolder(listing.folder, size))
    pairs = draw_verification_pairs(data.split("validation").targets, SPLIT_SEED, "validation")
    return Splits(data.split("train"), data.split("validation", pairs))


def count_images(max_identities: int) -> dict[str, int]:
    """Count the images of each part without decoding them. Raises UserError."""
    return {part: len(images) for part, images in _divide_identities(max_identities)[2].items()}


def _divide_identities(max_identities: int) -> tuple[ImageListing, list[str], Parts]:
    """List the images, name the identities, and give each part its own. Raises UserError."""
    listing = _list_images()
    train, validation = (sorted(names) for names in cut(_list_names_not_in_pairs(listing), HELD_OUT))
    if not 2 <= len(train) <= max_identities:
        raise UserError(
            f"Expected 2 to {max_identities} identities to train on in {shown_path(listing.folder)}, got "
            f"{len(train)}. Put one subfolder for each identity of FaceScrub there, and no other."
        )
    names = [*train, *validation]
    number = {name: new for new, name in enumerate(names)}
    named = [(file, listing.classes[old]) for file, old in listing.parts["all"]]
    images = [(file, number[name]) for file, name in named if name in number]
    parts = {
        "train": [(file, index) for file, index in images if index < len(train)],
        "validation": [(file, index) for file, index in images if index >= len(train)],
    }
    return listing, names, parts


def _list_names_not_in_pairs(listing: ImageListing) -> list[str]:
    """Return the identities that are in no pair. Warns of the others."""
    in_pairs = {plain_name(name) for pair in read_named_pairs() for name, _ in (pair.first, pair.second)}
    kept = [name for name in listing.classes if plain_name(name) not in in_pairs]
    if len(kept) < len(listing.classes):
        warnings.warn(
            "Identities of FaceScrub that are in pairs of Labeled Faces in the Wild are left out: "
            f"{len(listing.classes) - len(kept)} of {len(listing.classes)}.",
            UserWarning,
            stacklevel=3,
        )
    return kept


def _list_images() -> ImageListing:
    folder = raw_folder(NAME)
    if not is_filled(folder):
        raise DataMissing(
            f"The data of the task {NAME} is not in {shown_path(folder)}. Get FaceScrub from {PAGE} and put one "
            "subfolder of faces for each identity there."
        )
    listing = list_images(folder, identities=True)
    if listing.is_split:
        raise UserError(
            f"Expected one subfolder for each identity of FaceScrub in {shown_path(folder)}, got "
            f"{', '.join(listing.parts)}. Move the subfolders of all parts up one level: identities are divided here."
        )
    warn_of_left_out(listing)
    return listing
