"""mini-ImageNet from the hub: the real client against a loopback hub, and the parquet shards."""

from __future__ import annotations

import errno
import io
import json
import os
import pickle
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from graybox.data import images, sources
from graybox.data.params import MiniImagenetParams
from graybox.data.prepare import prepare
from graybox.data.sources import UnreadableError, hub, mini_imagenet, shards
from graybox.errors import UserError
from tests.support.basics import ROOT
from tests.support.loopback import Fault, Server, served

REPOSITORY = "someone/mini-imagenet"
REVISION = "0123456789abcdef0123456789abcdef01234567"
WNIDS = ["n01532829", "n02129165", "n13133613"]
WORDS = ["house finch", "lion", "ear"]
SPLITS = ("train", "validation", "test")
TRAIN = [f"train-{number:05d}-of-00003.parquet" for number in range(3)]
PAGE = b"<!doctype html><title>Please log in</title>"


# --- shards to serve ----------------------------------------------------------------------------------------------


def jpeg(colour: tuple[int, int, int], noise: int = 0) -> bytes:
    """A picture of nearly one colour; `noise` makes its bytes its own."""
    shades = np.random.default_rng(noise).integers(0, 8, (24, 24, 3))
    buffer = io.BytesIO()
    Image.fromarray((np.array(colour) + shades).astype(np.uint8)).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def colour(label: int, number: int) -> tuple[int, int, int]:
    """What tells a picture from all others: its class in the red, its number in green and blue."""
    return 60 * label + 40, 40 * (number % 6), 40 * (number // 6)


def shard_bytes(
    pictures: list[bytes | None], labels: list[int | None], names=WNIDS, *, rows: int = 4, page: int = 1024
) -> bytes:
    """A shard in the layout of the hub's image data sets, `rows` rows to a row group and `page` to a page."""
    paths = [f"{number}.JPEG" for number in range(len(pictures))]
    image = pa.StructArray.from_arrays([pa.array(pictures, pa.binary()), pa.array(paths)], ["bytes", "path"])
    features = {"image": {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    schema = pa.schema([("image", image.type), ("label", pa.int64())], metadata=metadata)
    buffer = io.BytesIO()
    table = pa.table([image, pa.array(labels, pa.int64())], schema=schema)
    pq.write_table(table, buffer, row_group_size=rows, write_batch_size=page, use_dictionary=False)
    return buffer.getvalue()


def shuffled_labels(split: str, per_class: int = 10) -> np.ndarray:
    return np.random.default_rng(SPLITS.index(split)).permutation(np.repeat(np.arange(len(WNIDS)), per_class))


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    """A data set's files: its pictures are in no order, and each has a colour of its own within its split."""
    found = {"README.md": b"# Photographs"}
    for split, count in zip(SPLITS, (3, 1, 1), strict=True):
        labels = shuffled_labels(split)
        first = 100 * SPLITS.index(split)  # so that no picture is a duplicate of another split's
        pictures = [jpeg(colour(label, number), first + number) for number, label in enumerate(labels)]
        for shard, part in enumerate(np.array_split(np.arange(len(labels)), count)):
            content = shard_bytes([pictures[number] for number in part], labels[part].tolist())
            found[f"data/{split}-{shard:05d}-of-{count:05d}.parquet"] = content
    return found


@pytest.fixture
def server(loopback, files, monkeypatch):
    """A hub that has them."""
    monkeypatch.setattr(time, "sleep", lambda _: None)  # between tries, ours and the client's
    monkeypatch.setenv("HF_ENDPOINT", loopback.url)
    loopback.play_hub(REPOSITORY, REVISION, files)
    return loopback


def options(**changes) -> MiniImagenetParams:
    values = {"image_size": 24, "path": None, "repository": REPOSITORY, "revision": REVISION, "boxes": None}
    return MiniImagenetParams(**{**values, **changes})


def resolved(name: str) -> str:
    """Where the hub serves a shard."""
    return f"/datasets/{REPOSITORY}/resolve/{REVISION}/data/{name}"


LISTING = f"/api/datasets/{REPOSITORY}/tree/{REVISION}/data"


class Place:
    """Folders for a download."""

    def __init__(self, root: Path) -> None:
        self.raw, self.partial, self.prepared = root / "raw", root / "downloads", root / "prepared"

    def download(self, **changes) -> dict:
        return sources.download("mini_imagenet", options(**changes), self.raw, self.partial)

    def open(self) -> sources.Catalogue:
        return sources.open("mini_imagenet", options(), self.raw, 0)

    def fails(self) -> str:
        """The sentence that a download ends with."""
        with pytest.raises(UserError) as caught:
            self.download()
        assert "\n" not in str(caught.value)
        assert not (self.raw / "source.json").exists()
        return str(caught.value)

    def contents(self) -> dict[str, bytes]:
        return {f"data/{path.name}": path.read_bytes() for path in self.raw.glob("*.parquet")}


@pytest.fixture
def place(tmp_path) -> Place:
    return Place(tmp_path)


def shards_of(files: dict[str, bytes]) -> dict[str, bytes]:
    return {name: content for name, content in files.items() if name.endswith(".parquet")}


def fetched(server: Server) -> list[int]:
    """How often each shard of train was asked for."""
    return [len(server.asked(name)) for name in TRAIN]


# --- downloading --------------------------------------------------------------------------------------------------


def test_everything_arrives_and_prepares(server, files, place, params):
    facts = place.download()
    assert place.contents() == shards_of(files)
    assert facts["bytes"] == sum(map(len, shards_of(files).values()))
    assert not server.asked("README.md")

    data = params.data.model_copy(update={"source": "mini_imagenet", "images_per_class": None, "classes": None})
    place.prepared.mkdir()
    prepared = prepare(place.open(), data, 24, place.prepared, workers=2)
    assert prepared.table["split"].value_counts().to_dict() == dict.fromkeys(SPLITS, 30)
    assert prepared.carved == () and not prepared.unreadable
    for split in SPLITS:
        found = images.load(place.prepared, split)
        assert found.class_names == tuple(WORDS)
        labels = shuffled_labels(split)
        for pixels, label, file in zip(found.images, found.labels, found.files, strict=True):
            name, wnid, number = file.split("/")
            assert (name, wnid) == (split, WNIDS[label]) and labels[int(number)] == label
            expected = np.array(colour(label, int(number))) + 3.5
            assert np.abs(pixels.reshape(-1, 3).mean(0) - expected).max() < 4, file


def test_a_hub_that_redirects_to_its_storage_is_followed(server, files, place):
    server.files.clear()
    with served() as storage:
        server.play_hub(REPOSITORY, REVISION, files, storage)
        storage.faults[f"/data/{TRAIN[1]}"] = Fault(times=1, flip=500)
        place.download()
        assert place.contents() == shards_of(files)
        assert fetched(storage) == [1, 2, 1]
        assert fetched(server) == [0, 0, 0]


def test_no_shard_is_twice_on_disk(server, files, place):
    place.download()
    found = [path.stat() for path in place.raw.parent.rglob("*") if path.is_file()]
    stored = sum(size for _, size in {(status.st_ino, status.st_size) for status in found})
    assert stored < sum(map(len, shards_of(files).values())) + 10_000  # source.json, and the client's notes


def test_without_links_shards_are_moved(server, files, place, monkeypatch):
    def refuse(*_) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    place.download()
    assert place.contents() == shards_of(files)
    assert not list(place.partial.rglob("*.parquet"))


def test_an_emptied_folder_is_filled_without_fetching_again(server, files, place):
    """DVC empties data/raw whenever a parameter of the source has changed."""
    place.download()
    for path in place.raw.iterdir():
        path.unlink()
    place.download(image_size=32)
    assert place.contents() == shards_of(files)
    assert fetched(server) == [1, 1, 1]


def test_an_interrupted_download_goes_on_with_the_shards_that_are_there(server, files, place):
    server.faults[resolved(TRAIN[2])] = Fault(status=503)
    assert "503" in place.fails()
    assert not place.contents()
    server.faults.clear()
    server.requests.clear()
    place.download()
    assert place.contents() == shards_of(files)
    assert fetched(server) == [0, 0, 1]


KILLED = """
import os, pathlib, sys
from graybox.data import sources
from graybox.data.params import MiniImagenetParams
from graybox.data.sources import hub

fetch = hub._fetch
def fetch_until(options, shard, folder, bar, before):
    if shard.file == {file!r}:
        bar.update = lambda size: size and os._exit(9)
    fetch(options, shard, folder, bar, before)
hub._fetch = fetch_until
options = MiniImagenetParams(**{options})
sources.download("mini_imagenet", options, pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
"""


def test_a_killed_download_goes_on_with_the_shards_that_are_there(server, files, place):
    """The process dies in the middle of the second shard, and can put nothing in order."""
    program = KILLED.format(file=TRAIN[1], options=options().model_dump())
    done = subprocess.run([sys.executable, "-c", program, place.raw, place.partial], cwd=ROOT, capture_output=True)
    assert done.returncode == 9, done.stderr.decode()
    assert len(list(place.partial.rglob("*.incomplete"))) == 1
    place.download()
    assert place.contents() == shards_of(files)
    assert fetched(server) == [1, 2, 1]
    assert not list(place.partial.rglob("*.incomplete"))


@pytest.mark.parametrize(
    ("path", "fault"),
    [
        (resolved(TRAIN[1]), {"times": 1, "cut": 100}),
        (resolved(TRAIN[1]), {"times": 2, "status": 503}),
        (resolved(TRAIN[1]), {"times": 1, "method": "HEAD", "status": 503}),
        (resolved(TRAIN[1]), {"times": 1, "flip": 500}),
        (resolved(TRAIN[1]), {"times": 2, "method": None, "shorten": 50}),
        (LISTING, {"times": 2, "status": 502}),
    ],
    ids=["cut", "503", "503 for HEAD", "flipped bit", "wrong length", "502 for the list"],
)
def test_what_passes_is_got_over(server, files, place, path, fault, monkeypatch):
    from huggingface_hub import constants  # after `hub`, which sets it up

    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 64)
    server.faults[path] = Fault(**fault)
    place.download()
    assert place.contents() == shards_of(files)
    assert server.faults[path].times == 0


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ({"flip": 500}, f"{TRAIN[1]} of {REPOSITORY} came twice with another size or sha256"),
        ({"shorten": 100}, f"{TRAIN[1]} of {REPOSITORY} came twice with another size or sha256"),
        ({"body": PAGE}, f"{TRAIN[1]} of {REPOSITORY} came twice with another size or sha256"),
        ({"status": 404, "error": "EntryNotFound"}, f"doesn't have {TRAIN[1]} at this revision"),
        ({"status": 503}, "can't be fetched (503 Service Unavailable)"),
        ({"status": 403}, "can't be fetched (403 Forbidden)"),
        ({"method": "GET", "cut": 0}, "can't be fetched (the connection broke off"),
    ],
    ids=["flipped bit", "wrong length", "web page", "404", "503", "403", "cut"],
)
def test_what_stays_wrong_is_one_sentence_and_a_later_run_is_good(server, files, place, fault, told):
    server.faults[resolved(TRAIN[1])] = Fault(**{"method": None, **fault})
    sentence = place.fails()
    assert told in sentence and "sources.mini_imagenet" in sentence
    assert not place.contents()
    server.faults.clear()
    server.requests.clear()
    place.download()
    assert place.contents() == shards_of(files)
    assert fetched(server) == [0, 1, 1]


def test_a_shard_that_changed_on_disk_is_fetched_again(server, files, place):
    place.download()
    kept = next(place.partial.rglob(TRAIN[1]))
    content = bytearray(kept.read_bytes())
    content[300] ^= 1
    kept.write_bytes(content)
    server.requests.clear()
    place.download()
    assert place.contents() == shards_of(files)
    assert fetched(server) == [0, 1, 0]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        ("RevisionNotFound", f"sources.mini_imagenet.revision is '{REVISION}', which {REPOSITORY} doesn't have"),
        ("RepoNotFound", f"sources.mini_imagenet.repository is '{REPOSITORY}', which the hub doesn't have"),
        ("EntryNotFound", f"sources.mini_imagenet.repository is '{REPOSITORY}', which doesn't have the list of shards"),
    ],
)
def test_a_revision_or_repository_that_is_not_there_is_named(server, place, error, told):
    server.faults[LISTING] = Fault(status=404, error=error)
    assert told in place.fails()
    assert len(server.requests) == 1  # it is not asked for again and again


@pytest.mark.parametrize("path", [LISTING, resolved(TRAIN[1])])
def test_a_web_page_in_the_hubs_place_is_said(server, place, path):
    server.files[path] = PAGE
    server.headers.pop(path, None)
    assert "the answer isn't the hub's" in place.fails()


@pytest.mark.parametrize("without", [TRAIN[1], "test-00000-of-00001.parquet"])
def test_a_repository_without_all_shards_is_refused(server, files, place, without):
    server.play_hub(REPOSITORY, REVISION, {name: files[name] for name in files if without not in name})
    assert f"no data/{without}" in place.fails()


def test_a_name_that_the_client_refuses_is_one_sentence(server, tmp_path):
    with pytest.raises(UserError, match=r"repository is 'some--one/mini', which the hub doesn't have"):
        hub.download(options(repository="some--one/mini"), tmp_path / "raw", tmp_path / "downloads")


def test_no_connection_is_one_sentence(server, place, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert "the hub can't be reached" in place.fails()


def full_disk(*_) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_is_one_sentence(server, files, place, monkeypatch):
    needed = sum(map(len, shards_of(files).values()))
    usage = hub.shutil.disk_usage(place.raw.parent)
    with monkeypatch.context() as patch:
        patch.setattr(hub.shutil, "disk_usage", lambda _: usage._replace(free=needed - 1))
        assert "has room for" in place.fails()
    with monkeypatch.context() as patch:
        from huggingface_hub import file_download

        patch.setattr(file_download, "_chmod_and_move", full_disk)
        assert "No space left on device" in place.fails()
    place.download()
    assert place.contents() == shards_of(files)


def test_nobody_is_told_who_asks(server, place, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    place.download()
    assert server.requests
    assert not any("authorization" in map(str.lower, request.headers) for request in server.requests)
    assert not any("telemetry" in request.path for request in server.requests)
    from huggingface_hub import constants

    assert constants.HF_HUB_DISABLE_TELEMETRY


def test_the_path_decides_between_the_hub_and_classic_files(place, monkeypatch):
    taken = []
    monkeypatch.setattr(mini_imagenet.classic, "download", lambda *_: taken.append("classic") or {})
    monkeypatch.setattr(mini_imagenet.hub, "download", lambda *_: taken.append("hub") or {})
    mini_imagenet.download(options(path="here"), place.raw, place.partial)
    mini_imagenet.download(options(), place.raw, place.partial)
    assert taken == ["classic", "hub"]


def test_what_another_form_left_is_not_taken_for_shards(place):
    place.raw.mkdir()
    (place.raw / "source.json").write_text('{"source": "mini_imagenet", "archive": "train.csv"}')
    with pytest.raises(UserError, match="holds no shards"):
        place.open()


# --- reading shards -----------------------------------------------------------------------------------------------


def written(folder: Path, contents: dict[str, bytes]) -> list[Path]:
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in contents]


@pytest.fixture(scope="module")
def two_shards(tmp_path_factory) -> list[Path]:
    """Shards of 30 and 20 pictures, whose number is their gray."""
    gray = [jpeg((4 * number,) * 3, number) for number in range(50)]
    contents = {
        "train-00000-of-00001.parquet": shard_bytes(gray[:30], [0, 1, 2] * 10, rows=7),
        "test-00000-of-00001.parquet": shard_bytes(gray[30:], [0, 1] * 10, rows=40),
    }
    return written(tmp_path_factory.mktemp("shards"), contents)


def grays(load, indexes: list[int]) -> list[int]:
    """The numbers of the pictures that were loaded."""
    return [round((np.asarray(load(index)[0]).mean() - 3.5) / 4) for index in indexes]


def test_any_order_gives_the_same_pictures(two_shards):
    load = shards.catalogue(two_shards).load
    order = np.random.default_rng(0).permutation(50).tolist()
    assert grays(load, list(range(50))) == list(range(50))
    assert grays(load, order) == order
    assert np.isnan(load(3)[1]).all()


def test_copies_in_other_processes_read_on_their_own(two_shards):
    load = shards.catalogue(two_shards).load
    load(20)
    copy = pickle.loads(pickle.dumps(load))
    assert grays(copy, [21, 3, 44]) == [21, 3, 44]
    with ProcessPoolExecutor(2) as pool:
        wanted = [[5, 6], [30, 49], [0], [29]]
        assert list(pool.map(grays, [load] * 4, wanted)) == wanted


def test_pictures_are_named_by_split_class_and_number(two_shards):
    catalogue = shards.catalogue(two_shards)
    assert catalogue.files[:2] == ["train/n01532829/000000", "train/n02129165/000001"]
    assert catalogue.files[30:32] == ["test/n01532829/000000", "test/n02129165/000001"]
    assert len(set(catalogue.files)) == 50
    assert catalogue.class_names == WORDS and catalogue.class_keys == WNIDS


def test_a_preparation_reads_each_row_group_once_and_holds_a_batch(two_shards, tmp_path, params, monkeypatch):
    """However the classes lie in the shards; the pictures are decoded here, so that reading can be watched."""
    opened = []
    batches = pq.ParquetFile.iter_batches

    def watched(self, size, *, row_groups, **rest):
        opened.append(row_groups)
        for batch in batches(self, size, row_groups=row_groups, **rest):
            assert batch.num_rows <= shards.BATCH
            yield batch

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", watched)
    data = params.data.model_copy(update={"images_per_class": None, "classes": 2})
    prepared = prepare(shards.catalogue(two_shards), data, 24, tmp_path, workers=1)
    assert len(prepared.table) == 40
    assert opened == [[0], [1], [2], [3], [4], [0]]


PEAK = """
import re, sys
from pathlib import Path
from graybox.data.sources import shards

def peak():
    "In MiB. getrusage's would start from the parent's, which made the shards."
    return int(re.search("VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024

catalogue = shards.catalogue(sorted(Path(sys.argv[1]).glob("*.parquet")))
before = peak()
for index in range(len(catalogue.files)):
    catalogue.load(index)
print(len(catalogue.files), peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads a process's peak memory as Linux tells it")
def test_memory_grows_neither_with_shards_nor_with_row_groups(tmp_path):
    peaks = {}
    pictures = [jpeg((9, 9, 9)) + np.random.default_rng(number).bytes(200_000) for number in range(400)]
    for count, rows in ((1, 100), (4, 100), (1, 400)):
        folder = tmp_path / f"{count}-{rows}"
        folder.mkdir()
        content = shard_bytes(pictures[:rows], [0] * rows, rows=rows, page=10)
        for number in range(count):
            written(folder, {f"train-{number:05d}-of-{count:05d}.parquet": content})
        done = subprocess.run([sys.executable, "-c", PEAK, folder], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        loaded, peak = done.stdout.split()
        assert int(loaded) == count * rows
        peaks[count, rows] = float(peak)  # a row group of 400 has 76 MiB
    assert peaks[4, 100] < peaks[1, 100] + 20, peaks
    assert peaks[1, 400] < peaks[1, 100] + 40, peaks


def test_a_damaged_row_is_one_unreadable_picture(tmp_path):
    pictures = [jpeg((100, 100, 100)), None, b"", PAGE, jpeg((200, 200, 200))]
    paths = written(tmp_path, {"train-00000-of-00001.parquet": shard_bytes(pictures, [0, 1, 2, 0, 1])})
    load = shards.catalogue(paths).load
    for index, told in {1: "has no bytes for it", 2: "has no bytes for it", 3: "not an image"}.items():
        with pytest.raises(UnreadableError, match=told):
            load(index)
    assert load(4)[0].size == (24, 24)


def test_a_damaged_page_names_its_shard_and_leaves_the_others(tmp_path):
    content = shard_bytes([jpeg((90, 90, 90), number) for number in range(8)], [0] * 8, rows=4)
    start = pq.ParquetFile(io.BytesIO(content)).metadata.row_group(0).column(0).data_page_offset
    spoilt = content[:start] + b"\xff" * 60 + content[start + 60 :]
    [path] = written(tmp_path, {"train-00000-of-00001.parquet": spoilt})
    load = shards.catalogue([path]).load
    for index in (1, 2):
        with pytest.raises(UnreadableError, match=f"{path.name} is damaged there"):
            load(index)
    assert load(6)[0].size == (24, 24)
    path.unlink()
    with pytest.raises(UnreadableError, match=f"{path.name} is damaged there"):
        pickle.loads(pickle.dumps(load))(6)


GOOD = shard_bytes([jpeg((9, 9, 9))] * 3, [0, 1, 2])


def rewritten(change) -> bytes:
    """GOOD's table after a change to it."""
    buffer = io.BytesIO()
    pq.write_table(change(pq.read_table(io.BytesIO(GOOD))), buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "told"),
    {
        "label too large": (shard_bytes([b"", b""], [0, 3]), "has a picture with the label 3; allowed: 0 to 2"),
        "negative label": (shard_bytes([b"", b""], [0, -1]), "has a picture with the label -1; allowed: 0 to 2"),
        "no label": (shard_bytes([b"", b""], [0, None]), "has a picture without a label; allowed: 0 to 2"),
        "a name twice": (shard_bytes([b""], [0], names=["a", "a"]), "should have one name for each label"),
        "names are text": (shard_bytes([b""], [0], names="abc"), "should have one name for each label"),
        "other names": (shard_bytes([b""], [0], names=["a", "b"]), "has other class names than"),
        "no names": (rewritten(lambda table: table.replace_schema_metadata({})), "should have one name for each label"),
        "no image": (rewritten(lambda table: table.drop_columns(["image"])), "should have the columns image"),
        "no label column": (rewritten(lambda table: table.drop_columns(["label"])), "should have the columns image"),
        "half": (GOOD[: len(GOOD) // 2], "is not a whole parquet file"),
        "last byte missing": (GOOD[:-1], "is not a whole parquet file"),
        "empty": (b"", "is not a whole parquet file"),
        "web page": (PAGE, "is not a whole parquet file"),
        "not there": (None, "is not a whole parquet file"),
    }.values(),
)
def test_a_shard_that_is_not_as_it_should_be_is_named(tmp_path, content, told):
    paths = written(tmp_path, {"train-00000-of-00001.parquet": GOOD, "test-00000-of-00001.parquet": content or b""})
    if content is None:
        paths[1].unlink()
    with pytest.raises(UserError, match=told) as caught:
        shards.catalogue(paths)
    assert str(paths[1]) in str(caught.value) and "\n" not in str(caught.value)


# --- the stages ---------------------------------------------------------------------------------------------------


def stage(name: str, folder: Path) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", f"stages.{name}"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_the_stages_run_on_a_hub(server, tmp_path, raw_params):
    raw_params["data"].update(source="mini_imagenet", classes=["lion", "n13133613"], images_per_class=4)
    raw_params["sources"]["mini_imagenet"].update(path=None, repository=REPOSITORY, revision=REVISION)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(raw_params))
    server.faults[resolved(TRAIN[1])] = Fault(method=None, status=403)
    failed = stage("download", tmp_path)
    assert failed.returncode == 1 and "Traceback" not in failed.stderr
    assert failed.stderr.strip().splitlines()[-1].startswith("error: params.yaml: sources.mini_imagenet")

    server.faults.clear()
    downloaded = stage("download", tmp_path)
    assert downloaded.returncode == 0, downloaded.stderr
    assert f"mini_imagenet: {REPOSITORY} at 0123456: 0.1 MB" in downloaded.stdout
    prepared = stage("prepare", tmp_path)
    assert prepared.returncode == 0, prepared.stderr
    assert "24 images of 2 classes, 84 x 84 pixels: 8 train, 8 validation, 8 test" in prepared.stdout
    assert set(pd.read_csv(tmp_path / "data/prepared/table.csv")["class"]) == {"lion", "ear"}
