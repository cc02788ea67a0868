"""Bringing a folder or an archive, from here or from the web, to where a source reads it."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from graybox.data.sources import archives
from graybox.data.sources.files import FolderFiles, ZipFiles, fingerprint
from graybox.errors import ParameterError, UserError

ALLOWED = "the path of a folder, a zip or a tar, or the http(s) URL of a zip or a tar"
ARCHIVE = "archive.zip"


def fetch(
    location: str | None,
    key: str,
    raw: Path,
    partial: Path,
    sha256: str | None = None,
    largest: int | None = None,
) -> dict[str, Any]:
    """Bring an archive into `raw`, or note where a folder is and what is in it.

    An archive, zip or tar, becomes raw/archive.zip: a copy, so that it is tracked, and found wherever the
    pipeline runs. A folder stays where it is.

    Args:
        location: a path or a URL.
        key: the parameter that `location` comes from, for messages.
        raw: folder for the archive.
        partial: folder for an unfinished download.
        sha256: of the archive, or None if it isn't to be checked.
        largest: bytes that a file in the archive may have; None = archives.MAX_FILE_BYTES.

    Returns:
        What `opened` needs to know, JSON-ready.

    Raises:
        UserError: `location` isn't what is allowed, can't be read, or isn't what `sha256` says.
    """
    if not location:
        raise ParameterError(f"{key} is {'null' if location is None else 'empty'}; it should be {ALLOWED}")
    which = f"{key} is {location!r}, which"
    try:
        if location.lower().startswith(("http://", "https://")):
            return _from_web(location, key, which, raw, partial, sha256, largest)
        path = Path(location).expanduser()
        if path.is_file():
            return _kept(path, path.name, which, raw, sha256, largest)
        if not path.is_dir():
            raise missing(location, key, ALLOWED)
        if sha256 is not None:
            raise ParameterError(f"{which} is a folder; the sha256 beside it is of an archive, and should be null")
        return {"folder": str(path.resolve()), **fingerprint(path)}
    except OSError as error:  # a full disk, among others
        raise ParameterError(f"{which} can't be read or stored ({error.strerror or error})") from error


def missing(location: str, key: str, allowed: str) -> ParameterError:
    """What to say of a path that doesn't exist: whether a URL is meant, or where a relative path was looked for.

    Args:
        location: the path.
        key: the parameter that it comes from.
        allowed: what it should be.
    """
    which = f"{key} is {location!r}, which"
    if re.match(r"[a-z][a-z0-9+.-]+:/|https?:|https?//|www[.]", location, re.IGNORECASE):  # C:/ is a drive
        return ParameterError(f"{which} is neither a path nor a URL that begins with http:// or https://")
    here = Path.cwd()
    if not location or Path(location).expanduser().is_absolute():
        where = ""
    elif ".dvc" in here.parts:
        where = (
            f" in {here} (a copy of the repository, in which `dvc exp run --temp` and --queue run: give a full path)"
        )
    else:
        where = f" in {here}"
    return ParameterError(f"{which} doesn't exist{where}; it should be {allowed}")


def opened(raw: Path, largest: int | None = None) -> FolderFiles | ZipFiles:
    """The files that `fetch` brought to `raw`, as raw/source.json describes them; `largest` is as for `fetch`.

    Raises:
        UserError: a folder is gone or has changed since.
    """
    facts = json.loads((raw / "source.json").read_text("utf-8"))
    if "folder" not in facts:
        return brought(facts, raw, largest)
    root = Path(facts["folder"])
    if not root.is_dir():
        raise UserError(f"{root} is gone, the folder of images; run `dvc repro -f download` to take another")
    found = fingerprint(root)
    if any(found[key] != facts[key] for key in found):
        raise UserError(
            f"{root} has changed since the download stage looked at it ({facts['files']:,} files then, "
            f"{found['files']:,} now); run `dvc repro -f download` to take it as it is"
        )
    return brought(facts, raw, largest)


def brought(facts: dict[str, Any], raw: Path, largest: int | None = None) -> FolderFiles | ZipFiles:
    """The files that `fetch` has just brought to `raw`, of which it said `facts`; `largest` is as for `fetch`."""
    return FolderFiles(Path(facts["folder"])) if "folder" in facts else ZipFiles(raw / ARCHIVE, largest)


def _kept(archive: Path, name: str, which: str, raw: Path, sha256: str | None, largest: int | None) -> dict[str, Any]:
    """Copy an archive into `raw`, as a zip that is safe to read."""
    kind = archives.kind(archive)
    if kind is None:
        raise ParameterError(f"{which} is neither a zip nor a tar; it should be {ALLOWED}")
    with archive.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if sha256 not in (None, digest):
        raise ParameterError(f"{which} has the sha256 {digest}; the sha256 beside it is {sha256}, and should agree")
    # Under another name until it is whole, so that what breaks off isn't taken for it.
    unfinished = raw / f"{ARCHIVE}.part"
    try:
        if kind == "tar":
            archives.tar_to_zip(archive, unfinished, largest)
        else:
            ZipFiles(archive, largest)  # a look at every entry, before anything is kept
            shutil.copyfile(archive, unfinished)
        unfinished.replace(raw / ARCHIVE)
    finally:
        unfinished.unlink(missing_ok=True)
    return {"archive": name, "bytes": archive.stat().st_size, "sha256": digest}


def _from_web(
    url: str, key: str, which: str, raw: Path, partial: Path, sha256: str | None, largest: int | None
) -> dict[str, Any]:
    """Download an archive and keep it; if that breaks off, what has come stays in `partial`."""
    from graybox.data.sources import downloads  # which needs what files on disk do without

    partial.mkdir(parents=True, exist_ok=True)
    part = partial / f"{hashlib.sha256(url.encode()).hexdigest()[:12]}.part"
    downloads.download(url, f"{key}: {url}", f"it should be {ALLOWED}", part)
    try:
        facts = _kept(part, Path(unquote(urlsplit(url).path)).name, which, raw, sha256, largest)
    except UserError:  # a whole download that isn't right would be found again, as whole, by the next try
        downloads.forget(part)
        raise
    downloads.forget(part)
    return facts
