"""CIFAR-10, CIFAR-100 and Fashion-MNIST: torchvision's addresses, checksums, file names and class names.

The files are read here, not by torchvision, which would run CIFAR's pickles.
"""

from __future__ import annotations

import gzip
import math
import shutil
import tarfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from graybox.data.params import TorchvisionParams
from graybox.data.sources import arrays, downloads, pickles
from graybox.data.sources.catalogue import Catalogue
from graybox.errors import ParameterError, UserError

MAX_FILE_BYTES = 256 << 20  # CIFAR-100's training pickle has 155 MB
SIDE = 32  # of CIFAR's images, in pixels
_IMAGES_MAGIC, _LABELS_MAGIC = 0x803, 0x801


class Part(NamedTuple):
    """Some pictures: uint8 [N, H, W, 3] or [N, H, W], their N labels, and the split that they are of."""

    images: np.ndarray
    labels: list[int]
    split: str


@dataclass(frozen=True)
class TorchvisionSource:
    """One of the sets, as a source.

    Attributes:
        name: the source's.
        class_name: of the set in torchvision.datasets.
        read: its files' folder, `path` of the parameters or None -> parts, class names and facts.
    """

    name: str
    class_name: str
    read: Callable[[TorchvisionSource, str | None, Path], tuple[list[Part], list[str], dict[str, Any]]]

    @property
    def key(self) -> str:
        """The parameter that says where the files are."""
        return f"sources.{self.name}.path"

    @property
    def dataset(self) -> Any:
        """torchvision's class of the set."""
        from torchvision import datasets  # here, because it takes seconds and only a download needs it

        return getattr(datasets, self.class_name)

    def download(self, options: TorchvisionParams, raw: Path, partial: Path) -> dict[str, Any]:
        """Keep the set's images in `raw`, from the files in `options.path` or else from the web.

        Raises:
            UserError: files are missing, can't be downloaded or are damaged.
        """
        partial = partial / self.name
        parts, class_names, facts = self.read(self, options.path, partial)
        for part in parts:
            wrong = [label for label in part.labels if not 0 <= label < len(class_names)]
            if wrong:
                raise ParameterError(
                    f"{self.key}: an image of the {part.split} split has the label {wrong[0]}; "
                    f"0 to {len(class_names) - 1} are allowed"
                )
        # Each is named by its place in its split, which is torchvision's index.
        counts = {split: sum(len(part.labels) for part in parts if part.split == split) for split in ("train", "test")}
        arrays.save(
            raw,
            (part.images for part in parts),
            parts[0].images.shape[1:],
            class_keys=class_names,
            files=[f"{split}/{index:05d}" for split, count in counts.items() for index in range(count)],
            labels=[label for part in parts for label in part.labels],
            splits=[split for split, count in counts.items() for _ in range(count)],
        )
        shutil.rmtree(partial, ignore_errors=True)
        return facts

    def open(self, options: TorchvisionParams, raw: Path, seed: int) -> Catalogue:
        """The images that `download` kept; a validation split is to be carved out of `train`."""
        return arrays.opened(raw)

    def downloaded(self, url: str, name: str, md5: str, partial: Path) -> Path:
        """A file from the web, checked; if the download breaks off, the next call goes on from there."""
        path = partial / name
        if not _is_whole(path, md5):
            partial.mkdir(parents=True, exist_ok=True)
            downloads.download(url, f"{self.key}: {url}", "it should be a file of the data set", path)
            if not _is_whole(path, md5):
                downloads.forget(path)  # or else the next download would go on from there
                raise ParameterError(
                    f"{self.key}: {url} gave a file with another MD5 than torchvision's {md5}; try again"
                )
        return path

    def folder(self, path: str) -> Path:
        """The user's folder."""
        folder = Path(path).expanduser()
        if not folder.is_dir():
            raise ParameterError(
                f"{self.key} is {path!r}, which is no folder; it should be null or the folder of the files"
            )
        return folder


def _is_whole(path: Path, md5: str) -> bool:
    from torchvision.datasets.utils import check_integrity

    return bool(check_integrity(path, md5))


# --- CIFAR --------------------------------------------------------------------------------------------------------


def _cifar(source: TorchvisionSource, path: str | None, partial: Path) -> tuple[list[Part], list[str], dict[str, Any]]:
    dataset = source.dataset
    splits = {name: "train" for name, _ in dataset.train_list} | {name: "test" for name, _ in dataset.test_list}
    meta = dataset.meta["filename"]
    sums = dict(dataset.train_list + dataset.test_list) | {meta: dataset.meta["md5"]}
    if path is None:
        archive = source.downloaded(dataset.url, dataset.filename, dataset.tgz_md5, partial)
        found, facts = _members(archive, dataset.base_folder, set(sums)), {"archive": dataset.filename}
        facts |= {"bytes": archive.stat().st_size, "md5": dataset.tgz_md5}
    else:
        found, facts = _files(source, source.folder(path), dataset, sums)
    if missing := sorted(set(sums) - set(found)):
        raise ParameterError(
            f"{source.key}: {', '.join(missing)} of {dataset.base_folder} is missing; all files are needed"
        )

    about = pickles.dictionary(found[meta], meta)
    class_names = about.get(dataset.meta["key"])
    if not isinstance(class_names, list) or not all(isinstance(name, str | bytes) for name in class_names):
        raise ParameterError(f"{source.key}: {meta} should list the class names as {dataset.meta['key']}")
    parts = [_batch(source, found[name], name, split) for name, split in splits.items()]
    return parts, [pickles.text(name) for name in class_names], facts


def _members(archive: Path, folder: str, wanted: set[str]) -> dict[str, Any]:
    """The pickles of a .tar.gz -> what is in them."""
    found = {}
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                name = member.name.removeprefix(f"{folder}/")
                if name in wanted and member.name != name and member.isreg():
                    if member.size > MAX_FILE_BYTES:
                        raise UserError(f"{archive}: {member.name} has more than {MAX_FILE_BYTES >> 20} MB")
                    file: Any = tar.extractfile(member)
                    found[name] = pickles.loads(file.read(), f"{archive}: {name}")
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise UserError(f"{archive} is not a whole .tar.gz ({error}); fetch it again") from error
    return found


def _files(
    source: TorchvisionSource, folder: Path, dataset: Any, sums: dict[str, str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The pickles in the user's folder, unpacked or as the .tar.gz -> what is in them, and facts."""
    archive = folder / dataset.filename
    for inner in (folder / dataset.base_folder, folder):
        there = [name for name in sums if (inner / name).is_file()]
        if there:
            for name in there:
                if not _is_whole(inner / name, sums[name]):
                    raise UserError(f"{inner / name} has another MD5 than torchvision's {sums[name]}; fetch it again")
            return {name: pickles.load(inner / name) for name in there}, {"folder": str(inner.resolve())}
    if not archive.is_file():
        raise ParameterError(
            f"{source.key} is {str(folder)!r}, which has neither {dataset.base_folder}/ nor {dataset.filename}; "
            "it should have one of them, or be null"
        )
    if not _is_whole(archive, dataset.tgz_md5):
        raise UserError(f"{archive} has another MD5 than torchvision's {dataset.tgz_md5}; fetch it again")
    facts = {"archive": archive.name, "bytes": archive.stat().st_size, "md5": dataset.tgz_md5}
    return _members(archive, dataset.base_folder, set(sums)), facts


def _batch(source: TorchvisionSource, value: Any, name: str, split: str) -> Part:
    """One pickle's images: rows of 3,072 bytes, all red first, then green, then blue."""
    where = f"{source.key}: {name}"
    value = pickles.dictionary(value, where)
    images, labels = value.get("data"), value.get("labels", value.get("fine_labels"))
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.shape[1:] != (3 * SIDE**2,):
        raise UserError(f"{where} should have images as data, uint8 [N, {3 * SIDE**2}]")
    if not isinstance(labels, list) or len(labels) != len(images) or not all(type(label) is int for label in labels):
        raise UserError(f"{where} should have one label, an integer, for each of its {len(images):,} images")
    return Part(images.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1), labels, split)


# --- Fashion-MNIST ------------------------------------------------------------------------------------------------


def _fashion(
    source: TorchvisionSource, path: str | None, partial: Path
) -> tuple[list[Part], list[str], dict[str, Any]]:
    dataset = source.dataset
    names = [name for name, _ in dataset.resources]  # ...-ubyte.gz
    if path is None:
        files = {
            name: source.downloaded(dataset.mirrors[0] + name, name, md5, partial) for name, md5 in dataset.resources
        }
        facts: dict[str, Any] = {"archive": ", ".join(names), "md5": [md5 for _, md5 in dataset.resources]}
    else:
        files = _idx_files(source, source.folder(path), names)
        facts = {"folder": str(next(iter(files.values())).parent.resolve())}
    facts["bytes"] = sum(file.stat().st_size for file in files.values())
    parts = []
    for prefix, split in (("train", "train"), ("t10k", "test")):
        images = _idx(files[f"{prefix}-images-idx3-ubyte.gz"], _IMAGES_MAGIC)
        labels = _idx(files[f"{prefix}-labels-idx1-ubyte.gz"], _LABELS_MAGIC)
        if len(images) != len(labels):
            raise ParameterError(
                f"{source.key}: {prefix} has {len(images):,} images and {len(labels):,} labels; they should agree"
            )
        parts.append(Part(images, labels.tolist(), split))
    if parts[0].images.shape[1:] != parts[1].images.shape[1:]:
        raise ParameterError(f"{source.key}: the images of train and t10k have different sizes; they should agree")
    return parts, list(dataset.classes), facts


def _idx_files(source: TorchvisionSource, folder: Path, names: list[str]) -> dict[str, Path]:
    """Name with .gz -> the file in the user's folder, compressed or not."""
    for inner in (folder / source.class_name / "raw", folder / "raw", folder):
        files = {}
        for name in names:
            # torchvision keeps both: the unpacked one is read faster.
            there = [path for path in (inner / name.removesuffix(".gz"), inner / name) if path.is_file()]
            if there:
                files[name] = there[0]
        if files:
            break
    missing = [name for name in names if name not in files]
    if missing:
        raise ParameterError(
            f"{source.key} is {str(folder)!r}, which lacks {', '.join(missing)}; "
            f"it should have all four, with or without .gz, in it or in {source.class_name}/raw, or be null"
        )
    return files


def _idx(path: Path, magic: int) -> np.ndarray:
    """An idx file of bytes: a header of big-endian 32-bit numbers (what it is, and its shape), then the values."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} can't be read ({error}); fetch it again") from error
    if len(data) > MAX_FILE_BYTES:
        raise UserError(f"{path} has more than the {MAX_FILE_BYTES >> 20} MB allowed when unpacked; fetch it again")
    dimensions = magic & 0xFF
    header = 4 * (1 + dimensions)
    first, *shape = np.frombuffer(data[:header], ">u4").tolist() if len(data) >= header else [0]
    if first != magic:
        raise UserError(f"{path} is no idx file of {'images' if magic == _IMAGES_MAGIC else 'labels'}; fetch it again")
    size = math.prod(shape)
    if len(data) != header + size or not size:
        raise UserError(f"{path} has {len(data):,} bytes where its header says {header + size:,}; fetch it again")
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)


SOURCES = {
    "cifar10": TorchvisionSource("cifar10", "CIFAR10", _cifar),
    "cifar100": TorchvisionSource("cifar100", "CIFAR100", _cifar),
    "fashion_mnist": TorchvisionSource("fashion_mnist", "FashionMNIST", _fashion),
}
