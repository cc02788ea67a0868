"""One file from the web, taken up again where it broke off if it is still the same file."""

from __future__ import annotations

import re
from pathlib import Path

import requests
from tqdm import tqdm

from graybox.errors import ParameterError

BLOCK = 1 << 16  # bytes written at a time: what a broken connection loses at most


def download(url: str, where: str, allowed: str, part: Path) -> None:
    """Download to `part`, or what is missing of it if the server says that the file is the same and can send that.

    The server's name for the version of the file (ETag, or else the date of its last change) lies beside `part`.

    Args:
        url: http or https; redirects are followed.
        where: the parameter and its value, for messages.
        allowed: "it should be ...", for messages.
        part: file that gets the bytes; what came of them stays there if the download breaks off.

    Raises:
        UserError: the server can't be reached or refuses, sends a web page, or stops too early.
        OSError: `part` can't be written.
    """
    known = _version_file(part)
    version = known.read_text("utf-8") if known.exists() and part.exists() else ""
    done = part.stat().st_size if version else 0
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={done}-", "If-Range": version} if done else {})
    try:
        with requests.get(url, headers=headers, stream=True, timeout=60) as reply:
            if done and (reply.status_code == 416 or (reply.status_code == 206 and not _goes_on(reply, done, version))):
                forget(part)  # it is of another file
                return download(url, where, allowed, part)
            if not reply.ok:
                raise ParameterError(f"{where} can't be downloaded ({reply.status_code} {reply.reason})")
            if reply.headers.get("Content-Type", "").startswith("text/html"):
                raise ParameterError(f"{where} is a web page; {allowed}")
            if reply.status_code != (206 if done else 200):
                done = 0
                if reply.status_code != 200:
                    raise ParameterError(f"{where} can't be downloaded (the server answers with {reply.status_code})")
            length = reply.headers.get("Content-Length", "")
            whole = done + int(length) if re.fullmatch("[0-9]{1,15}", length) else None
            if not done:
                forget(part)
                part.touch()
                known.write_text(_version(reply), "utf-8")
            with (
                part.open("ab") as file,
                tqdm(total=whole, initial=done, unit="B", unit_scale=True, disable=None) as bar,
            ):
                for block in reply.iter_content(BLOCK):
                    file.write(block)
                    bar.update(len(block))
    except requests.RequestException as error:
        raise ParameterError(f"{where} can't be downloaded ({_reason(error)}); try again later") from error
    got = part.stat().st_size
    if whole not in (None, got):
        raise ParameterError(f"{where} gave {got:,} of {whole:,} bytes; try again, to go on from there")


def forget(part: Path) -> None:
    """Remove a download, finished or not."""
    part.unlink(missing_ok=True)
    _version_file(part).unlink(missing_ok=True)


def _version_file(part: Path) -> Path:
    return part.with_suffix(".version")


def _version(reply: requests.Response) -> str:
    """What If-Range may ask for; empty if the server doesn't tell, or only a weak tag, good for a like file, too."""
    tag = reply.headers.get("ETag", "")
    return tag if tag.startswith('"') else reply.headers.get("Last-Modified", "")


def _goes_on(reply: requests.Response, done: int, version: str) -> bool:
    """Whether a partial reply has what comes after the first `done` bytes of the same file."""
    found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", reply.headers.get("Content-Range", ""))
    if not found or int(found[1]) != done or _version(reply) not in ("", version):
        return False
    return found[3] == "*" or int(found[2]) + 1 == int(found[3])


def _reason(error: requests.RequestException) -> str:
    if isinstance(error, requests.Timeout):
        return "the server doesn't answer"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection broke off"
    if isinstance(error, requests.exceptions.TooManyRedirects):
        return "the server redirects in circles"
    if isinstance(error, requests.ConnectionError):
        return "the server can't be reached"
    return str(error)
