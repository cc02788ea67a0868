"""The results: rows in one JSON file and one Markdown table, rewritten after every row."""

from __future__ import annotations

import json
import signal
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import torch

COLUMNS = ["part", "what", "setting", "value", "unit", "note"]


class TimeIsUp(BaseException):
    """A part has used up its time. Not an Exception, so that no library's `except Exception` catches it."""


class Record:
    """Rows with the columns `COLUMNS`, in `folder`/gpu.json and gpu.md.

    Args:
        seconds: for all parts together.

    Attributes:
        machine: the text above the table.
    """

    def __init__(self, folder: Path, seconds: float) -> None:
        self.folder, self.machine, self.rows, self._part = folder, {}, [], ""
        self.started = time.perf_counter()
        self.deadline = self.started + seconds
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, what: str, setting: str, value: object, unit: str = "", note: str = "") -> None:
        self.rows.append(dict(zip(COLUMNS, (self._part, what, setting, value, unit, note))))
        self.save()
        print(f"{self._part}: {what}, {setting}: {shown(value)} {unit}  {note}", flush=True)

    def part(self, name: str, seconds: float, work: Callable[[], None]) -> None:
        """Run one part. An error, or no time left, becomes a row."""
        self._part = name
        seconds = min(seconds, self.deadline - time.perf_counter())
        started = time.perf_counter()
        if seconds < 1:
            return self.add("the whole part", "", None, note="skipped: no time left")
        try:
            with limit(seconds):
                work()
        except TimeIsUp:
            self.add("the rest of the part", "", None, note=f"stopped after {seconds:.0f} s, the time that it had")
        except Exception as error:
            self.add("the rest of the part", "", None, note=sentence(error))
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        self.machine.setdefault("seconds of each part", {})[name] = round(time.perf_counter() - started, 1)
        self.save()

    def measure(self, what: str, setting: str, unit: str, work: Callable[..., object], *arguments: object) -> object:
        """Add a row with the result of `work(*arguments)`: a value, or a value and a note; None after an error.

        On CUDA the note gives the peak of allocated memory.
        """
        before = 0
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
        try:
            value = work(*arguments)
        except Exception as error:
            self.add(what, setting, None, unit, sentence(error))
            return None
        value, note = value if isinstance(value, tuple) else (value, "")
        most = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
        peak = f"peak memory {most / 2**20:,.0f} MiB" if most > before else ""
        self.add(what, setting, value, unit, "; ".join(filter(None, (note, peak))))
        return value

    def save(self) -> None:
        self.machine["seconds"] = round(time.perf_counter() - self.started, 1)
        text = json.dumps({"machine": self.machine, "rows": self.rows}, indent=1)
        (self.folder / "gpu.json").write_text(text + "\n", "utf-8")
        (self.folder / "gpu.md").write_text(self.markdown(), "utf-8")

    def markdown(self) -> str:
        head = "".join(f"- {key}: {value}\n" for key, value in self.machine.items())
        table = pd.DataFrame([{**row, "value": shown(row["value"])} for row in self.rows], columns=COLUMNS)
        return f"{head}\n{table.to_markdown(index=False, disable_numparse=True)}\n"


def shown(value: object) -> str:
    if value is None:
        return "-"
    if not isinstance(value, float):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def sentence(error: Exception) -> str:
    """An error in one line that fits a table."""
    text = " ".join(str(error).split()).replace("|", "/")
    return f"{type(error).__name__}: {text[:200]}"


@contextmanager
def limit(seconds: float) -> Iterator[None]:
    """A context that raises TimeIsUp after `seconds`, if the system has alarms (Linux, macOS)."""
    if not hasattr(signal, "setitimer"):
        yield
        return

    def stop(*_) -> None:
        raise TimeIsUp

    before = signal.signal(signal.SIGALRM, stop)
    # Again and again: a single one may be raised where Python ignores exceptions, such as in a destructor.
    signal.setitimer(signal.ITIMER_REAL, seconds, 5)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def wait(device: torch.device) -> None:
    """Wait until the device has finished all its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_of(work: Callable[[], object], device: torch.device, rounds: int = 3, warmups: int = 1) -> float:
    """Median time of `work`, after warm-up runs."""
    for _ in range(warmups):
        work()
    times = []
    for _ in range(rounds):
        wait(device)
        started = time.perf_counter()
        work()
        wait(device)
        times.append(time.perf_counter() - started)
    return statistics.median(times)
