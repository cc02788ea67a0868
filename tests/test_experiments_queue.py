"""A queued grid: the README's way to sweep, with the real dvc and its worker, on a tiny study."""

from __future__ import annotations

import csv
import io
import json
import re
import time
from pathlib import Path

import pytest
import yaml
from conftest import ROOT
from test_pipeline import Study, study  # noqa: F401 - the tiny study, reproduced and committed


def waited_for(study: Study, count: int, seconds: float = 600) -> None:
    """Until `count` experiments are done; what the worker said where one fails."""
    end = time.monotonic() + seconds
    while (status := study.dvc("queue", "status")).count("Success") < count:
        assert "Failed" not in status, status + "".join(
            study.dvc("queue", "logs", task) for task in re.findall(r"^(\w{7}) .*Failed", status, re.MULTILINE)
        )
        assert time.monotonic() < end, status
        time.sleep(2)
