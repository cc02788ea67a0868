"""A2: improving the network, each parameter's best level put together, and whether the result overfits."""

from __future__ import annotations

import pandas as pd

from graybox.report.document import Block, Bullets, Numbers, Paragraph, Section
from graybox.report.results import Results
from graybox.report.summary import settings
from graybox.report.words import count, listed, share
from graybox.study import comparison
from graybox.study.variants import COMBINED

LEARNED = 0.95
"""From this accuracy on training images on, there is little left to learn from them."""
AUGMENTATION = ("flip", "shift", "zoom", "color_jitter", "cutout", "mixup")


def section(results: Results, numbers: Numbers) -> Section:
    """A2: each parameter's best level, put together, and what the result is worth."""
    choice = results.combined
    rows = []
    for level in choice["levels"]:
        changed = bool(level["level"])
        outcome = ("given up" if level["given_up"] else "taken") if changed else "the baseline's stays"
        gain = comparison.points(level["gain"], level["gain_low"], level["gain_high"]) if changed else "-"
        rows.append([level["parameter"], level["variant"], share(level["validation_accuracy"]), gain, outcome])
    blocks: list[Block] = [
        Paragraph(
            f"The best level of each parameter is chosen on the "
            f"{count(choice['validation_images'], 'validation image')}, "
            f"and the chosen levels together make the variant {COMBINED}. The baseline has "
            f"{share(choice['baseline_accuracy'])} there."
        )
    ]
    if rows:
        blocks.append(
            numbers.table(
                "Step by step: each parameter's best level on validation.",
                ["parameter", "best level", "validation accuracy", "gain, points (95% CI)", "what follows"],
                rows,
                narrow=2,
            )
        )
    blocks.append(Bullets([*results.findings["combined"], results.findings["best"], *_overfits(results)]))
    return Section("A2. Improving the network", blocks)


def _overfits(results: Results) -> list[str]:
    """Whether the best network overfits more than the baseline, and which of its changes do so alone; or nothing."""
    best, base = results.winner, results.baseline
    known = not pd.isna(best["gap"]) and not pd.isna(base["gap"])
    if best["variant"] == base["variant"] or not known or best["gap_low"] <= base["gap_high"]:
        return []
    name = best["variant"]
    said = (
        f"{name} overfits: it recognises {share(best['train_accuracy'])} of its training images and "
        f"{share(best['test_accuracy'])} of the test images. The gap between training and validation accuracy is "
        f"{_gap(best)}, the baseline's {_gap(base)}."
    )
    reasons = []
    if (more := best["parameters"] / base["parameters"]) > 1:
        reasons.append(f"{more:.1f} times the weights")
    if best["epochs"] > base["epochs"]:
        reasons.append(f"{best['epochs']:,} epochs instead of {base['epochs']:,} over the same images")
    if reasons:
        said += f" It has {listed(reasons)}, so it can learn single training images by heart."
    if name == COMBINED:
        levels = [one["variant"] for one in results.combined["levels"] if one["level"] and not one["given_up"]]
        rows = [comparison.row_of(results.table, one) for one in levels]
        wider = [f"{settings(results, row['variant'])} ({100 * row['gap']:.1f} points)" for row in rows
                 if row["gap_low"] > base["gap_high"]]  # fmt: skip
        said += f" The gap is wider with {listed(wider)} alone, too." if wider else ""
    if best["train_accuracy"] > LEARNED:
        said += (
            " Nearly all training images are learned, so more of the same can add little; more training images or "
            f"stronger augmentation may{'' if _tried(results) else ' (not tried here)'}."
        )
    return [said]


def _tried(results: Results) -> bool:
    """Whether a variant changes the training images in another way than the baseline."""
    ways = [tuple(getattr(results.recipes[name].train, way) for way in AUGMENTATION) for name in results.recipes]
    return len(set(ways)) > 1


def _gap(row: pd.Series) -> str:
    return f"{100 * row['gap']:.1f} points (95% CI {100 * row['gap_low']:.1f} to {100 * row['gap_high']:.1f})"
