"""mini-ImageNet from the Hugging Face hub: parquet shards, fetched one by one and checked against the hub's records."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from tqdm import tqdm

from graybox.data.params import MiniImagenetParams
from graybox.data.sources import shards
from graybox.data.sources.catalogue import Catalogue
from graybox.errors import ParameterError, UserError

# The client reads these when it is imported. Xet is a second way to download, with faults of its own.
os.environ["HF_HUB_DISABLE_XET"] = os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

import huggingface_hub
from huggingface_hub.errors import (
    FileMetadataError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

WAITS = (1, 4, 16)  # seconds before another try, where the client gives up on a file
_SHARD = re.compile(r"data/((?:train|validation|test)-\d{5}-of-(\d{5})\.parquet)")
_KEY = "sources.mini_imagenet"
_Answer = TypeVar("_Answer")


@dataclass(frozen=True)
class Shard:
    """What the hub says about one file.

    Attributes:
        file: its name, such as train-00000-of-00013.parquet.
        bytes: its size.
        sha256: of its content, in hexadecimal digits.
    """

    file: str
    bytes: int
    sha256: str

    def agrees(self, path: Path) -> bool:
        """Whether a file is the one that the hub has: the client looks at neither size nor content."""
        if not path.is_file() or path.stat().st_size != self.bytes:
            return False
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == self.sha256


def download(options: MiniImagenetParams, raw: Path, partial: Path) -> dict[str, Any]:
    """Fetch the shards of `options.repository` at `options.revision`.

    Whole shards stay in `partial`, and `raw` has links to the same bytes: DVC empties `raw` whenever a parameter
    or a module of the sources has changed, and gigabytes shouldn't be fetched again for that. `partial` may be
    deleted at any time.

    Returns:
        What `open` needs to know, JSON-ready: the shards in order, and how large they are together.

    Raises:
        UserError: the hub can't be reached, doesn't have them, or sends something else; or the disk is full.
    """
    folder = partial / f"{options.repository.replace('/', '--')}-{options.revision[:12]}"
    # Its warnings tear up the progress bar, and ours say the same.
    huggingface_hub.logging.set_verbosity_error()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for stray in (folder / ".cache").rglob("*.incomplete"):  # what a killed process left; it is never taken up
            stray.unlink()
        wanted = _listed(options)
        _check_room(options, folder, wanted)
        with tqdm(total=sum(shard.bytes for shard in wanted), unit="B", unit_scale=True, disable=None) as bar:
            for number, shard in enumerate(wanted, start=1):
                bar.set_description(f"shard {number} of {len(wanted)}")
                _bring(options, shard, folder, bar)
        for shard in wanted:
            _place(_path(folder, shard), raw / shard.file)
    except OSError as error:
        raise UserError(
            f"{folder} can't take the shards of {options.repository} ({error.strerror or error}); "
            "it should be a folder that can be written, with room for all of them"
        ) from error
    return {
        "archive": f"{options.repository} at {options.revision[:7]}",
        "revision": options.revision,
        "bytes": sum(shard.bytes for shard in wanted),
        "shards": [asdict(shard) for shard in wanted],
    }


def open(options: MiniImagenetParams, raw: Path, seed: int) -> Catalogue:
    """What `download` brought, with the splits that the shards are named after."""
    facts = json.loads((raw / "source.json").read_text("utf-8"))
    if "shards" not in facts:
        raise UserError(f"{raw} holds no shards and {_KEY}.path is null; run `dvc repro download` first")
    return shards.catalogue([raw / shard["file"] for shard in facts["shards"]])


def _listed(options: MiniImagenetParams) -> list[Shard]:
    """The hub's record of each shard: those of train, then of validation, then of test."""
    api = huggingface_hub.HfApi(endpoint=_endpoint(), token=False)

    def ask() -> list[Any]:
        tree = api.list_repo_tree(
            options.repository, "data", recursive=True, revision=options.revision, repo_type="dataset"
        )
        return list(tree)

    found = {}
    for entry in _retried(options, "the list of shards", ask, waits=()):  # the client tries this again by itself
        match = _SHARD.fullmatch(entry.path)
        if match and getattr(entry, "lfs", None):
            found[match[1]] = Shard(match[1], entry.lfs.size, entry.lfs.sha256)
    names = []
    for split in ("train", "validation", "test"):
        count = next((int(name[-13:-8]) for name in sorted(found) if name.startswith(f"{split}-")), 1)
        names += [f"{split}-{number:05d}-of-{count:05d}.parquet" for number in range(count)]
    if missing := [name for name in names if name not in found]:
        raise ParameterError(
            f"{_KEY}.repository is {options.repository!r}, which has no data/{missing[0]} in its large-file storage; "
            "it should have such shards for train, validation and test"
        )
    return [found[name] for name in names]


def _check_room(options: MiniImagenetParams, folder: Path, wanted: list[Shard]) -> None:
    missing = sum(shard.bytes for shard in wanted if not _path(folder, shard).exists())
    free = shutil.disk_usage(folder).free
    if missing > free:
        raise UserError(
            f"{folder} has room for {free / 1e9:,.1f} GB, and {missing / 1e9:,.1f} GB of {options.repository} "
            "are still to come; make room there"
        )


def _bring(options: MiniImagenetParams, shard: Shard, folder: Path, bar: tqdm[Any]) -> None:
    """Have a shard in `folder`, the right one: it is fetched if it isn't there, and once more if it arrives wrong."""
    path = _path(folder, shard)
    before = bar.n
    if not shard.agrees(path):
        for _ in range(2):
            path.unlink(missing_ok=True)
            _retried(options, shard.file, lambda: _fetch(options, shard, folder, bar, before))
            if shard.agrees(path):
                break
        else:
            path.unlink(missing_ok=True)
            raise ParameterError(
                f"{_KEY}.repository: {shard.file} of {options.repository} came twice with another size or sha256 than "
                "the hub's record of it; try again later, to go on with the shards that are there"
            )
    bar.update(before + shard.bytes - bar.n)


def _fetch(options: MiniImagenetParams, shard: Shard, folder: Path, bar: tqdm[Any], before: float) -> None:
    class Part(tqdm):  # type: ignore[type-arg]  # which tqdm takes for the checker only
        """The client's bar for one file: it is not shown, and moves ours."""

        def __init__(self, *_: Any, **__: Any) -> None:
            super().__init__(disable=True)

        def update(self, n: float | None = 1) -> None:
            bar.update(n)

    bar.update(before - bar.n)  # an earlier try may have moved it
    huggingface_hub.hf_hub_download(
        options.repository,
        f"data/{shard.file}",
        repo_type="dataset",
        revision=options.revision,
        local_dir=folder,  # without it the client would keep a copy of its own in the user's cache
        endpoint=_endpoint(),
        token=False,
        tqdm_class=Part,
    )


def _retried(
    options: MiniImagenetParams, what: str, ask: Callable[[], _Answer], waits: tuple[int, ...] = WAITS
) -> _Answer:
    """What the hub answers, after some tries if need be."""
    for wait in (*waits, None):
        try:
            return ask()
        except RevisionNotFoundError as error:
            raise ParameterError(
                f"{_KEY}.revision is {options.revision!r}, which {options.repository} doesn't have; "
                "it should be one of its commits"
            ) from error
        except (RepositoryNotFoundError, HFValidationError) as error:
            raise ParameterError(
                f"{_KEY}.repository is {options.repository!r}, which the hub doesn't have; "
                "it should be a data set that is open to all"
            ) from error
        except RemoteEntryNotFoundError as error:
            raise ParameterError(
                f"{_KEY}.repository is {options.repository!r}, which doesn't have {what} at this revision; "
                "it should have data/train-*.parquet, data/validation-*.parquet and data/test-*.parquet"
            ) from error
        except Exception as error:  # those of the HTTP library too, and the client has changed libraries
            if isinstance(error, OSError) and error.errno and not isinstance(error, ConnectionError):
                raise  # the disk's, not the hub's
            reason, passing = _reason(error)
            if wait is None or not passing:
                raise ParameterError(
                    f"{_KEY}.repository: {what} of {options.repository} can't be fetched ({reason}); "
                    "try again later, to go on with the shards that are there"
                ) from error
            tqdm.write(f"{what}: {reason}; another try in {wait} s")
            time.sleep(wait)
    raise AssertionError("unreachable")


def _reason(error: Exception) -> tuple[str, bool]:
    """Why the hub's answer failed, and whether another try may help."""
    if isinstance(error, LocalEntryNotFoundError) and isinstance(error.__cause__, Exception):
        error = error.__cause__  # it only says that the file isn't here either
    if isinstance(error, HfHubHTTPError) and error.response is not None:
        status = error.response.status_code
        return f"{status} {error.response.reason_phrase}", status >= 500 or status in (408, 429)
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set", False
    if isinstance(error, (FileMetadataError, ValueError)):  # such as a login page of the network's
        return "the answer isn't the hub's", True
    if "Connect" in type(error).__name__:
        return "the hub can't be reached", True
    if "Timeout" in type(error).__name__:
        return "the hub doesn't answer", True
    return f"the connection broke off, {type(error).__name__}", True


def _place(source: Path, target: Path) -> None:
    """Give a file a second name (a hard link), or rename it if the file system has no links: never two copies."""
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.move(source, target)


def _path(folder: Path, shard: Shard) -> Path:
    return folder / "data" / shard.file


def _endpoint() -> str | None:
    """HF_ENDPOINT as it is now; the client would take what it was at its import."""
    return os.environ.get("HF_ENDPOINT") or None
