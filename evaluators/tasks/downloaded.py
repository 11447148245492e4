"""Tasks on data that is downloaded: nothing of it is read, nor what reads it imported, before a task is loaded.

Test parts are the official ones, where there are any; validation is a tenth of the official training part, drawn by a
seed, where none is official. Without an official part half of each class trains, a quarter validates, a quarter tests;
where names of files tell whom they show, half of the images trains, and nobody is in two parts.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from lossearch.evaluators.data import coco_stuff, facescrub, lfw, torchvision_data
from lossearch.evaluators.data import lfw as lfw_pairs
from lossearch.evaluators.data.data_home import DataMissing, data_home, is_there, place, raw_folder
from lossearch.evaluators.data.image_folder import ImageFolder
from lossearch.evaluators.data.parts import PARTS
from lossearch.evaluators.data.prepared import Prepared
from lossearch.evaluators.data.splits import Split, Splits
from lossearch.evaluators.settings import TrainingSettings
from lossearch.evaluators.tasks.metrics import MEAN_IOU, VERIFICATION
from lossearch.evaluators.tasks.task import Task
from lossearch.primitives.errors import UserError

_IMAGES = TrainingSettings(network="resnet", learning_rate=0.1, steps=400)
_PIXELS = TrainingSettings(network="dense", batch_size=16, hidden=16, learning_rate=0.3, steps=400)
_FACES = 64  # pixels each way


def _task(name: str, what: str, classes: int, shape: tuple[int, ...], data: Callable[[], Prepared]) -> Task:
    """A classification task; ``data`` gives its three parts."""

    @lru_cache(maxsize=1)  # a device keeps the tensors that it has seen
    def parts(home: Path) -> list[Split]:
        found = data()
        return [found.split(part) for part in PARTS]

    return Task(
        name,
        "clean",
        f"{shape[1]}x{shape[2]} {what}",
        classes,
        shape,
        lambda: Splits(*parts(data_home())[:2]),
        lambda: parts(data_home())[2],
        needs_download=True,
        fidelity=_IMAGES,
        data_from=f"lossearch download {name}",
    )


def _published(name: str, what: str, classes: int, channels: int, size: int) -> Task:
    """A task on a data set of torchvision's."""
    shape, page = (channels, size, size), torchvision_data.PUBLISHED[name].page
    task = _task(name, what, classes, shape, lambda: torchvision_data.torchvision_data(name, classes))
    return task if page is None else replace(task, data_from=page)


def _segmentation(task: Task) -> Task:
    return replace(task, family="segmentation", metric=MEAN_IOU, dense=True, ignores_pixels=True, fidelity=_PIXELS)


def _on_page(
    name: str, what: str, classes: int, size: int, page: str, layout: str, channels: int = 3, people: str | None = None
) -> Task:
    """A task on images that are found on a page and put into a folder, one subfolder for each class.

    Where ``people`` is how names of files start that tell whom they show, nobody is in two of the parts that are drawn.
    """

    def data() -> Prepared:
        options = ImageFolder(raw_folder(name), size, grey=channels == 1, people=people)
        if not is_there(options.folder):
            raise DataMissing(
                f"The data of the task {name} is not in {place(options.folder)}. Get it from {page} and put "
                f"{layout} there."
            )
        found = options.training_classes
        if found != classes:
            raise UserError(f"Expected {classes} classes in {place(options.folder)}, got {found}. Put {layout} there.")
        return options.data

    return replace(_task(name, what, classes, (channels, size, size), data), data_from=page)


@lru_cache(maxsize=1)
def _facescrub(home: Path, identities: int) -> Splits:
    return facescrub.facescrub(_FACES, identities)


@lru_cache(maxsize=1)
def _lfw_pairs(home: Path) -> Split:
    return lfw.pairs_split(_FACES)


def _facescrub_lfw(identities: int) -> Task:
    """Trained on nine tenths of 530 identities at most, those left out who are in pairs.

    The head has a class for each of the 477, also where fewer are left to train: those never occur.
    """
    return Task(
        facescrub.NAME,
        "open-set verification",
        f"{_FACES}x{_FACES} faces: FaceScrub to train on, the 6,000 pairs of Labeled Faces in the Wild to verify; "
        f"{identities} classes, of which those never occur whose people are verified",
        identities,
        (3, _FACES, _FACES),
        lambda: _facescrub(data_home(), identities),
        lambda: _lfw_pairs(data_home()),
        metric=VERIFICATION,
        needs_download=True,
        fidelity=_IMAGES,
        data_from=f"{facescrub.PAGE}, and lossearch download {lfw_pairs.NAME}",
    )


TASKS = (
    _published("mnist", "grey images of handwritten digits", 10, 1, 28),
    _published("fashion_mnist", "grey images of clothes", 10, 1, 28),
    _published("emnist_balanced", "grey images of handwritten letters and digits", 47, 1, 28),
    _published("cifar10", "color images of things and animals", 10, 3, 32),
    _published("cifar100", "color images of things, plants and animals", 100, 3, 32),
    _published("svhn", "color images of house numbers' digits", 10, 3, 32),
    _published("pcam", "color images of tissue, with or without a tumor (PatchCamelyon)", 2, 3, 48),
    _published("caltech101", "color images of things (Caltech 101, without background)", 101, 3, 64),
    _published("food101", "color images of dishes; some training labels are wrong", 101, 3, 64),
    _published("fer2013", "grey images of facial expressions", 7, 1, 48),
    _segmentation(_published("voc2012", "color images, each pixel a thing or background (Pascal VOC)", 21, 3, 64)),
    _on_page(
        "malaria",
        "color images of blood cells, with or without parasites",
        2,
        64,
        "https://lhncbc.nlm.nih.gov/LHC-research/LHC-projects/image-processing/malaria-datasheet.html",
        "the folders Parasitized and Uninfected",
        people=r"C\d+(P\d+)?",  # C33P1thinF_IMG_...
    ),
    _on_page(
        "raf_db",
        "color images of facial expressions (RAF-DB, after a signed agreement)",
        7,
        64,
        "http://www.whdeng.cn/RAF/model1.html",
        "train and test, each with a subfolder of aligned faces for each of the seven basic expressions,",
    ),
    _on_page(
        "ck_plus",
        "grey images of facial expressions (Extended Cohn-Kanade, after a signed agreement)",
        7,
        48,
        "https://www.jeffcohn.net/Resources/",
        "a subfolder of faces for each of the seven expressions, under their published names (S010_004_00000017.png),",
        channels=1,
        people=r"S\d+",  # S010_004_00000017
    ),
    _on_page(
        "colorectal_histology",
        "color images of tissue of eight kinds (Kather et al., 2016)",
        8,
        64,
        "https://zenodo.org/records/53169",
        "the eight folders of Kather_texture_2016_image_tiles_5000",
    ),
    _task(
        lfw_pairs.NAME,
        f"color images of people of whom there are {lfw.FEWEST} or more (Labeled Faces in the Wild)",
        62,
        (3, _FACES, _FACES),
        lambda: lfw.lfw_people(_FACES, 62),
    ),
    _facescrub_lfw(477),
    _segmentation(
        replace(
            _task(
                coco_stuff.NAME,
                "color images, each pixel a thing or stuff (COCO-Stuff)",
                182,
                (3, 64, 64),
                lambda: coco_stuff.coco_stuff(64, 182),
            ),
            data_from=coco_stuff.PAGE,
        )
    ),
)


def download_task(name: str) -> str:
    """Fetch the data of a task, and say where it is. Raises UserError, with the page where only a person can get it."""
    known = {task.name: task for task in TASKS}
    if name not in known:
        from lossearch.evaluators.tasks import known_task

        raise UserError(
            f"The task {known_task(name).name} needs no download. Those that do: {', '.join(sorted(known))}."
        )
    source = known[name].data_from
    if source != f"lossearch download {name}":
        raise DataMissing(
            f"The data of the task {name} cannot be fetched by a command. Get it from {source} and put it into "
            f"{place(raw_folder(name))}."
        )
    if name == lfw_pairs.NAME:
        return f"{name} is in {place(lfw.download())}"
    return f"{name} is in {place(torchvision_data.download(name))}"
