"""Which traits explain a network's mistakes as a group, and the reason for each mistake.

With enough traits, every image has one. So a trait becomes a reason only under two conditions: it is more frequent
among the mistakes than it should be (tested against a comparison that is not circular), and an estimated half or more
of the mistakes with it would not exist without it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.stats import fisher_exact

from graybox.mistakes.reasons_table import BY_NATURE, CORRECT, COVERED, MINOR, SUPPORTED, UNKNOWN, UNSUPPORTED
from graybox.mistakes.traits import KINDS, LABEL, PICTURE, TRAITS, Row, Trait
from graybox.statistics import paired
from graybox.statistics.intervals import percent, share

if TYPE_CHECKING:  # only its figures are needed
    from graybox.mistakes.label_suspects import LabelSuspects

NONE, NONE_TITLE = "no_reason", "no reason found"
SIGNIFICANT, MOST = 0.05, 0.5

AGAINST = {
    "correct": CORRECT,
    "expected": "the number expected without wrong labels",
    "": "",
}


@dataclass(frozen=True)
class Finding:
    """One trait over all test images; a row of the table of reasons.

    Attributes:
        reason, title, kind: the trait's.
        mistakes: how many misclassified images have the trait. `known`: for how many of them that is known.
        share, low, high: mistakes / known, with Wilson's 95% interval, 0..1.
        correct, correct_known, correct_share, correct_low, correct_high: the same for the correctly classified images.
        failing, failing_without: the error rate of the images with the trait and without it, 0..1.
        compared_with: what the test compares with.
        expected: how many mistakes with the trait to expect if it explained none, where the test compares with such a
            number; else NaN.
        strength: the share of the mistakes with the trait that would not exist without it, at most 1, NaN if not
            tested: 1 - failing_without / failing (the attributable fraction among the exposed, Miettinen 1974,
            "Proportion of disease caused or prevented"), or 1 - expected / found. It assumes that the trait is the
            cause.
        p_value: one-sided, Holm-corrected (for the number of tests) over the tested traits; NaN if not tested.
        finding: SUPPORTED, MINOR, UNSUPPORTED, BY_NATURE or UNKNOWN.
        named: for how many mistakes it is the reason.
    """

    reason: str
    title: str
    kind: str
    mistakes: int
    known: int
    share: float
    low: float
    high: float
    correct: int
    correct_known: int
    correct_share: float
    correct_low: float
    correct_high: float
    failing: float
    failing_without: float
    compared_with: str
    expected: float
    strength: float
    p_value: float
    finding: str
    named: int = 0


def explain(evidence: pd.DataFrame, labels: LabelSuspects) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Find the reasons, and name one for each mistake.

    Args:
        evidence: of N test images, from `evidence.gather`. `labels`: those given to it.

    Returns:
        The mistakes: the rows of `evidence` that are misclassified, the most confident first, with row (in the test
            split), reason (a trait's name or NONE), reason_title, because (a sentence with the figures) and
            other_reasons (titles of the others that apply, in order of precedence, joined by "; ").
        The table of reasons: one `Finding` per row, in order of precedence; the last row is NONE.
    """
    wrong = ~evidence["correct"].to_numpy()
    present = {trait.name: trait.applies(evidence) for trait in TRAITS}
    found = _corrected([_finding(trait, present[trait.name], evidence, labels) for trait in TRAITS])
    if any(one.kind == LABEL and one.finding == SUPPORTED for one in found):
        # The suspects already have a reason, and their labels' usual size or brightness says nothing about them.
        others = np.where(labels.suspect, np.nan, 1.0)
        usable = {t.name: present[t.name] * (1 if t.kind == LABEL else others) for t in TRAITS}
        found = _corrected([_finding(trait, usable[trait.name], evidence, labels) for trait in TRAITS])
    tier = {KINDS[place]: place for place in range(len(KINDS))}
    # A stable sort: it keeps the order of TRAITS where strengths are equal or the kind has none.
    found = sorted(found, key=lambda one: (tier[one.kind], -np.nan_to_num(one.strength) * (one.kind == PICTURE)))
    by_name = {trait.name: trait for trait in TRAITS}
    mistakes = evidence[wrong].drop(columns="correct").reset_index(names="row")
    named = []
    for row in mistakes.to_dict("records"):
        here = [one for one in found if present[one.reason][row["row"]] == 1 and not _refuted(one.reason, row)]
        reasons = [one for one in here if one.finding in (SUPPORTED, BY_NATURE)]
        also = [*reasons[1:], *(one for one in here if one.finding == MINOR)]
        first = reasons[0] if reasons else None
        named.append(
            {
                "reason": first.reason if first else NONE,
                "reason_title": first.title if first else NONE_TITLE,
                "because": _sentence(by_name[first.reason], first, row) if first else _no_reason(row),
                "other_reasons": "; ".join(one.title for one in also),
            }
        )
    columns = ["reason", "reason_title", "because", "other_reasons"]
    mistakes = mistakes.join(pd.DataFrame(named, columns=columns, index=mistakes.index, dtype=object))
    mistakes = mistakes.sort_values("predicted_probability", ascending=False, kind="stable", ignore_index=True)
    counts = mistakes["reason"].value_counts()
    table = pd.DataFrame([{**asdict(one), "named": int(counts.get(one.reason, 0))} for one in found])
    rest: dict[str, object] = {"reason": NONE, "title": NONE_TITLE, "kind": "", "compared_with": "", "finding": ""}
    rest |= {"mistakes": int(counts.get(NONE, 0)), "known": len(mistakes), "named": int(counts.get(NONE, 0))}
    rest |= {"correct": 0, "correct_known": 0}  # whole numbers, as in the other rows
    return mistakes, pd.concat([table, pd.DataFrame([rest])], ignore_index=True)


def _refuted(reason: str, row: Row) -> bool:
    """Whether the picture without this is known to be misclassified too."""
    return reason == COVERED and row["uncovered_class"] not in ("", row["true_class"])


def _finding(trait: Trait, present: np.ndarray, evidence: pd.DataFrame, labels: LabelSuspects) -> Finding:
    wrong, known, with_it = ~evidence["correct"].to_numpy(), ~np.isnan(present), present == 1
    a, b = int((wrong & with_it).sum()), int((wrong & known & ~with_it).sum())
    c, d = int((~wrong & with_it).sum()), int((~wrong & known & ~with_it).sum())
    failing, without = share(a, a + c).value, share(b, b + d).value
    strength = p_value = expected = np.nan
    if not known.any():
        finding = UNKNOWN
    elif not trait.tested:
        finding = BY_NATURE
    else:
        finding = UNSUPPORTED
        if trait.tested == "correct":
            p_value = float(fisher_exact(np.array([[a, b], [c, d]]), alternative="greater").pvalue)
            strength = 1 - without / failing if a and b + d else np.nan
        else:
            suspects, expected = int(labels.suspect.sum()), labels.expected
            p_value, strength = labels.p_value, 1 - labels.expected / suspects if suspects else np.nan
    mine, theirs = share(a, a + b), share(c, c + d)
    return Finding(
        trait.name, trait.title, trait.kind, a, a + b, mine.value, mine.low, mine.high,
        c, c + d, theirs.value, theirs.low, theirs.high, failing, without, AGAINST[trait.tested], expected, strength,
        p_value, finding,
    )  # fmt: skip


def _corrected(found: list[Finding]) -> list[Finding]:
    """The same with p-values corrected for the number of tests, and the findings updated."""
    tested = [one for one in found if not np.isnan(one.p_value)]
    p_values = dict(zip([one.reason for one in tested], paired.holm([one.p_value for one in tested])))
    corrected = []
    for one in found:
        values = asdict(one)
        if one.reason in p_values:
            values["p_value"] = p_values[one.reason]
            if values["p_value"] < SIGNIFICANT:
                values["finding"] = SUPPORTED if one.strength >= MOST else MINOR
        corrected.append(Finding(**values))
    return corrected


def _sentence(trait: Trait, finding: Finding, row: Row) -> str:
    said = f"{trait.title}: {trait.says(row)}"
    if trait.tested == "correct" and trait.kind == PICTURE:
        said += f" (of such images {percent(finding.failing)} fail, of the others {percent(finding.failing_without)})"
    return said


def _no_reason(row: Row) -> str:
    place = "second" if row["rank"] == 2 else f"number {row['rank']}"
    return (
        f"{NONE_TITLE}: the true class is {place} with {percent(row['true_probability'])}, "
        f"{row['predicted_class']} has {percent(row['predicted_probability'])}"
    )
