"""Small data sets in the files and formats of their publication, for tests."""

import csv
import hashlib
import json
import pickle
import struct

import h5py
import numpy as np
from PIL import Image
from scipy.io import savemat

from tests.evaluators.small_images import pixels, write_image, write_shade


def checksum(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


def idx(path, array):
    """Write the format of MNIST: two zeros, type, number of dimensions, their sizes, all big endian, and bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()
    )


def grey(start, count, size):
    return np.stack([pixels(start + number, size, 1)[..., 0] for number in range(count)])


def write_mnist(raw, kind="MNIST", classes=10, prefix=("train", "t10k"), each=(10, 2)):
    """Write IDX files, and return the images and labels of each part."""
    parts = []
    for number, (name, count) in enumerate(zip(prefix, each, strict=True)):
        images = grey(10_000 * number, classes * count, 28)
        labels = (np.arange(len(images)) % classes).astype(np.uint8)
        idx(raw / kind / "raw" / f"{name}-images-idx3-ubyte", images)
        idx(raw / kind / "raw" / f"{name}-labels-idx1-ubyte", labels)
        parts.append((images, labels))
    return parts


def write_cifar(raw, monkeypatch, kind, classes, each=10):
    """Write pickled batches as in the archive, and replace the official checksums by theirs."""
    folder = raw / kind.base_folder
    folder.mkdir(parents=True)
    label = "labels" if classes == 10 else "fine_labels"
    for number, table in enumerate(("train_list", "test_list")):
        names = [name for name, _ in getattr(kind, table)]
        for place, name in enumerate(names):
            data = np.stack([pixels(10_000 * number + 1_000 * place + k, 32).flatten() for k in range(classes * each)])
            labels = [k % classes for k in range(len(data))]
            (folder / name).write_bytes(pickle.dumps({"data": data, label: labels, "batch_label": name}, protocol=2))
        monkeypatch.setattr(kind, table, [[name, checksum(folder / name)] for name in names])
    meta = folder / kind.meta["filename"]
    meta.write_bytes(pickle.dumps({kind.meta["key"]: [str(k) for k in range(classes)]}, protocol=2))
    monkeypatch.setattr(kind, "meta", {**kind.meta, "md5": checksum(meta)})


def write_svhn(raw, monkeypatch, kind):
    raw.mkdir(parents=True)
    table = {}
    for number, part in enumerate(("train", "test")):
        images = np.stack(
            [pixels(10_000 * number + k, 32) for k in range(100)], 3
        )  # [height, width, channels, samples]
        labels = np.arange(1, 101).reshape(-1, 1) % 10
        savemat(raw / f"{part}_32x32.mat", {"X": images, "y": np.where(labels == 0, 10, labels).astype(np.uint8)})
        table[part] = ["", f"{part}_32x32.mat", checksum(raw / f"{part}_32x32.mat")]
    monkeypatch.setattr(kind, "split_list", table)


def write_pcam(raw):
    folder = raw / "pcam"
    folder.mkdir(parents=True)
    for number, part in enumerate(("train", "valid", "test")):
        images = np.stack([pixels(10_000 * number + k, 96) for k in range(4)])
        with h5py.File(folder / f"camelyonpatch_level_2_split_{part}_x.h5", "w") as file:
            file["x"] = images
        with h5py.File(folder / f"camelyonpatch_level_2_split_{part}_y.h5", "w") as file:
            file["y"] = np.array([0, 1, 0, 1], np.uint8).reshape(4, 1, 1, 1)


def write_caltech(raw, categories=101):
    folder = raw / "caltech101" / "101_ObjectCategories"
    for number in range(1, 5):
        write_image(folder / "BACKGROUND_Google" / f"image_{number:04d}.jpg", number)
        for k in range(categories):
            write_shade(folder / f"category_{k:03d}" / f"image_{number:04d}.jpg", k, mode="L" if number == 1 else "RGB")


def write_food(raw, categories=101):
    folder = raw / "food-101"
    names = [f"dish_{k:03d}" for k in range(categories)]
    for part, count in {"train": 6, "test": 1}.items():
        files = {name: [f"{name}/{part}{number}" for number in range(count)] for name in names}
        (folder / "meta").mkdir(parents=True, exist_ok=True)
        (folder / "meta" / f"{part}.json").write_text(json.dumps(files))
        paths = [path for dish in files.values() for path in dish]
        (folder / "meta" / f"{part}.txt").write_text("\n".join(paths))
        for file in paths:
            write_shade(folder / "images" / f"{file}.jpg", names.index(file.split("/")[0]))
    (folder / "meta" / "classes.txt").write_text("\n".join(names))


def fer_pixels(part, number):
    """Make bytes [48, 48] whose first pixel is the number."""
    image = pixels(10_000 * part + number, 48, 1)[..., 0]
    image[0, 0] = number
    return image


def write_fer(raw, monkeypatch, kind, name="fer2013.csv"):
    """Write ``fer2013.csv``, ``icml_face_data.csv``, or ``test.csv`` and ``train.csv`` without classes of test."""
    folder = raw / "fer2013"
    folder.mkdir(parents=True)
    rows = [
        (k % 7, " ".join(map(str, fer_pixels(start, k).flatten())), usage)
        for start, (usage, count) in enumerate((("Training", 70), ("PublicTest", 7), ("PrivateTest", 7)))
        for k in range(count)
    ]
    table = dict(kind._RESOURCES)
    if name == "fer2013.csv":
        _write_csv(folder / name, ("emotion", "pixels", "Usage"), rows)
        table["fer"] = (name, checksum(folder / name))
    elif name == "icml_face_data.csv":  # other columns, with spaces
        _write_csv(
            folder / name, ("emotion", " Usage", " pixels"), [(label, usage, text) for label, text, usage in rows]
        )
        table["icml"] = (name, checksum(folder / name))
    else:
        _write_csv(folder / "train.csv", ("emotion", "pixels"), [row[:2] for row in rows if row[2] == "Training"])
        _write_csv(folder / "test.csv", ("pixels",), [row[1:2] for row in rows if row[2] != "Training"])
        table |= {part: (f"{part}.csv", checksum(folder / f"{part}.csv")) for part in ("train", "test")}
    monkeypatch.setattr(kind, "_RESOURCES", table)


def _write_csv(path, header, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def mask(number, size, highest):
    indices = np.random.default_rng(number).integers(0, highest + 1, (size, size), np.uint8)
    indices[0, :2] = 255
    return Image.fromarray(indices)


def mask_of(image, highest):
    """Return the mask of an image that :func:`write_shade` wrote, as targets [64, 64]."""
    indices = np.asarray(mask(round(float(image.float().mean()) / 2), 64, highest)).astype(np.int64)
    return np.where(indices == 255, -1, indices)


def write_voc(raw):
    folder = raw / "VOCdevkit" / "VOC2012"
    for number, (part, count) in enumerate({"train": 10, "val": 3}.items()):
        names = [f"2012_{100 * number + k:06d}" for k in range(count)]
        (folder / "ImageSets" / "Segmentation").mkdir(parents=True, exist_ok=True)
        (folder / "ImageSets" / "Segmentation" / f"{part}.txt").write_text("\n".join(names) + "\n")
        for k, name in enumerate(names):
            write_shade(folder / "JPEGImages" / f"{name}.jpg", 20 * number + k, 64)
            (folder / "SegmentationClass").mkdir(exist_ok=True)
            classes = mask(20 * number + k, 64, 20)
            classes.putpalette([value for index in range(256) for value in (index, 0, 0)])
            classes.save(folder / "SegmentationClass" / f"{name}.png")


def write_coco_stuff(raw, year=""):
    for number, (part, count) in enumerate({"train": 10, "val": 3}.items()):
        for k in range(count):
            write_shade(raw / "images" / f"{part}{year}" / f"{100 * number + k:012d}.jpg", 20 * number + k, 64)
            path = raw / "annotations" / f"{part}{year}" / f"{100 * number + k:012d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            mask(20 * number + k, 64, 181).save(path)


def write_lfw(raw, people):
    """Write ``people[name]`` images of each person, and one fold for each: a pair of this person, a pair of two."""
    home = raw / "lfw_home"
    for place, (name, count) in enumerate(people.items()):
        for number in range(1, count + 1):
            write_image(home / "lfw_funneled" / name / f"{name}_{number:04d}.jpg", 100 * place + number, 250)
    names = list(people)
    lines = [f"{len(names)}\t1"]
    for name, other in zip(names, [*names[1:], names[0]], strict=True):
        lines += [f"{name}\t1\t2", f"{name}\t1\t{other}\t2"]
    for file in ("pairs.txt", "pairsDevTrain.txt", "pairsDevTest.txt"):
        (home / file).write_text("\n".join(lines) + "\n")
