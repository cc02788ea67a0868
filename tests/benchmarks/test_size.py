"""A made-up study passes every stage after training, and each picture is as large as a page, whatever its numbers."""

import re

import pandas as pd
import pytest
from PIL import Image
from pypdf import PdfReader

from benchmarks import size


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """Sixty classes and thirty variants, all after training, of few images; with the memory that each stage took."""
    folder = tmp_path_factory.mktemp("size")
    size.make(folder, classes=60, test=300, train=120, variants=30, seeds=2, size=48)
    return folder, {stage: size.run(folder, stage)[1] for stage in size.STAGES}


@pytest.mark.slow
def test_every_stage_passes_and_each_picture_can_be_read(large):
    folder, memory = large
    assert all(0 < most < 4 * 2**30 for most in memory.values()), memory
    pictures = {path.relative_to(folder / "plots/figures"): Image.open(path).size
                for path in (folder / "plots/figures").rglob("*.*") if path.suffix != ".svg"}  # fmt: skip
    assert len(pictures) > 40
    assert {name: shape for name, shape in pictures.items() if shape[0] > 1800 or shape[1] > 2100} == {}
    page = (folder / "report/index.html").read_text("utf-8")
    assert len(re.findall("<img ", page)) < 100 and len(page.encode()) <= 5e6
    assert len(PdfReader(folder / "report/report.pdf").pages) <= 15
    counts = pd.read_csv(folder / "plots/confusion.csv")
    assert len(counts) <= 30 * 31 and 0 < counts["images"].sum() <= 300
