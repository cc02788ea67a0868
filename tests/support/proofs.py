"""Long proofs: tests of many numbered cases, of which CI runs a tenth."""

from __future__ import annotations

import random


def chosen(cases: int, mark_expression: str) -> list[int]:
    """The numbers of the cases to run, of 0 to `cases` - 1.

    Args:
        cases: how many there are.
        mark_expression: what pytest's `-m` says. If it names `proof`, all run; else one of each ten, always the same.
    """
    if "proof" in mark_expression:
        return list(range(cases))
    draw = random.Random(cases)
    return [draw.randrange(start, min(start + 10, cases)) for start in range(0, cases, 10)]
