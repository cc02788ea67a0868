"""From a source's catalogue to the prepared images: choose classes and images, split, decode in parallel."""

from __future__ import annotations

import hashlib
import warnings
import zlib
from collections.abc import Generator
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import pandas as pd
from tqdm import tqdm

from graybox import files, parallel
from graybox.data import duplicates, images, near_duplicates, remarks, summary
from graybox.data.images import BOX_COLUMNS, SPLITS
from graybox.data.params import DataParams
from graybox.data.sources.catalogue import Catalogue, Load, Uncover, UnreadableError
from graybox.data.sources.decode import is_16_bit, square
from graybox.data.sources.names import composed, look_alikes
from graybox.errors import ParameterError, UserError

CHUNK = 64  # images for a worker at a time
MAX_SHOWN = 50  # unreadable files in a message


@dataclass(frozen=True)
class Prepared:
    """What `prepare` wrote.

    Attributes:
        table: columns split, row, label, class, file, x0, y0, x1, y1, covered, as for images.save_table.
        size: height and width of the images, in pixels.
        carved: the splits that the source lacks; they were taken from its training images.
        unreadable: file that can't be decoded -> why.
        ignored: why files of the source were skipped -> number of files.
        duplicates: "in train and test", "within train" and so on -> number; see duplicates.Duplicates.counts.
        two_labels: number of these that have another label than the image that they copy.
        near_duplicates: likewise; see near_duplicates.counts.
        dropped: number of images left out because they are near-duplicates.
        remarks: sentences on what the user should know, such as folders without images, and classes of unequal size.
    """

    table: pd.DataFrame
    size: int
    carved: tuple[str, ...]
    unreadable: dict[str, str]
    ignored: dict[str, int]
    duplicates: dict[str, int]
    two_labels: int
    near_duplicates: dict[str, int]
    dropped: int
    remarks: list[str]

    def summary(self) -> str:
        """All of it in one line."""
        counts = self.table["split"].value_counts()
        splits = [f"{counts[split]:,} {split}{' (from train)' * (split in self.carved)}" for split in SPLITS]
        notes = [f"{len(self.unreadable)} unreadable"] * bool(self.unreadable)
        for reason, count in self.ignored.items():
            of_boxes = reason.startswith(("boxes ", "images "))
            notes.append(f"{count:,} {reason}" if of_boxes else f"{count:,} files ignored ({reason})")
        for where, count in self.duplicates.items():
            kind, split, *_ = where.split()
            notes.append(f"{count:,} duplicates {where}" + f" (dropped from {split})" * (kind == "in"))
        if self.two_labels:
            notes.append(f"{self.two_labels:,} of the duplicates have two labels (duplicates.txt)")
        notes += [f"{count:,} near-duplicates {where}" for where, count in self.near_duplicates.items()]
        if self.near_duplicates:
            notes.append(f"{self.dropped:,} near-duplicates dropped (near_duplicates.csv)")
        classes = self.table["label"].nunique()
        images_of = f"{len(self.table):,} images of {classes} classes, {self.size} x {self.size} pixels"
        return "; ".join([f"{images_of}: {', '.join(splits)}", *notes])


def prepare(
    catalogue: Catalogue,
    data: DataParams,
    size: int,
    folder: Path,
    *,
    workers: int | None = None,
    start_method: str | None = None,
) -> Prepared:
    """Write a catalogue's chosen images to `folder`, in the format that images.load reads.

    The old images stay until all new ones are there: what fails leaves the folder as it was.

    It also writes unreadable.txt (files that can't be decoded, and why), duplicates.txt (files with the same pixels;
    one that a later split has too is left out), near_duplicates.csv and .npy (see near_duplicates.write),
    uncovered.npz (the partly covered test images without what covers them; see images.load_uncovered) and summary.json
    (see summary.write).

    Args:
        size: height and width of the prepared images, in pixels.
        workers: number of processes that decode; 1 = this process; None = one per core that this process may use,
            less under a CPU quota. Where the system can't start workers, this process decodes.
        start_method: how workers start, "fork" or "spawn"; None = the platform's default.

    Raises:
        UserError: the source lacks classes or images that `data` asks for, more than data.max_unreadable files can't be
            decoded, a class has no images left in a split without duplicates, or the disk is full.
    """
    classes = choose_classes(catalogue, data.classes)
    chosen = choose(catalogue, classes, data)
    with files.filling(folder, last=images.TABLE) as part:
        return _prepare(catalogue, classes, chosen, data, size, part, workers, start_method)


def _prepare(
    catalogue: Catalogue,
    classes: list[int],
    chosen: pd.DataFrame,
    data: DataParams,
    size: int,
    folder: Path,
    workers: int | None,
    start_method: str | None,
) -> Prepared:
    start = images.new_images(folder, len(chosen), size)
    decoded: dict[int, _Decoded] = {}
    reasons: dict[int, str] = {}
    source = _Source(catalogue.load, catalogue.uncover, test_from=int((chosen["split"] != "test").sum()))
    decoding = _decode(source, chosen["index"].tolist(), _Array(folder, start, size), workers, start_method)
    with closing(decoding), tqdm(total=len(chosen), unit=" images", disable=None) as bar:
        for row, outcome in decoding:
            bar.update()
            if isinstance(outcome, str):
                reasons[row] = outcome
                if len(reasons) > data.max_unreadable:
                    raise _too_many_unreadable(chosen, reasons, data.max_unreadable)
            else:
                decoded[row] = outcome

    class_names = [catalogue.class_names[label] for label in classes]
    kept = np.array(sorted(decoded), np.int64)
    _check_every_class(chosen.iloc[kept], class_names)
    copies = duplicates.find(chosen.iloc[kept], [decoded[row].digest for row in kept])
    of_kept = [chosen[name].iloc[kept].tolist() for name in ("file", "split", "class")]
    _write_lines(folder / "duplicates.txt", copies.lines(*of_kept))
    kept = np.delete(kept, list(copies.dropped))
    pixels = np.load(folder / "images.npy", mmap_mode="r")
    pairs = near_duplicates.find(pixels, kept, chosen["split"].iloc[kept].tolist())
    split_of: dict[int, str] = dict(enumerate(chosen["split"]))
    dropped = near_duplicates.to_drop(pairs, split_of) if data.drop_near_duplicates else {}
    near = near_duplicates.counts(pairs, split_of)
    near_duplicates.write(folder, pairs, set(dropped), chosen, pixels)
    del pixels
    kept = np.setdiff1d(kept, list(dropped))
    table = chosen.iloc[kept].drop(columns="index").reset_index(drop=True)
    _check_every_class(table, class_names, " and are no copies of a later split's")
    if len(kept) < len(chosen):
        _close_gaps(folder, kept, size)
    table.insert(1, "row", np.arange(len(table)))
    table[BOX_COLUMNS] = np.stack([decoded[row].box for row in kept])
    table["covered"] = [decoded[row].covered for row in kept]
    images.save_table(folder, table, class_names)
    of_test = [decoded[row].uncovered for row in kept[(table["split"] == "test").to_numpy()]]
    uncovered = {row: found for row, found in enumerate(of_test) if found is not None}
    files.write_arrays(
        folder / images.UNCOVERED,
        rows=np.array(list(uncovered), np.int64),
        images=np.array(list(uncovered.values()), np.uint8).reshape(-1, size, size, 3),
    )

    said = [
        *catalogue.remarks,
        *remarks.alike_classes(class_names),
        *remarks.too_dark([peak for row in kept if (peak := decoded[row].deep_peak) is not None]),
        *remarks.unequal(table, class_names),
    ]
    unreadable = {chosen["file"][row]: reasons[row] for row in sorted(reasons)}
    _write_lines(folder / "unreadable.txt", [f"{file}: {reason}" for file, reason in unreadable.items()])
    summary.write(
        folder,
        table,
        class_names,
        size,
        colour_sums=np.array([decoded[row].colour_sum for row in kept]),
        original_sizes=np.array([decoded[row].original_size for row in kept]),
        unreadable=len(unreadable),
        ignored=catalogue.ignored,
        duplicates=copies.counts,
        two_labels=len(copies.two_labels),
        near_duplicates=near,
        near_duplicates_dropped=len(dropped),
        made=catalogue.made,
        remarks=said,
    )
    return Prepared(
        table, size, carved(catalogue), unreadable, catalogue.ignored,
        copies.counts, len(copies.two_labels), near, len(dropped), said,
    )  # fmt: skip


def choose_classes(catalogue: Catalogue, wanted: int | list[str] | None) -> list[int]:
    """The catalogue's labels of the wanted classes (data.classes); the position in this list is the new label.

    Raises:
        UserError: the source has fewer classes, or lacks a named one.
    """
    have = len(catalogue.class_names)
    if have < 2:
        raise UserError(f"the source's only class is {catalogue.class_names[0]!r}; at least 2 are needed")
    if wanted is None:
        return list(range(have))
    if isinstance(wanted, int):
        if wanted > have:
            raise ParameterError(f"data.classes is {wanted}; the source has {have}, so 2 to {have} are allowed")
        return list(range(wanted))
    wanted = [composed(name) for name in wanted]
    label_of = {composed(key): label for label, key in enumerate(catalogue.class_keys)}
    label_of |= {composed(name): label for label, name in enumerate(catalogue.class_names)}
    for name in wanted:
        if name not in label_of:
            some = ", ".join(catalogue.class_names[:20]) + ", ..." * (have > 20)
            close = " or ".join(map(repr, look_alikes(name, label_of)))
            meant = f", but {close}" if close else ""
            raise ParameterError(f"data.classes: the source has no class {name!r}{meant}; allowed: {some}")
    labels = list(dict.fromkeys(label_of[name] for name in wanted))
    if len(labels) < 2:
        raise ParameterError(f"data.classes names one class twice, {wanted}; at least 2 are needed")
    return labels


def carved(catalogue: Catalogue) -> tuple[str, ...]:
    """The splits that the source lacks; they are taken from its training images."""
    return tuple(split for split in ("validation", "test") if split not in catalogue.splits)


def choose(catalogue: Catalogue, classes: list[int], data: DataParams) -> pd.DataFrame:
    """Split the images of some classes at random; the same seed gives the same splits.

    Each class is split on its own. So all splits have the same class proportions, and another choice of classes does
    not change the split of a class. data.images_per_class limits the images per class in each of the source's own
    splits, before the missing splits are taken from them: from a source without splits it takes that many images of
    each class in total.

    Args:
        classes: labels of the catalogue.

    Returns:
        Columns split, label (position in `classes`), class, file and index (in the catalogue); sorted by split (train,
        validation, test), label and index.

    Raises:
        UserError: a class has no image in one of the splits.
    """
    own = np.array(["train" if split is None else split for split in catalogue.splits])
    of_split = {split: own == split for split in SPLITS}
    to_carve = carved(catalogue)
    parts = []
    for label, original in enumerate(classes):
        of_class = catalogue.labels == original
        rng = np.random.default_rng([data.seed, zlib.crc32(catalogue.class_keys[original].encode())])
        taken = {
            split: rng.permutation(np.flatnonzero(of_class & of_split[split]))[: data.images_per_class]
            for split in SPLITS
        }
        if "test" in to_carve:
            taken["test"], taken["train"] = _carve(taken["train"], data.test_fraction)
        if "validation" in to_carve:
            taken["validation"], taken["train"] = _carve(taken["train"], data.validation_fraction)
        parts += [pd.DataFrame({"split": split, "label": label, "index": taken[split]}) for split in SPLITS]
    rows = pd.concat(parts)
    class_names = [catalogue.class_names[label] for label in classes]
    _check_every_class(rows, class_names)
    rows["class"] = [class_names[label] for label in rows["label"]]
    rows["file"] = [catalogue.files[index] for index in rows["index"]]
    order = np.lexsort((rows["index"], rows["label"], rows["split"].map(SPLITS.index)))
    return rows.iloc[order].reset_index(drop=True)


def _carve(pool: np.ndarray, fraction: float) -> tuple[np.ndarray, np.ndarray]:
    """Split a shuffled pool: a fraction of it, at least one image, and the rest."""
    count = max(1, round(fraction * len(pool)))
    return pool[:count], pool[count:]


def _check_every_class(rows: pd.DataFrame, class_names: list[str], condition: str = "") -> None:
    counts = rows.groupby(["label", "split"]).size()
    for label, name in enumerate(class_names):
        of_split = {split: counts.get((label, split), 0) for split in SPLITS}
        if not all(of_split.values()):
            found = ", ".join(f"{count:,} {split}" for split, count in of_split.items())
            close = " and ".join(map(repr, look_alikes(name, class_names)))
            also = f" (a class of another name is {close})" if close else ""
            raise UserError(
                f"class {name!r} has {found} images that can be used{condition}{also}; "
                "at least 1 is needed in each split"
            )


class _Decoded(NamedTuple):
    """A worker's facts about an image that it has written.

    Attributes:
        box: float32 [4], in pixels of the prepared image.
        digest: a hash of the prepared pixels.
        colour_sum: int64 [3], the sums of the prepared pixels' red, green and blue.
        original_size: width and height as stored.
        deep_peak: the largest prepared value, 0..255, of an image stored with 16 bits a channel; None for others.
        covered: the share of the object that a thing in front of it covers, 0..1; NaN where unknown.
        uncovered: uint8 [size, size, 3], a partly covered test image without that thing; None for others.
    """

    box: np.ndarray
    digest: bytes
    colour_sum: np.ndarray
    original_size: tuple[int, int]
    deep_peak: int | None
    covered: float
    uncovered: np.ndarray | None


class _Source(NamedTuple):
    """What a worker needs of the catalogue.

    Attributes:
        load, uncover: the catalogue's.
        test_from: the first row of a test image; those of the other splits come before it.
    """

    load: Load
    uncover: Uncover | None
    test_from: int


@dataclass(frozen=True)
class _Array:
    """images.npy while it is filled.

    Attributes:
        folder: where it lies.
        start: place of the first image in the file, in bytes.
        size: height and width of the images, in pixels.
    """

    folder: Path
    start: int
    size: int

    def open(self) -> BinaryIO:
        """The file, for `write`."""
        return (self.folder / "images.npy").open("rb+")

    def write(self, file: BinaryIO, row: int, pixels: np.ndarray) -> None:
        """Write an image, uint8 [size, size, 3], to its row."""
        file.seek(self.start + row * pixels.nbytes)
        file.write(np.ascontiguousarray(pixels).data)


def _decode(
    source: _Source, indexes: list[int], array: _Array, workers: int | None, start_method: str | None
) -> Generator[tuple[int, _Decoded | str]]:
    """Fill images.npy. Worker processes write into the file themselves, so no pixels are sent between processes.

    Pictures are loaded in the catalogue's order, not by class, so that a source of large files is read forwards.

    Yields:
        The row, and the facts about its image, or why it can't be decoded.
    """
    order = np.argsort(indexes, kind="stable").tolist()
    rows = [order[first : first + CHUNK] for first in range(0, len(order), CHUNK)]
    chunks = [[indexes[row] for row in chunk] for chunk in rows]
    pool = parallel.pool(
        len(chunks), workers=workers, start_method=start_method, initializer=_start_worker, initargs=(source, array)
    )
    if pool is None:
        yield from _decode_here(source, array, rows, chunks)
        return
    try:
        for chunk, outcomes in zip(rows, pool.map(_decode_chunk, rows, chunks), strict=True):
            yield from zip(chunk, outcomes, strict=True)
    except BrokenProcessPool as error:
        raise UserError("a process that decodes images was stopped; is memory or disk space short?") from error
    finally:
        pool.shutdown(cancel_futures=True)


def _decode_here(
    source: _Source, array: _Array, rows: list[list[int]], chunks: list[list[int]]
) -> Generator[tuple[int, _Decoded | str]]:
    """`_decode` without workers: a notebook, or a script on a platform that spawns, can't always start workers."""
    global _source, _array
    with warnings.catch_warnings():
        _start_worker(source, array)
        try:
            for chunk, indexes in zip(rows, chunks, strict=True):
                yield from zip(chunk, _decode_chunk(chunk, indexes), strict=True)
        finally:
            del _source, _array


# What a worker process keeps between its chunks.
_source: _Source
_array: _Array


def _start_worker(source: _Source, array: _Array) -> None:
    """Set up a worker process."""
    global _source, _array
    _source, _array = source, array
    # Pillow warns about broken EXIF blocks, for example, which would break the progress bar.
    warnings.filterwarnings("ignore", module="PIL")


def _decode_chunk(rows: list[int], indexes: list[int]) -> list[_Decoded | str]:
    """Decode the catalogue's pictures `indexes` into `rows`.

    Returns:
        For each picture its facts, or why it can't be decoded.
    """
    with _array.open() as file:
        return [_decode_one(row, index, file) for row, index in zip(rows, indexes, strict=True)]


def _decode_one(row: int, index: int, file: BinaryIO) -> _Decoded | str:
    try:
        image, box = _source.load(index)
        original_size, deep = image.size, is_16_bit(image)  # decoding may change them
        pixels, box = square(image, box, _array.size)
    except UnreadableError as error:
        return str(error)
    _array.write(file, row, pixels)
    covered, uncovered = np.nan, None
    if _source.uncover:
        share, without = _source.uncover(index)
        covered = round(share, 4)
        if covered > 0 and row >= _source.test_from:
            uncovered = square(without, box, _array.size)[0]
    # Sum over whole rows first: this adds neighbours in memory and takes a tenth of the time.
    by_column = pixels.reshape(len(pixels), -1).sum(axis=0, dtype=np.uint32)
    colour_sum = by_column.reshape(-1, 3).sum(axis=0, dtype=np.int64)
    digest = hashlib.sha256(np.ascontiguousarray(pixels).data).digest()
    peak = int(pixels.max()) if deep else None
    return _Decoded(box, digest, colour_sum, original_size, peak, covered, uncovered)


def _write_lines(path: Path, lines: list[str]) -> None:
    files.write_text(path, "".join(f"{line}\n" for line in lines))


def _too_many_unreadable(chosen: pd.DataFrame, reasons: dict[int, str], allowed: int) -> ParameterError:
    shown = [f"\n  {chosen['file'][row]}: {reason}" for row, reason in list(reasons.items())[:MAX_SHOWN]]
    return ParameterError(
        f"data.max_unreadable is {allowed}, and more images than that can't be decoded; the first are:" + "".join(shown)
    )


def _close_gaps(folder: Path, kept: np.ndarray, size: int) -> None:
    """Rewrite images.npy with the rows `kept` [M] only."""
    with files.filling(folder, last="images.npy") as part:
        before = np.load(folder / "images.npy", mmap_mode="r")
        after = _Array(part, images.new_images(part, len(kept), size), size)
        with after.open() as file:
            for row, old in enumerate(kept):
                after.write(file, row, before[old])
        del before  # Windows replaces no file that is mapped
