"""Which image a box belongs to, by the names of files."""

from __future__ import annotations

from collections import Counter, defaultdict

from graybox.data.sources.decode import EXTENSIONS

_SEVERAL = -1


def match(files: list[str], images: list[str]) -> tuple[dict[int, str], dict[str, int]]:
    """Match names that boxes are given for to images.

    A name is an image's if it ends in the same folders and file name as that image and no other: the whole path, the
    path within the split's or the class's folder, or just the file's name. Extensions only count where they tell
    images apart. But cat/1 is not dog/1.jpg, however alone that is: a folder that images have is meant.

    Args:
        files: distinct names of images, with or without extension, or of XML files.
        images: N names of images; both with / between folders.

    Returns:
        Image number in 0..N - 1 -> its name in `files`, and why others of `files` are not used -> how many.
    """
    image_of: dict[str, int] = {}
    for index, image in enumerate(images):
        for name in {image, _bare(image)}:
            for ending in _endings(name)[1:]:
                image_of[ending] = index if image_of.get(ending, index) == index else _SEVERAL
    # A whole path is that image's, even where it is the end of another's.
    bare = Counter(map(_bare, images))
    image_of |= {_bare(image): index if bare[_bare(image)] == 1 else _SEVERAL for index, image in enumerate(images)}
    image_of |= {image: index for index, image in enumerate(images)}
    folders = {folder for image in images for folder in image.split("/")[:-1]}

    ignored: Counter[str] = Counter()
    found: defaultdict[int, list[tuple[tuple[int, ...], str]]] = defaultdict(list)  # image -> how well, name
    for file in files:
        index, rank = _look_up(file, image_of, folders)
        if index is None:
            ignored["boxes of no image"] += 1
        elif index == _SEVERAL:
            ignored["boxes of several images"] += 1
        else:
            found[index].append((rank, file))
    file_of = {}
    for index, candidates in sorted(found.items()):
        highest = max(rank for rank, _ in candidates)
        best = [file for rank, file in candidates if rank == highest]
        if len(best) == 1:
            file_of[index] = best[0]
            ignored["boxes of no image"] += len(candidates) - 1
        else:
            ignored["boxes of one image in several files"] += len(candidates)
    return file_of, {reason: count for reason, count in ignored.items() if count}


def _look_up(file: str, image_of: dict[str, int], folders: set[str]) -> tuple[int | None, tuple[int, ...]]:
    """The image that has the longest ending of a name, or _SEVERAL, or None; and how good a match that is."""
    several = False
    for name in dict.fromkeys((file, _bare(file))):
        parts = name.split("/")
        for cut, ending in enumerate(_endings(name)):
            if cut and parts[cut - 1] in folders:
                break
            if (index := image_of.get(ending)) is not None:
                if index != _SEVERAL:
                    return index, (len(parts) - cut, -cut, name == file)
                several = True
                break
    return (_SEVERAL if several else None), ()


def _endings(name: str) -> list[str]:
    """a/b/c, b/c, c."""
    parts = name.split("/")
    return ["/".join(parts[cut:]) for cut in range(len(parts))]


def _bare(name: str) -> str:
    """The name without an image's or an annotation's extension."""
    for extension in (*EXTENSIONS, ".xml"):
        if name.lower().endswith(extension):
            return name[: -len(extension)]
    return name
