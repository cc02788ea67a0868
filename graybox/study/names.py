"""Names of variants, classes and files, cut to the room that there is for them."""

from __future__ import annotations


def short(name: str, most: int = 28) -> str:
    """A name in at most so many characters; "…" stands for the rest."""
    return name if len(name) <= most else name[: most - 1] + "…"


def taken_for(true: str, answer: str, most: int) -> str:
    """ "TRUE taken for ANSWER" in at most so many characters; the longer name is shortened first."""
    room = most - len(" taken for ")
    true = short(true, max(room // 2, room - len(answer)))
    return f"{true} taken for {short(answer, room - len(true))}"
