"""The first page: the question, and each answer as a card."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pandas as pd

from graybox.reliance.rule import NO_VERDICT
from graybox.report.document import Block, Card, Cards, Paragraph, Section
from graybox.report.results import Results
from graybox.report.words import SOURCES, count, interval, share, whole
from graybox.statistics import intervals, paired
from graybox.study import comparison
from graybox.study.names import short
from graybox.study.variants import COMBINED

MOST_LETTERS = 64
"""Of a card's result: three lines."""
WORDS_FIRST = ("max pooling", "stride")
"""Parameters whose name comes before the level: "stride 2", but "16 epochs"."""
RESTS = {
    "object": "the object",
    "context": "the surroundings",
    "both": "object and surroundings: either is enough",
    "mixed": "object and surroundings together",
    "cannot tell": "cannot tell",
}


def section(results: Results) -> Section:
    """The summary; it has no numbered figures, so that it fits a page."""
    splits = results.data["images_per_split"]
    variants, once = different(results), results.table["seeds"].max() == 1
    blocks: list[Block] = [
        Paragraph(
            "What does a convolutional neural network learn, and does it look at the object or at what surrounds it?",
            lead=True,
        ),
        Paragraph(
            f"To answer this, {count(variants, 'network')} that differ in one setting each, or in several, were "
            f"trained on {splits['train']:,} images ({SOURCES[results.source]}) of "
            f"{count(len(results.classes), 'class', 'classes')} and compared on the same {splits['test']:,} test "
            "images. Then the best one was examined: its mistakes, and its answers while a gray window hides a part "
            "of the image."
        ),
        Cards([best(results), helped(results), rests(results), mistake(results)]),
        Paragraph(
            "CI is the 95% confidence interval: how far the figure may be off because the test images are a sample."
            + " Each network was trained once; another training run can differ too." * bool(once)
        ),
    ]
    return Section("Summary", blocks)


def different(results: Results) -> int:
    """The number of networks that differ in a setting: `combined` can have those of another variant."""
    return len({recipe.model_dump_json() for recipe in map(results.recipes.__getitem__, results.table["variant"])})


def lines(results: Results) -> list[str]:
    """The same results for the terminal, a line each."""
    return [f"{card.title}: {card.value}. {card.first or card.detail.split('. ')[0].rstrip('.')}."
            for card in (best(results), rests(results), mistake(results))]  # fmt: skip


def best(results: Results) -> Card:
    """The best variant and its accuracy."""
    row, chance = results.winner, results.data["constant_answer"]["test"]
    name, accuracy = row["variant"], share(row["test_accuracy"])
    what = short(settings(results, name), MOST_LETTERS)
    detail = (
        f"The variant {name} classifies {accuracy} of {count(results.tested, 'test image')} correctly "
        f"({interval(row['test_low'], row['test_high'])})"
    )
    several = f", as a mean of {row['seeds']} training runs" if row["seeds"] > 1 else ""
    other = "" if name == results.recipes.baseline else f"The baseline: {share(results.baseline['test_accuracy'])}. "
    said = f"{detail}{several}. {other}Always giving the same answer: {share(chance)}."
    return Card("Best network", f"{what}: {accuracy}", said)


def helped(results: Results) -> Card:
    """The single change with the largest gain that the test images show."""
    title = "What helped most"
    gains = single_gains(results)
    if gains.empty:
        return Card(title, "no single change", "No change of one setting gives a gain that the test images can show.")
    row = gains.iloc[0]
    low, high = 100 * row["difference_low"], 100 * row["difference_high"]
    detail = (
        f"Points of test accuracy against the baseline (95% CI {low:.1f} to {high:.1f}; "
        f"p {paired.p_words(row['p_value'], equals='= ')}); the variant is {row['variant']}."
    )
    if len(gains) > 1:
        second = gains.iloc[1]
        detail += f" Next: {change(results, second['variant'])}, {100 * second['difference']:+.1f} points."
    changed = short(change(results, row["variant"]), MOST_LETTERS)
    return Card(title, f"{changed}: {100 * row['difference']:+.1f} points", detail)


def single_gains(results: Results) -> pd.DataFrame:
    """The rows of the variants that change one parameter and gain by it, beyond doubt, the largest gain first."""
    names = [name for name in results.recipes if results.recipes.parameter_of(name)]
    rows = results.table[results.table["variant"].isin(names) & comparison.can_win(results.table)]
    found = rows[[not comparison.doubt(row) and row["difference"] > 0 for _, row in rows.iterrows()]]
    return found.sort_values("difference", ascending=False, kind="stable")


def settings(results: Results, variant: str) -> str:
    """What sets a variant apart from the baseline, in words: "16 epochs", "5 conv layers, 48 filters, 16 epochs"."""
    base = results.recipes.baseline
    if variant == base:
        return "the baseline"
    if variant == COMBINED:
        taken = [one["variant"] for one in results.combined["levels"] if one["level"] and not one["given_up"]]
        return ", ".join(settings(results, one) for one in taken) or "the baseline's settings"
    for factor, level in _levels(results, variant):
        return _level(factor, level)
    return overrides(results, variant)


def change(results: Results, variant: str) -> str:
    """The same beside what it takes the place of: "16 epochs instead of 8"."""
    said = settings(results, variant)
    for factor, _ in _levels(results, variant):
        levels = results.levels[factor]
        reference = levels.loc[levels["is_baseline"], "level"].astype(str).iloc[0]
        if factor in WORDS_FIRST:  # "no max pooling, stride 2 everywhere instead of 2x2" leaves open instead of what
            reference = _level(factor, reference)
        return f"{said} instead of {reference}"
    return said


def _levels(results: Results, variant: str) -> list[tuple[str, str]]:
    """The parameter of which a variant is a level, of the six, and that level; empty for any other variant."""
    return [
        (factor, str(row["level"]))
        for factor, rows in results.levels.items()
        for _, row in rows[(rows["variant"] == variant) & ~rows["is_baseline"]].iterrows()
    ]


def _level(factor: str, level: str) -> str:
    """A level of one of the six parameters, with what else its lines say: "16 epochs", "max pooling 3x3 by 2"."""
    first, *others = level.split("\n")
    if factor in WORDS_FIRST:
        said = f"no {factor}" if first == "none" else f"{factor} {first}"
    else:
        number, _, more = first.partition(" ")  # "64 in each" filters
        said = f"{number} {factor if number != '1' else factor.removesuffix('s')} {more}".rstrip()
    return ", ".join([said, *others])


def overrides(results: Results, variant: str) -> str:
    """Every parameter in which a variant differs from the baseline, with its value."""
    changed = results.recipes.changes(variant)
    values = [(key, value) for section in changed.values() for key, value in section.items()]
    return ", ".join(f"{key.replace('_', ' ')} {_value(value)}" for key, value in values)


def _value(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def rests(results: Results) -> Card:
    """The verdict: the weaker claim of the two witnesses."""
    title, found = "What it rests on", results.reliance
    if not results.boxes:
        return Card(
            title,
            RESTS["cannot tell"],
            "No test image has an object box, so object and surroundings cannot be told apart.",
        )
    claim = found.get("claim", found["verdict"])
    if found["verdict"] == NO_VERDICT:
        return _undecided(title, found)
    if "object_alone" in found:
        detail = (
            f"Of {count(int(found['images']), 'image')} with an object box it recognises "
            f"{share_of(found, 'as_is')}; with only the object visible {share_of(found, 'context_hidden')}; with only "
            f"the surroundings visible {share_of(found, 'box_hidden')}. Always giving the "
            f"same answer is right in {found['chance']:.0%}."
        )
    else:
        detail = found["sentence"]
    if "swap_verdict" in found and NO_VERDICT not in (found["verdict"], found["swap_verdict"]):
        agrees = found["swap_verdict"] == found["verdict"]
        second = "agrees" if agrees else f"says “{found['swap_verdict']}”, so the more cautious of the two counts"
        detail += f" A second test, with exchanged backgrounds, {second}."
    return Card(title, RESTS.get(claim, claim), detail)


def _undecided(title: str, found: Mapping[str, Any]) -> Card:
    """The figures first, and then why they don't decide: a reader does not know the rule yet."""
    why = found["why_none"]
    value = (
        f"{found['accuracy_context_hidden']:.0%} right with the object alone, {found['accuracy_box_hidden']:.0%} "
        f"without it, chance {found['chance']:.0%}"
    )
    detail = (
        f"These are accuracies on the {count(int(found['images']), 'test image')} with an object box: "
        f"{share_of(found, 'as_is')} as they are, {share_of(found, 'context_hidden')} with only the object visible, "
        f"{share_of(found, 'box_hidden')} with only the surroundings visible. {exchanged(found)}Which of the two the "
        f"answers rest on can't be said (no verdict): {why}."
    )
    return Card(title, value, detail, first=f"No verdict, as {why}")


def exchanged(found: Mapping[str, Any]) -> str:
    """What the second test found of the surroundings, if it found something: a sentence, with a space after it."""
    if found.get("swap_gap_low", 0) <= 0:
        return ""
    low, high = 100 * found["swap_gap_low"], 100 * found["swap_gap_high"]
    return (
        f"The surroundings do count: before a background of another class {found['swap_accuracy_other']:.0%} of the "
        f"objects are recognised, {100 * found['swap_gap']:.0f} points (95% CI {low:.0f} to {high:.0f}) fewer than "
        "before one of their own class. "
    )


def share_of(found: Mapping[str, Any], hidden: str) -> str:
    """An accuracy of the verdict's with its interval, as "79% (95% CI 69 to 86)"."""
    name = f"accuracy_{hidden}"
    return f"{found[name]:.0%} ({whole(found[f'{name}_low'], found[f'{name}_high'])})"


def mistake(results: Results) -> Card:
    """The pair of classes that is confused most often, in the direction in which it is."""
    title, wrong = "Commonest mistake", results.mistakes
    if wrong.empty:
        return Card(title, "none", f"All of the {count(results.tested, 'test image')} are classified correctly.")
    pairs = Counter(zip(wrong["true_class"].astype(str), wrong["predicted_class"].astype(str)))
    (true, answer), times = pairs.most_common(1)[0]
    of = results.data["images_per_class"][true]["test"]
    rate = intervals.share(times, of)
    detail = (
        f"{times} of {of} test images of {true} ({share(rate.value)}, {interval(rate.low, rate.high)}). In all, "
        f"{len(wrong):,} of {results.tested:,} test images are misclassified."
    )
    causes = results.reasons[results.reasons["kind"].isin(["label", "picture"]) & (results.reasons["named"] > 0)]
    if not causes.empty:
        cause = causes.sort_values("named", ascending=False, kind="stable").iloc[0]
        detail += f" The most frequent cause found is “{cause['title']}” ({cause['named']} mistakes)."
    return Card(title, f"{short(true)} taken for {short(answer)}", detail)
