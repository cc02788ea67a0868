"""The project can be cloned and its code loaded on Windows and macOS too, and no text depends on the system's encoding.

What can't be tried here is looked at in the sources: no module or function that only POSIX systems have is used without
asking first, and no path of one system is written down. ruff (PLW1514) and the pipeline's test look after encodings.
"""

from __future__ import annotations

import ast
import re
import subprocess
from collections import Counter
from pathlib import Path, PurePosixPath

import pytest

from tests.support.basics import ROOT

POSIX_MODULES = {
    "crypt", "fcntl", "grp", "nis", "posix", "pty", "pwd", "resource", "spwd", "syslog", "termios", "tty", "_posixshmem"
}  # fmt: skip
# What `os` and `signal` have on POSIX systems only; a file that uses one asks with hasattr or for sys.platform.
POSIX_NAMES = {
    "chown", "chroot", "fork", "forkpty", "geteuid", "getgid", "getgroups", "getloadavg", "getpgid", "getuid", "killpg",
    "lchown", "mkfifo", "mknod", "nice", "posix_fadvise", "posix_fallocate", "pread", "pwrite", "sched_getaffinity",
    "sched_setaffinity", "sendfile", "setpgid", "setsid", "statvfs", "sysconf", "uname", "wait3", "wait4", "SIGALRM",
    "SIGHUP", "SIGKILL", "SIGQUIT", "SIGUSR1", "SIGUSR2", "alarm",
}  # fmt: skip
# Names that are devices on Windows, whatever suffix follows, and characters that no name may have there.
FORBIDDEN = re.compile(r'(?i:(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?)|.*([<>:"\\|?*\x00-\x1f].*|[. ])')

SOURCES = [path for room in ("graybox", "stages") for path in sorted((ROOT / room).rglob("*.py"))]


def posix_only(source: str) -> set[str]:
    """What only POSIX systems have and a source uses without asking."""
    tree = ast.parse(source)
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names} & POSIX_MODULES
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module} & POSIX_MODULES
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.attr in POSIX_NAMES:
            name = f"{node.value.id}.{node.attr}"
            asked = f'hasattr({node.value.id}, "{node.attr}")' in source or "sys.platform" in source
            found |= set() if asked or node.value.id not in ("os", "signal") else {name}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found |= set(re.findall(r"^(?:/(?:dev|etc|home|proc|sys|tmp|usr|var)(?:/|$)|[A-Za-z]:\\)", node.value))
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_source_needs_a_posix_system(path: Path) -> None:
    assert posix_only(path.read_text("utf-8")) == set()


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("import fcntl", {"fcntl"}),
        ("from resource import getrusage", {"resource"}),
        ("import os\nos.sched_getaffinity(0)", {"os.sched_getaffinity"}),
        ('import os\nhasattr(os, "sched_getaffinity") and os.sched_getaffinity(0)', set()),
        ("open('/dev/shm/x')", {"/dev/"}),
        ("open('data/dev/x')", set()),
    ],
)
def test_what_needs_a_posix_system_is_found(source: str, told: set[str]) -> None:
    assert posix_only(source) == told


def wrong_names(names: list[str]) -> set[str]:
    """The names that Windows forbids, and those that differ from another in case only."""
    paths = {name: PurePosixPath(name) for name in names}
    places = {place for path in paths.values() for place in (path, *path.parents)}  # each folder once
    twice = {lower for lower, count in Counter(str(place).lower() for place in places).items() if count > 1}
    forbidden = {name for name, path in paths.items() if any(FORBIDDEN.fullmatch(part) for part in path.parts)}
    alike = {
        name for name, path in paths.items() if any(str(place).lower() in twice for place in (path, *path.parents))
    }
    return forbidden | alike


def test_every_file_of_the_project_has_a_name_that_windows_allows() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    assert wrong_names(listed.strip("\0").split("\0")) == set()


@pytest.mark.parametrize("name", ["con", "docs/Aux.md", "a:b.txt", "a.", "b /c", "lpt1.yaml", "what?", "Data/x"])
def test_a_name_that_windows_forbids_is_found(name: str) -> None:
    assert wrong_names(["data/y", "console.py", "auxiliary/nul1.txt", name]) >= {name}
    assert wrong_names(["data/y", "console.py", "auxiliary/nul1.txt"]) == set()
