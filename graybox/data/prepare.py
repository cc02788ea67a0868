"""From a source's catalogue to the prepared images: choose classes and images, split, decode in parallel."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from graybox import files
from graybox.data import duplicates, images, near_duplicates, remarks, summary
from graybox.data.choice import carved, check_every_class, choose, choose_classes
from graybox.data.decoding import Array, Decoded, Source, decode
from graybox.data.images import BOX_COLUMNS, SPLITS
from graybox.data.params import DataParams
from graybox.data.sources.boxes import WITHOUT_BOX
from graybox.data.sources.catalogue import Catalogue
from graybox.errors import ParameterError

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
    decoded: dict[int, Decoded] = {}
    reasons: dict[int, str] = {}
    source = Source(catalogue.load, catalogue.uncover, test_from=int((chosen["split"] != "test").sum()))
    decoding = decode(source, chosen["index"].tolist(), Array(folder, start, size), workers, start_method)
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
    why = {chosen["label"][row]: f"{chosen['file'][row]}: {reasons[row]}" for row in sorted(reasons, reverse=True)}
    check_every_class(chosen.iloc[kept], class_names, unreadable=why)
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
    check_every_class(table, class_names, " and are no copies of a later split's")
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
    ignored = dict(catalogue.ignored)
    if WITHOUT_BOX in ignored:  # the source has counted all of its images, also those that are not prepared
        ignored[WITHOUT_BOX] = int(table["x0"].isna().sum())
    _write_lines(folder / "unreadable.txt", [f"{file}: {reason}" for file, reason in unreadable.items()])
    summary.write(
        folder,
        table,
        class_names,
        size,
        colour_sums=np.array([decoded[row].colour_sum for row in kept]),
        original_sizes=np.array([decoded[row].original_size for row in kept]),
        unreadable=len(unreadable),
        ignored=ignored,
        duplicates=copies.counts,
        two_labels=len(copies.two_labels),
        near_duplicates=near,
        near_duplicates_dropped=len(dropped),
        made=catalogue.made,
        remarks=said,
    )
    return Prepared(
        table, size, carved(catalogue), unreadable, ignored,
        copies.counts, len(copies.two_labels), near, len(dropped), said,
    )  # fmt: skip


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
        after = Array(part, images.new_images(part, len(kept), size), size)
        with after.open() as file:
            for row, old in enumerate(kept):
                after.write(file, row, before[old])
        del before  # Windows replaces no file that is mapped
