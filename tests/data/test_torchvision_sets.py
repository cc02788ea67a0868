"""CIFAR and Fashion-MNIST in torchvision's forms: from the web, from disk, and damaged."""

from __future__ import annotations

import gzip
import hashlib
import io
import pickle
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest
from torchvision import datasets

from graybox.data import sources
from graybox.data.params import DataParams, TorchvisionParams
from graybox.data.prepare import prepare
from graybox.data.sources import downloads, torchvision_sets
from graybox.errors import UserError
from tests.support.python2_pickles import python2

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
PIXELS = np.random.default_rng(0).integers(0, 256, (60, 32, 32, 3), dtype=np.uint8)
GRAY = PIXELS[..., 0][:, :28, :28]


def download(name: str, path: Path | str | None, root: Path) -> sources.Catalogue:
    options = TorchvisionParams(image_size=32, path=None if path is None else str(path))
    sources.download(name, options, root / "raw", root / "partial")
    return sources.open(name, options, root / "raw", seed=0)


def pixels_of(catalogue: sources.Catalogue) -> np.ndarray:
    return np.stack([np.asarray(catalogue.load(index)[0]) for index in range(len(catalogue.files))])


# --- CIFAR --------------------------------------------------------------------------------------------------------


def batch(images: np.ndarray, labels: list[int], key: bytes = b"labels") -> dict:
    rows = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
    return {b"data": rows, key: labels, b"filenames": [b"x.png"] * len(images)}


def cifar_files(name: str) -> dict[str, dict]:
    """The set's pickles, with 10 images in each: file -> value."""
    labels = [number % 10 for number in range(10)]
    if name == "cifar10":
        files = {f"data_batch_{n + 1}": batch(PIXELS[10 * n : 10 * n + 10], labels) for n in range(5)}
        files["test_batch"] = batch(PIXELS[50:], labels[::-1])
        return files | {"batches.meta": {b"label_names": [b"class %d" % n for n in range(10)]}}
    files = {"train": batch(PIXELS[:50], labels * 5, b"fine_labels")}
    files["test"] = batch(PIXELS[50:], labels[::-1], b"fine_labels")
    return files | {"meta": {b"fine_label_names": [b"class %d" % n for n in range(10)], b"coarse_label_names": []}}


DATASETS = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}


def write(root: Path, name: str, values: dict[str, dict]) -> dict[str, str]:
    """Write the pickles as torchvision has them on disk; file -> MD5."""
    folder = root / DATASETS[name].base_folder
    folder.mkdir(parents=True, exist_ok=True)
    for file, value in values.items():
        (folder / file).write_bytes(value if isinstance(value, bytes) else python2(value, 2))
    return {file: hashlib.md5((folder / file).read_bytes()).hexdigest() for file in values}


def expect(monkeypatch, name: str, sums: dict[str, str]) -> None:
    """Let the set's checksums be those of the files that a test made."""
    dataset = DATASETS[name]
    for part in ("train_list", "test_list"):
        monkeypatch.setattr(dataset, part, [[file, sums.get(file, md5)] for file, md5 in getattr(dataset, part)])
    meta = dataset.meta
    monkeypatch.setattr(dataset, "meta", meta | {"md5": sums.get(meta["filename"], meta["md5"])})


def archive(path: Path, name: str, values: dict[str, dict], monkeypatch) -> Path:
    """The set as its .tar.gz, whose checksum is the expected one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as tar:
        for file, value in {"readme.html": b"<html>", **values}.items():
            data = value if isinstance(value, bytes) else python2(value, 2)
            member = tarfile.TarInfo(f"{DATASETS[name].base_folder}/{file}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    monkeypatch.setattr(DATASETS[name], "tgz_md5", hashlib.md5(path.read_bytes()).hexdigest())
    return path


def assert_cifar(catalogue: sources.Catalogue) -> None:
    assert catalogue.class_names == [f"class {n}" for n in range(10)]
    assert catalogue.splits == ["train"] * 50 + ["test"] * 10
    assert catalogue.labels.tolist() == [*range(10)] * 5 + [*range(10)][::-1]
    assert catalogue.files[0] == "train/00000" and catalogue.files[-1] == "test/00009"
    assert len(set(catalogue.files)) == 60
    np.testing.assert_array_equal(pixels_of(catalogue), PIXELS)
    assert np.isnan(catalogue.load(3)[1]).all()


@pytest.mark.parametrize("name", DATASETS)
def test_cifar_from_the_unpacked_folder(tmp_path, monkeypatch, name):
    expect(monkeypatch, name, write(tmp_path / "in", name, cifar_files(name)))
    assert_cifar(download(name, tmp_path / "in", tmp_path))
    inner = tmp_path / "in" / DATASETS[name].base_folder
    assert_cifar(download(name, inner, tmp_path))
    # torchvision itself agrees that it is its layout.
    for train, expected in ((True, PIXELS[:50]), (False, PIXELS[50:])):
        np.testing.assert_array_equal(DATASETS[name](tmp_path / "in", train=train).data, expected)


@pytest.mark.parametrize("name", DATASETS)
def test_cifar_from_its_archive(tmp_path, monkeypatch, name):
    archive(tmp_path / "in" / DATASETS[name].filename, name, cifar_files(name), monkeypatch)
    assert_cifar(download(name, tmp_path / "in", tmp_path))


@pytest.mark.parametrize("name", DATASETS)
def test_cifar_from_the_web(tmp_path, monkeypatch, name):
    served = archive(tmp_path / "served.tar.gz", name, cifar_files(name), monkeypatch)
    serve(monkeypatch, {DATASETS[name].url: served.read_bytes()})
    assert_cifar(download(name, None, tmp_path))
    assert sorted(path.name for path in (tmp_path / "raw").iterdir()) == ["images.npy", "pictures.json", "source.json"]
    assert not list((tmp_path / "partial").iterdir())


def serve(monkeypatch, contents: dict[str, bytes]) -> list[str]:
    """Let downloads come from here; the URLs that are asked for."""
    asked = []

    def fetched(url: str, where: str, allowed: str, part: Path) -> None:
        asked.append(url)
        if url not in contents:
            raise UserError(f"{where} can't be downloaded (the server can't be reached)")
        part.write_bytes(contents[url])

    monkeypatch.setattr(downloads, "download", fetched)
    return asked


def test_a_download_that_is_wrong_is_named_and_not_kept(tmp_path, monkeypatch):
    served = archive(tmp_path / "served.tar.gz", "cifar10", cifar_files("cifar10"), monkeypatch).read_bytes()
    url = datasets.CIFAR10.url
    serve(monkeypatch, {})
    with pytest.raises(UserError, match=r"sources.cifar10.path: .*can't be reached"):
        download("cifar10", None, tmp_path)
    serve(monkeypatch, {url: served[:-5]})
    with pytest.raises(UserError, match=r"sources.cifar10.path: .*gave a file with another MD5.*; try again"):
        download("cifar10", None, tmp_path)
    asked = serve(monkeypatch, {url: served})
    assert_cifar(download("cifar10", None, tmp_path))
    assert asked == [url]


def test_a_download_that_is_whole_is_not_asked_for_again(tmp_path, monkeypatch):
    archive(tmp_path / "partial/cifar10" / datasets.CIFAR10.filename, "cifar10", cifar_files("cifar10"), monkeypatch)
    assert serve(monkeypatch, {}) == []
    assert_cifar(download("cifar10", None, tmp_path))


def test_cifar_that_is_not_as_torchvision_knows_it_is_refused(tmp_path, monkeypatch):
    good = cifar_files("cifar10")
    write(tmp_path / "in", "cifar10", good)
    with pytest.raises(UserError, match=r"data_batch_1 has another MD5 than torchvision's c99c.*; fetch it again"):
        download("cifar10", tmp_path / "in", tmp_path)
    path = archive(tmp_path / "tgz" / datasets.CIFAR10.filename, "cifar10", good, monkeypatch)
    data = path.read_bytes()
    path.write_bytes(data[:-9])
    with pytest.raises(UserError, match=r"cifar-10-python.tar.gz has another MD5 than torchvision's"):
        download("cifar10", tmp_path / "tgz", tmp_path)
    path.write_bytes(data)
    assert_cifar(download("cifar10", tmp_path / "tgz", tmp_path))


class Touch:
    """What a pickle may do when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def changed(file: str, **changes) -> dict[str, dict]:
    files = cifar_files("cifar10")
    return files | {file: files[file] | {key.encode(): value for key, value in changes.items()}}


FAULTS = {
    "a label too high": (changed("test_batch", labels=[10] + [0] * 9), "test split has the label 10; 0 to 9 are"),
    "a negative label": (changed("data_batch_3", labels=[-1] + [0] * 9), "train split has the label -1"),
    "labels missing": (changed("test_batch", labels=[0]), "test_batch should have one label"),
    "labels of another kind": (changed("test_batch", labels=["a"] * 10), "test_batch should have one label"),
    "images of another size": (
        changed("data_batch_2", data=np.zeros((10, 9), "u1")),
        "data_batch_2 should have images",
    ),
    "images of another type": (changed("test_batch", data=np.zeros((10, 3072))), "test_batch should have images"),
    "no images": (changed("test_batch", data=None), "test_batch should have images"),
    "no names": (changed("batches.meta", label_names=None), "batches.meta should list the class names as label_names"),
    "a list": (cifar_files("cifar10") | {"test_batch": pickle.dumps([])}, "test_batch holds a list"),
    "half a pickle": (
        cifar_files("cifar10") | {"data_batch_5": python2(cifar_files("cifar10")["data_batch_5"], 2)[:-9000]},
        "data_batch_5 is not a pickle that can be read safely",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("packed", [True, False])
def test_damaged_cifar_files_are_named(tmp_path, monkeypatch, fault, packed):
    values, told = FAULTS[fault]
    if packed:
        archive(tmp_path / "in" / datasets.CIFAR10.filename, "cifar10", values, monkeypatch)
    else:
        expect(monkeypatch, "cifar10", write(tmp_path / "in", "cifar10", values))
    with pytest.raises(UserError, match=told) as error:
        download("cifar10", tmp_path / "in", tmp_path)
    assert "\n" not in str(error.value)


def test_nothing_in_cifars_pickles_is_run(tmp_path, monkeypatch):
    values = cifar_files("cifar10") | {"test_batch": pickle.dumps(Touch(tmp_path / "was here"), 2)}
    archive(tmp_path / "in" / datasets.CIFAR10.filename, "cifar10", values, monkeypatch)
    with pytest.raises(UserError, match="is not allowed"):
        download("cifar10", tmp_path / "in", tmp_path)
    assert not (tmp_path / "was here").exists()


def test_missing_cifar_files_are_named(tmp_path, monkeypatch):
    with pytest.raises(
        UserError, match=r"sources.cifar10.path is .*nowhere', which is no folder; it should be null or"
    ):
        download("cifar10", tmp_path / "nowhere", tmp_path)
    (tmp_path / "in").mkdir()
    with pytest.raises(UserError, match=r"has neither cifar-10-batches-py/ nor cifar-10-python.tar.gz"):
        download("cifar10", tmp_path / "in", tmp_path)
    values = cifar_files("cifar10")
    del values["data_batch_4"]
    expect(monkeypatch, "cifar10", write(tmp_path / "in", "cifar10", values))
    with pytest.raises(UserError, match=r"sources.cifar10.path: data_batch_4 of cifar-10-batches-py is missing"):
        download("cifar10", tmp_path / "in", tmp_path)


# --- Fashion-MNIST ------------------------------------------------------------------------------------------------


def idx(values: np.ndarray) -> bytes:
    return struct.pack(f">{1 + values.ndim}I", 0x800 + values.ndim, *values.shape) + values.tobytes()


def fashion_files(train: int = 50) -> dict[str, bytes]:
    labels = np.arange(60, dtype=np.uint8) % 10
    return {
        "train-images-idx3-ubyte": idx(GRAY[:train]),
        "train-labels-idx1-ubyte": idx(labels[:train]),
        "t10k-images-idx3-ubyte": idx(GRAY[train:]),
        "t10k-labels-idx1-ubyte": idx(labels[train:]),
    }


def write_idx(folder: Path, contents: dict[str, bytes], compressed: bool = True) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in contents.items():
        path = folder / (name + ".gz" * compressed)
        path.write_bytes(gzip.compress(data) if compressed else data)
    return folder


def assert_fashion(catalogue: sources.Catalogue) -> None:
    assert catalogue.class_names[0] == "T-shirt/top" and len(catalogue.class_names) == 10
    assert catalogue.splits == ["train"] * 50 + ["test"] * 10
    assert catalogue.labels.tolist() == [*range(10)] * 6
    np.testing.assert_array_equal(pixels_of(catalogue), np.repeat(GRAY[..., None], 3, axis=3))


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("inner", ["", "FashionMNIST/raw"])
def test_fashion_mnist_from_disk(tmp_path, compressed, inner):
    write_idx(tmp_path / "in" / inner, fashion_files(), compressed)
    assert_fashion(download("fashion_mnist", tmp_path / "in", tmp_path))


def test_fashion_mnist_from_the_web(tmp_path, monkeypatch):
    served = {name + ".gz": gzip.compress(data) for name, data in fashion_files().items()}
    resources = [(name, hashlib.md5(served[name]).hexdigest()) for name, _ in datasets.FashionMNIST.resources]
    monkeypatch.setattr(datasets.FashionMNIST, "resources", resources)
    urls = {datasets.FashionMNIST.mirrors[0] + name: data for name, data in served.items()}
    serve(monkeypatch, dict(list(urls.items())[:2]))
    with pytest.raises(UserError, match=r"sources.fashion_mnist.path: .*t10k-images.*can't be reached"):
        download("fashion_mnist", None, tmp_path)
    asked = serve(monkeypatch, urls)
    assert_fashion(download("fashion_mnist", None, tmp_path))
    assert asked == list(urls)[2:]  # what had come already is kept
    assert not list((tmp_path / "partial").iterdir())


FASHION_FAULTS = {
    "images cut off": (
        "train-images-idx3-ubyte",
        lambda data: data[:-1],
        "has 39,215 bytes where its header says 39,216",
    ),
    "more than its header says": ("t10k-labels-idx1-ubyte", lambda data: data + b"\0", "has 19 bytes where .* says 18"),
    "a header cut off": ("t10k-labels-idx1-ubyte", lambda data: data[:7], "is no idx file of labels"),
    "nothing": ("t10k-images-idx3-ubyte", lambda data: b"", "is no idx file of images"),
    "labels for images": ("t10k-images-idx3-ubyte", lambda data: idx(np.zeros(9, "u1")), "is no idx file of images"),
    "a header that lies": (
        "train-images-idx3-ubyte",
        lambda data: data[:4] + b"\xff" * 12 + data[16:],
        "where its header says 79,228,162",
    ),
    "fewer labels": ("train-labels-idx1-ubyte", lambda data: idx(np.zeros(9, "u1")), "50 images and 9 labels"),
    "a label too high": ("t10k-labels-idx1-ubyte", lambda data: data[:-1] + b"\x0a", "label 10; 0 to 9 are allowed"),
}


@pytest.mark.parametrize("fault", FASHION_FAULTS)
@pytest.mark.parametrize("compressed", [True, False])
def test_damaged_idx_files_are_named_and_good_ones_work_after(tmp_path, fault, compressed):
    name, damage, told = FASHION_FAULTS[fault]
    files = fashion_files()
    write_idx(tmp_path / "in", files | {name: damage(files[name])}, compressed)
    with pytest.raises(UserError, match=told) as error:
        download("fashion_mnist", tmp_path / "in", tmp_path)
    assert "\n" not in str(error.value)
    write_idx(tmp_path / "in", files, compressed)
    assert_fashion(download("fashion_mnist", tmp_path / "in", tmp_path))


def test_half_a_gz_and_missing_files_are_named(tmp_path):
    folder = write_idx(tmp_path / "in", fashion_files())
    path = folder / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(UserError, match=r"train-images-idx3-ubyte.gz can't be read \(.*; fetch it again"):
        download("fashion_mnist", folder, tmp_path)
    path.unlink()
    with pytest.raises(UserError, match=r"lacks train-images-idx3-ubyte.gz; it should have all four"):
        download("fashion_mnist", folder, tmp_path)


def test_a_gz_that_swells_is_not_unpacked_to_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr(torchvision_sets, "MAX_FILE_BYTES", 10_000)
    folder = write_idx(tmp_path / "in", fashion_files())
    with pytest.raises(UserError, match=r"train-images-idx3-ubyte.gz has more than"):
        download("fashion_mnist", folder, tmp_path)


# --- as sources ---------------------------------------------------------------------------------------------------

PARAMS = {"source": "fashion_mnist", "validation_fraction": 0.2, "test_fraction": 0.2, "classes": None}
PARAMS |= {"images_per_class": None, "max_unreadable": 0, "seed": 0}


def test_prepare_carves_validation_and_keeps_the_test_split(tmp_path):
    catalogue = download("fashion_mnist", write_idx(tmp_path / "in", fashion_files()), tmp_path)
    prepared = prepare(catalogue, DataParams(**PARAMS), 28, tmp_path / "prepared", workers=2, start_method="spawn")
    assert prepared.carved == ("validation",)
    assert prepared.table["split"].value_counts().to_dict() == {"train": 40, "validation": 10, "test": 10}
    images = np.load(tmp_path / "prepared/images.npy")
    for row in prepared.table.itertuples():
        split, index = row.file.split("/")
        place = int(index) + (50 if split == "test" else 0)
        np.testing.assert_array_equal(images[row.row], np.repeat(GRAY[place, ..., None], 3, axis=2))


def test_a_loader_is_sent_to_workers_without_its_pixels(tmp_path):
    load = download("fashion_mnist", write_idx(tmp_path / "in", fashion_files()), tmp_path).load
    load(0)  # from now on its own array is mapped
    assert len(pickle.dumps(load)) < 500
    copy = pickle.loads(pickle.dumps(load))
    np.testing.assert_array_equal(np.asarray(copy(7)[0])[..., 1], GRAY[7])


def test_a_full_disk_is_said(tmp_path):
    resource = pytest.importorskip("resource", reason="needs limits of file sizes, which only POSIX has")
    folder = write_idx(tmp_path / "in", fashion_files())
    allowed = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, allowed[1]))
    try:
        with pytest.raises(UserError, match=r"images.npy can't be written \(File too large"):
            download("fashion_mnist", folder, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, allowed)
    assert not list((tmp_path / "raw").rglob("*.*"))  # nothing half-written


@pytest.mark.parametrize("damage", ["images.npy", "pictures.json"])
def test_a_damaged_raw_folder_is_named(tmp_path, damage):
    folder = write_idx(tmp_path / "in", fashion_files())
    download("fashion_mnist", folder, tmp_path)
    (tmp_path / "raw" / damage).write_bytes(b"{}")
    options = TorchvisionParams(image_size=32, path=str(folder))
    with pytest.raises(
        UserError, match=r"images.npy or pictures.json, or they are damaged; run `dvc repro -f download`"
    ):
        sources.open("fashion_mnist", options, tmp_path / "raw", 0)


@pytest.mark.skipif(not DEBIAN.is_dir(), reason="needs Debian's package dataset-fashion-mnist")
def test_the_real_fashion_mnist(tmp_path):
    catalogue = download("fashion_mnist", DEBIAN, tmp_path)
    own = np.array(catalogue.splits)
    assert np.bincount(catalogue.labels[own == "train"]).tolist() == [6000] * 10
    assert np.bincount(catalogue.labels[own == "test"]).tolist() == [1000] * 10
    raw = tmp_path / "torchvision/FashionMNIST/raw"
    raw.mkdir(parents=True)
    for path in DEBIAN.glob("*.gz"):
        (raw / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
    for train, split in ((True, "train"), (False, "test")):
        theirs = datasets.FashionMNIST(tmp_path / "torchvision", train=train)
        assert catalogue.labels[own == split].tolist() == theirs.targets.tolist()
        for index in (0, 1234, 9999):
            image, label = theirs[index]
            row = catalogue.files.index(f"{split}/{index:05d}")
            np.testing.assert_array_equal(np.asarray(catalogue.load(row)[0]), np.asarray(image.convert("RGB")))
            assert catalogue.class_names[catalogue.labels[row]] == theirs.classes[label]
