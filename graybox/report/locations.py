"""Addresses and paths as a report may show them: without passwords, and without this machine's folders."""

from __future__ import annotations

import re
from pathlib import PureWindowsPath
from typing import Any

KEYS = ("path", "archive", "boxes", "weights")
"""Keys of params.yaml whose value is a place."""
HOST = r"(?P<host>\w[\w.-]*)"
URL = re.compile(
    r"(?P<scheme>https?|git|ssh)://(?:(?P<user>[^/?#]*)@)?"
    + HOST
    + r"(?P<port>:\d+)?(?P<path>/[^?#@\s\\]*)?(?:[?#][^@]*)?",
    re.IGNORECASE,
)
SHORT = re.compile(r"(?:\w[\w.-]*@)?" + HOST + r":(?!//)[^\s\\@]+")  # git's short form of ssh
OWN = re.compile(r"localhost\.?|.*\.localhost\.?|127(\.\d+){0,3}|0(\.0){0,3}", re.IGNORECASE)
"""Hosts that are this machine."""


def public(url: str) -> str:
    """An address that others can use, without password and query; "" if there is none, or it can't be told apart.

    The user is left out, too, except with ssh, in both of git's forms: a clone needs it. "" comes back for a path, for
    an address of this machine, and wherever an @ follows the host, since what precedes it could be a password.
    """
    if found := URL.fullmatch(url):
        scheme, user = found["scheme"].lower(), (found["user"] or "").partition(":")[0]
        if OWN.fullmatch(found["host"]):
            return ""
        if scheme == "ssh" and found["user"] is not None:
            if not re.fullmatch(r"\w[\w.-]*", user):
                return ""
            user += "@"
        else:
            user = ""
        return f"{scheme}://{user}{found['host']}{found['port'] or ''}{found['path'] or ''}"
    found = SHORT.fullmatch(url)
    # One letter before the colon is a drive.
    return url if found and len(found["host"]) > 1 and not OWN.fullmatch(found["host"]) else ""


def web(location: str) -> str:
    """Where images are downloaded from, as `public` shows it; "" for all but http and https."""
    return public(location) if re.match("https?://", location, re.IGNORECASE) else ""


def name(location: str) -> str:
    """The name of a file or folder, without the folders above it."""
    if "://" in location:
        location = "" if "@" in location else re.sub("[?#].*", "", location)
    last = re.split(r"[\\/:]", location.rstrip("\\/"))[-1]
    return last if last and not last.startswith("~") else "images"


def masked(values: Any) -> Any:
    """Values of params.yaml in which no place on this machine is named: such a path becomes path/to/NAME.

    Addresses come without password (`web`). A path below the study's folder stays, as does all that is no place.
    """
    if isinstance(values, dict):
        return {
            key: _place(value) if key in KEYS and isinstance(value, str) else masked(value)
            for key, value in values.items()
        }
    return [masked(value) for value in values] if isinstance(values, list | tuple) else values


def _place(location: str) -> str:
    if address := web(location):
        return address
    windows = PureWindowsPath(location)  # which knows both kinds of slash
    outside = bool(windows.anchor) or location.startswith("~") or ".." in windows.parts or ":" in location
    return f"path/to/{name(location)}" if outside else location
