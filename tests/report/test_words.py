"""Words of the report that must keep up with what the study knows."""

from typing import get_args

from graybox.data.params import SourceName
from graybox.report import words


def test_every_source_of_images_has_a_name():
    assert set(words.SOURCES) == set(get_args(SourceName))
