"""How far all variants are: a table that is drawn anew on a terminal, lines elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

STATES = {
    "waiting": "waits",
    "started": "starts",
    "training": "trains",
    "scoring": "is scored",
    "done": "done",
    "failed": "FAILED",
    "stopped": "stopped",
}


@dataclass
class Row:
    """A variant: how many of its epochs are finished, over all seeds, and its validation accuracy (0..1) then."""

    total: int
    state: str = "waiting"
    epochs: int = 0
    accuracy: float | None = None
    starts: int = 0
    began: float = 0.0
    seconds: float = 0.0

    def now(self) -> float:
        """Seconds since it was started; at the end, what it took."""
        running = self.state not in ("waiting", "done", "failed", "stopped")
        return time.monotonic() - self.began if running else self.seconds

    def __str__(self) -> str:
        words = STATES[self.state]
        if self.state == "started" and self.starts > 1:
            words = "starts again"
        return words


class View(AbstractContextManager["View"]):
    """Shows how far variants are, from what their workers tell.

    Args:
        totals: of each variant the number of epochs, over all seeds.
        starts: how often a variant may start. One more start is taken back at once, so nothing is said of it.
    """

    def __init__(self, totals: dict[str, int], starts: int, console: Console | None = None) -> None:
        self._starts = starts
        self.rows = {name: Row(total) for name, total in totals.items()}
        self.console = console or Console()
        self._lock = threading.Lock()
        self._live = (
            Live(get_renderable=self.table, console=self.console, refresh_per_second=2)
            if self.console.is_terminal
            else None
        )

    def __enter__(self) -> View:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live:
            self._live.stop()

    def hear(self, told: dict[str, Any]) -> None:
        """Take up what a worker tells: a variant's `name` and `state`, and what else has changed."""
        with self._lock:
            row = self.rows[told["name"]]
            if row.state in ("done", "failed", "stopped"):  # told late
                return
            row.state = told["state"]
            row.epochs, row.accuracy = told.get("epochs", row.epochs), told.get("accuracy", row.accuracy)
            if row.state == "started":
                row.starts, row.began = row.starts + 1, row.began or time.monotonic()
        if row.state == "started" and row.starts <= self._starts:
            self._line(told["name"])

    def end(self, name: str, state: str) -> None:
        """A variant is "done", "failed" or "stopped"."""
        with self._lock:
            row = self.rows[name]
            row.seconds, row.state = row.now(), state
        if state != "stopped":
            self._line(name)

    def table(self) -> Table:
        """All variants, a row each."""
        table = Table("variant", "", "epochs", "validation accuracy", "time")
        for name in ("epochs", "validation accuracy", "time"):
            next(column for column in table.columns if column.header == name).justify = "right"
        with self._lock:
            for name, row in self.rows.items():
                table.add_row(name, str(row), f"{row.epochs} of {row.total}", _percent(row), _duration(row.now()))
        return table

    def _line(self, name: str) -> None:
        """Print a variant's row, where there is no table that shows it."""
        if self._live:
            return
        row = self.rows[name]
        after = f" after {_duration(row.now())}" if row.state in ("done", "failed") else ""
        shown = f", validation accuracy {_percent(row)}" if row.state == "done" and row.accuracy is not None else ""
        left = sum(other.state not in ("done", "failed") for other in self.rows.values())
        self.console.print(
            f"{name}: {row}{after}{shown}" + (f"; {left} to go" if after else ""), soft_wrap=True, markup=False
        )


def failures(lines: Mapping[str, Iterable[str]]) -> str:
    """What is said of variants that failed: each with the last lines of its output."""
    told = [f"{name} failed. Its last lines:\n" + "".join(f"    {line}\n" for line in last)
            for name, last in lines.items()]  # fmt: skip
    return "\n".join(told)


def _percent(row: Row) -> str:
    return "" if row.accuracy is None else f"{row.accuracy:.1%}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
