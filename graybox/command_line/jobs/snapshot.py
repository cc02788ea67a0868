"""What a clone is made of: the files that the stages need and none of them makes, as they are in the workspace now.

Changes that are not committed are part of it, and new files: a clone computes what the workspace says.
"""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterable
from pathlib import Path


def pack(root: Path, paths: Iterable[str], texts: dict[str, str]) -> bytes:
    """Files of a folder as a compressed tar.

    Args:
        paths: below root, with / between folders; what is missing is left out. `texts`: further files, by path.
    """
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=1, dereference=True) as tar:
        for name in sorted(set(paths)):
            if (root / name).is_file():
                tar.add(root / name, name)
        for name, text in texts.items():
            entry = tarfile.TarInfo(name)
            content = text.encode()
            entry.size, entry.mode = len(content), 0o600
            tar.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def tops(paths: Iterable[str]) -> set[str]:
    """The folders (or files) directly below the root that paths lie in.

    A stage's deps name the files that its results depend on; a module that it loads besides lies in the same folders.
    """
    return {Path(path).parts[0] for path in paths if not os.path.isabs(path) and Path(path).parts[0] != ".."}
