"""Tasks on downloaded data. The data is read, and libraries that read it are imported, when a task is loaded.

Official test and validation parts are used if there are any. Otherwise validation is a tenth of the official training
part, drawn with a fixed seed. Data without official parts is divided: half of each class trains, a quarter validates, a
quarter tests. If file names name the person shown, half of the images trains, and nobody is in two parts.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from lossearch.evaluators.data import coco_stuff, facescrub, lfw, torchvision_data
from lossearch.evaluators.data.data_home import DataMissing, data_home, is_filled, raw_folder, shown_path
from lossearch.evaluators.data.image_folder import ImageFolder
from lossearch.evaluators.data.parts import PARTS
from lossearch.evaluators.data.prepared import Prepared
from lossearch.evaluators.data.splits import Split, Splits
from lossearch.evaluators.tasks.metrics import MEAN_IOU, VERIFICATION
from lossearch.evaluators.tasks.task import IMAGE_TRAINING, PIXEL_TRAINING, Task
from lossearch.primitives.errors import UserError

#: Classes of Labeled Faces in the Wild, and of FaceScrub at most.
_PEOPLE, _IDENTITIES = 62, 477

#: Functions that count the images of each part without decoding them, by task. They raise UserError for missing data.
COUNTERS: dict[str, Callable[[], dict[str, int]]] = {
    lfw.NAME: lambda: lfw.count_people(_PEOPLE),
    facescrub.NAME: lambda: facescrub.count_images(_IDENTITIES),
    coco_stuff.NAME: coco_stuff.count_images,
}

#: Pixels of a face each way.
_FACE_SIZE = 64


def _make_task(name: str, summary: str, classes: int, shape: tuple[int, ...], read: Callable[[], Prepared]) -> Task:
    """Make a classification task. ``read`` returns its three parts."""

    @lru_cache(maxsize=1)  # the same tensors each time, so that a device keeps its copies
    def parts(home: Path) -> list[Split]:
        data = read()
        return [data.split(part) for part in PARTS]

    return Task(
        name,
        "clean",
        f"{shape[1]}x{shape[2]} {summary}",
        classes,
        shape,
        lambda: Splits(*parts(data_home())[:2]),
        lambda: parts(data_home())[2],
        needs_download=True,
        fidelity=IMAGE_TRAINING,
        data_from=f"lossearch download {name}",
    )


def _make_published(name: str, summary: str, classes: int, channels: int, size: int) -> Task:
    """Make a task on a data set of torchvision's."""
    shape, page = (channels, size, size), torchvision_data.PUBLISHED[name].page
    task = _make_task(name, summary, classes, shape, lambda: torchvision_data.read_torchvision(name, classes))
    return task if page is None else replace(task, data_from=page)


def _make_segmentation(task: Task) -> Task:
    return replace(
        task, family="segmentation", metric=MEAN_IOU, dense=True, ignores_pixels=True, fidelity=PIXEL_TRAINING
    )


def _make_task_on_page(
    name: str,
    summary: str,
    classes: int,
    size: int,
    page: str,
    layout: str,
    channels: int = 3,
    people: str | None = None,
) -> Task:
    """Make a task on images that a person gets from a page and puts into a folder, one subfolder for each class.

    ``people`` is a pattern of the start of a file name that names the person shown: nobody is then in two parts.
    """

    def find() -> ImageFolder:
        options = ImageFolder(raw_folder(name), size, grey=channels == 1, people=people)
        folder = shown_path(options.folder)
        if not is_filled(options.folder):
            raise DataMissing(
                f"The data of the task {name} is not in {folder}. Get it from {page} and put {layout} there."
            )
        if options.training_classes != classes:
            raise UserError(
                f"Expected {classes} classes in {folder}, got {options.training_classes}. Put {layout} there."
            )
        return options

    COUNTERS[name] = lambda: {part: len(images) for part, images in find().divided[1].items()}
    task = _make_task(name, summary, classes, (channels, size, size), lambda: find().data)
    return replace(task, data_from=page)


@lru_cache(maxsize=1)
def _read_facescrub(home: Path, max_identities: int) -> Splits:
    return facescrub.read_facescrub(_FACE_SIZE, max_identities)


@lru_cache(maxsize=1)
def _read_lfw_pairs(home: Path) -> Split:
    return lfw.read_pairs(_FACE_SIZE)


def _make_facescrub_lfw(identities: int) -> Task:
    """Make the task to train on FaceScrub and verify the pairs of Labeled Faces in the Wild.

    At most nine tenths of 530 identities train, without those in the pairs. The head has a class for each of the 477.
    If fewer train, the other classes never occur.
    """
    return Task(
        facescrub.NAME,
        "open-set verification",
        f"{_FACE_SIZE}x{_FACE_SIZE} faces: FaceScrub to train on, the 6,000 pairs of Labeled Faces in the Wild to "
        f"verify; {identities} classes, of which those of verified people never occur",
        identities,
        (3, _FACE_SIZE, _FACE_SIZE),
        lambda: _read_facescrub(data_home(), identities),
        lambda: _read_lfw_pairs(data_home()),
        metric=VERIFICATION,
        needs_download=True,
        fidelity=IMAGE_TRAINING,
        data_from=f"{facescrub.PAGE}, and lossearch download {lfw.NAME}",
    )


TASKS = (
    _make_published("mnist", "grey images of handwritten digits", 10, 1, 28),
    _make_published("fashion_mnist", "grey images of clothes", 10, 1, 28),
    _make_published("emnist_balanced", "grey images of handwritten letters and digits", 47, 1, 28),
    _make_published("cifar10", "color images of things and animals", 10, 3, 32),
    _make_published("cifar100", "color images of things, plants and animals", 100, 3, 32),
    _make_published("svhn", "color images of house numbers' digits", 10, 3, 32),
    _make_published("pcam", "color images of tissue, with or without a tumor (PatchCamelyon)", 2, 3, 48),
    _make_published("caltech101", "color images of things (Caltech 101, without background)", 101, 3, 64),
    _make_published("food101", "color images of dishes; some training labels are wrong", 101, 3, 64),
    _make_published("fer2013", "grey images of facial expressions", 7, 1, 48),
    _make_segmentation(
        _make_published("voc2012", "color images, each pixel a thing or background (Pascal VOC)", 21, 3, 64)
    ),
    _make_task_on_page(
        "malaria",
        "color images of blood cells, with or without parasites",
        2,
        64,
        "https://lhncbc.nlm.nih.gov/LHC-research/LHC-projects/image-processing/malaria-datasheet.html",
        "the folders Parasitized and Uninfected",
        people=r"C\d+(P\d+)?",  # C33P1thinF_IMG_...
    ),
    _make_task_on_page(
        "raf_db",
        "color images of facial expressions (RAF-DB, after a signed agreement)",
        7,
        64,
        "http://www.whdeng.cn/RAF/model1.html",
        "train and test, each with a subfolder of aligned faces for each of the seven basic expressions,",
    ),
    _make_task_on_page(
        "ck_plus",
        "grey images of facial expressions (Extended Cohn-Kanade, after a signed agreement)",
        7,
        48,
        "https://www.jeffcohn.net/Resources/",
        "a subfolder of faces for each of the seven expressions, under their published names (S010_004_00000017.png),",
        channels=1,
        people=r"S\d+",  # S010_004_00000017
    ),
    _make_task_on_page(
        "colorectal_histology",
        "color images of tissue of eight kinds (Kather et al., 2016)",
        8,
        64,
        "https://zenodo.org/records/53169",
        "the eight folders of Kather_texture_2016_image_tiles_5000",
    ),
    _make_task(
        lfw.NAME,
        f"color images of people of whom there are {lfw.FEWEST} or more (Labeled Faces in the Wild)",
        _PEOPLE,
        (3, _FACE_SIZE, _FACE_SIZE),
        lambda: lfw.read_people(_FACE_SIZE, _PEOPLE),
    ),
    _make_facescrub_lfw(_IDENTITIES),
    _make_segmentation(
        replace(
            _make_task(
                coco_stuff.NAME,
                "color images, each pixel a thing or stuff (COCO-Stuff)",
                182,
                (3, 64, 64),
                lambda: coco_stuff.read_coco_stuff(64, 182),
            ),
            data_from=coco_stuff.PAGE,
        )
    ),
)
