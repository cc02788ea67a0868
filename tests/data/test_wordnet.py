"""The words of WordNet ids."""

from __future__ import annotations

import hashlib
import zipfile

from graybox.data.sources import folder
from graybox.data.sources.wordnet import WORDS, readable_names
from tests.data.test_sources import REAL_ZIP, InMemory, needs_real_zip


def test_there_are_a_hundred_ids_with_a_word_each():
    """The digest is of the ids in order: one that is added, lost or mistyped changes it."""
    assert len(WORDS) == len(set(WORDS.values())) == 100
    assert list(WORDS) == sorted(WORDS)
    assert hashlib.sha256(" ".join(WORDS).encode()).hexdigest()[:16] == "b9498a19cb394a2b"


@needs_real_zip
def test_they_agree_with_tiny_imagenets():
    with zipfile.ZipFile(REAL_ZIP) as archive:
        listing = next(name for name in archive.namelist() if name.endswith("words.txt"))
        rows = [line.split("\t") for line in archive.read(listing).decode().splitlines()]
    theirs = {wnid: words.split(",")[0] for wnid, words in rows if wnid in WORDS}
    assert len(theirs) >= 25
    assert theirs == {wnid: WORDS[wnid] for wnid in theirs}


def test_folders_called_by_ids_get_words_and_others_keep_their_names():
    names = ["n02129165/1.jpg", "n99999999/1.jpg", "cats, dogs/1.jpg"]
    catalogue = folder.catalogue(InMemory(dict.fromkeys(names, b"")))
    assert catalogue.class_keys == ["cats, dogs", "n02129165", "n99999999"]
    assert catalogue.class_names == ["cats, dogs", "lion", "n99999999"]


def test_a_sources_own_words_come_first():
    assert readable_names(["n02129165", "n01558993"], {"n02129165": "big cat, lion"}) == ["big cat", "robin"]


def test_a_folder_called_like_the_word_stays_apart():
    assert len(set(readable_names(["lion", "n02129165"]))) == 2
