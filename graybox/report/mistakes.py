"""A3: what the best network gets wrong, and why."""

from __future__ import annotations

import pandas as pd

from graybox.mistakes import reasons_table
from graybox.report.document import Block, Numbers, Paragraph, Section
from graybox.report.results import Results
from graybox.report.words import count, interval, listed, share
from graybox.statistics import intervals, paired
from graybox.study.names import short

MOST_PAIRS, MOST_REASONS = 6, 8


def section(results: Results, numbers: Numbers) -> Section:
    """The confusions, the reasons, and some of the mistakes."""
    wrong, tested, name = results.mistakes, results.tested, results.best["variant"]
    title = "A3. What the best network gets wrong"
    if wrong.empty:
        said = (
            f"{name} classifies all of the {count(tested, 'test image')} correctly, so there is no mistake to explain."
        )
        return Section(title, [Paragraph(said)])
    rate = intervals.share(len(wrong), tested)
    seed = ""
    if results.best["seeds"] > 1:
        seed = (
            f" Of its {results.best['seeds']} networks the one of seed {results.best['seed']}, the best on validation, "
            f"is examined."
        )
    blocks: list[Block] = [
        Paragraph(
            f"{name} misclassifies {len(wrong):,} of {tested:,} test images ({share(rate.value)}, "
            f"{interval(rate.low, rate.high)}).{seed} {_spread(results)}"
        ),
        *numbers.figure(_confusion_finding(results), [results.picture("confusion")], width=_width(results)),
    ]
    if len(results.confused):
        blocks.append(_pairs(results, numbers))
    blocks += [
        Paragraph(
            "Why? Something in the picture counts as a reason only if it is more frequent among the mistakes than "
            "among the correct answers (exact tests, corrected for their number by Holm's method), and if most of the "
            "mistakes with it would not exist without it. "
            f"{_labels(results)} What the networks' answers show only describes a mistake and is not tested. Each "
            "mistake gets the first of its reasons in the order of report/reasons.csv."
        ),
        _reasons(results, numbers),
        *numbers.figure(_gallery_caption(results), [results.picture("mistakes")], width=0.75),
    ]
    return Section(title, blocks)


def _width(results: Results) -> float:
    return 0.55 if len(results.classes) <= 12 else 0.9


def _spread(results: Results) -> str:
    """Which classes are hardest."""
    missed = results.mistakes.groupby("true_class", sort=False).size()
    tested = {name: counts["test"] for name, counts in results.data["images_per_class"].items()}
    rates = pd.Series({name: missed.get(name, 0) / tested[name] for name in tested if tested[name]}).sort_values()
    if len(rates) < 3 or rates.iloc[-1] == rates.iloc[0]:
        return ""
    hard = [f"{name} ({rates[name]:.0%} wrong)" for name in rates.index[::-1][:3]]
    return f"The hardest classes are {listed(hard)}; the easiest is {rates.index[0]} ({rates.iloc[0]:.0%})."


def _confusion_finding(results: Results) -> str:
    if not len(results.confused):
        return "How often each class is taken for each other one."
    pair = results.confused.iloc[0]
    return (
        f"How often each class is taken for each other one: {pair['class_a']} and {pair['class_b']} are confused most "
        f"often, {count(int(pair['together']), 'time')}."
    )


def _labels(results: Results) -> str:
    """How many labels are suspect, and what that says of them."""
    row = results.reasons[results.reasons["reason"] == "label_suspect"].iloc[0]
    if not row["mistakes"]:
        return "No label is suspect."
    found = f"{row['mistakes']:,} {'label is' if row['mistakes'] == 1 else 'labels are'} suspect"
    if row["mistakes"] <= row["expected"]:
        return f"{found}, no more than the network's own confident mistakes alone would give ({row['expected']:,.0f})."
    expected = f"{row['expected']:,.1f} are to be expected from the network's own confident mistakes alone"
    if row["finding"] == reasons_table.SUPPORTED:
        said = "so there are wrong ones among them"
    elif row["finding"] == reasons_table.MINOR:
        said = "so some may be wrong, but fewer than half of them"
    else:
        said = "so the number proves no wrong label, and single ones can't be told from confident mistakes"
    return f"{found}, {expected} (p {paired.p_words(row['p_value'], '= ')}): {said}."


def _pairs(results: Results, numbers: Numbers) -> Block:
    pairs = results.confused.head(MOST_PAIRS)
    rows = [
        [f"{pair['class_a']} and {pair['class_b']}", *(str(pair[way]) for way in ("a_as_b", "b_as_a", "together"))]
        for _, pair in pairs.iterrows()
    ]
    together, wrong = int(pairs["together"].sum()), len(results.mistakes)
    which = "this pair is" if len(pairs) == 1 else f"these {len(pairs)} pairs are"
    return numbers.table(
        f"The most confused pairs of classes: {which} {together:,} of {wrong:,} mistakes.",
        ["pair", "first taken for second", "second taken for first", "together"],
        rows,
    )


def _reasons(results: Results, numbers: Numbers) -> Block:
    found, wrong = results.reasons[results.reasons["named"] > 0], len(results.mistakes)
    # What was not found comes last, however often.
    ordered = found.assign(none=found["kind"] == "").sort_values(
        ["none", "named"], ascending=[True, False], kind="stable"
    )
    rows = []
    for _, row in pd.concat([ordered[~ordered["none"]].head(MOST_REASONS), ordered[ordered["none"]]]).iterrows():
        tested = row["p_value"] == row["p_value"]
        untested = "not tested" if row["kind"] else "-"
        # By its definition no correct answer has what is compared with an expected number.
        correct = "-" if row["expected"] == row["expected"] else _of(
            row["correct"], row["correct_known"], row["correct_share"])  # fmt: skip
        rows.append([row["title"], f"{row['named']:,} of {wrong:,}", _of(row["mistakes"], row["known"], row["share"]),
                     correct, paired.p_words(row["p_value"]) if tested else untested])  # fmt: skip
    header = ["reason", "is the reason of", "mistakes that have it", "correct answers that have it", "p"]
    return numbers.table(_reasons_finding(results), header, rows)


def _of(number: float, known: float, share: float) -> str:
    """ "3 of 10 (30%)"; "-" where it is not known of any."""
    return "-" if pd.isna(share) else f"{number:,.0f} of {known:,.0f} ({share:.0%})"


def _reasons_finding(results: Results) -> str:
    """For how many mistakes something was found, and that this is no more than what was looked for."""
    named, wrong = results.reasons.groupby("kind")["named"].sum(), len(results.mistakes)
    cause, described = int(named.get("label", 0) + named.get("picture", 0)), int(named.get("networks", 0))
    said = [
        f"{f'{cause:,}' if cause else 'none'} of {count(wrong, 'mistake')} "
        f"{'has' if cause == 1 else 'have'} a likely cause, a suspect label or something in the picture",
        f"{described:,} {'is' if described == 1 else 'are'} only described by what the networks answer",
        f"nothing was found for {int(named.get('', 0)):,}",
    ]
    some = results.reasons[(results.reasons["named"] > 0) & results.reasons["share"].notna()]
    fewer = (
        " Where a row counts fewer images, the reason is known for those only." if (some["known"] < wrong).any() else ""
    )
    return f"Reasons found: {', '.join(said[:2])}, and {said[2]}. A mistake can have other causes too.{fewer}"


def _gallery_caption(results: Results) -> str:
    top = results.mistakes.iloc[0]
    return (
        f"Misclassified test images, those with the most certain wrong answer first: {short(top['true_class'])} is "
        f"taken for {short(top['predicted_class'])} with probability {top['predicted_probability']:.0%}."
    )
