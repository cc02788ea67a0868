"""B1 to B3: the gray window, ten images, and whether the object or its surroundings decide."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import reduce
from typing import Any

import numpy as np
import pandas as pd

from graybox.occlusion import window_words, windows
from graybox.occlusion.evidence import FLAT, map_evidence
from graybox.reliance import rule, validated
from graybox.reliance.experiment import Experiment
from graybox.reliance.rule import NO_VERDICT
from graybox.report import viewer
from graybox.report.document import Block, Numbers, Paragraph, Section
from graybox.report.results import Results
from graybox.report.words import count, listed
from graybox.statistics import intervals
from graybox.statistics.intervals import Estimate
from graybox.study.names import short

PART = 0.5
"""Up to this share of an object's area, a window hides a part of it."""
MOSTLY = 0.95
"""The box is compared with an equal area outside it if in so many images there is one."""
MOST_IMAGES = 10
"""In the main text; the others come in the appendix."""
RESTS = {
    "object": "on the object",
    "context": "on the surroundings",
    "both": "on either of the two",
    "mixed": "on both together",
    "cannot tell": "on neither clearly",
}
NONE = "There is no verdict on {}: the object is smaller or larger than those on which the rule was checked."


def method(results: Results, numbers: Numbers) -> Section:
    """B1: what is done, and what another window size changes."""
    wanted = results.occlusion
    fill = window_words.SHOWN[wanted.fill]
    fill += f" ({wanted.gray:g} of full brightness)" if wanted.fill == "gray" else ""
    step = "every pixel" if wanted.stride == 1 else f"every {wanted.stride} pixels"
    blocks: list[Block] = [
        Paragraph(
            f"A window of N x N pixels slides over the image and shows {fill}. Its centre stops at {step} of the rows "
            "and of the columns. For each place the network is asked again, and the probability of the true class is "
            "noted (Zeiler and Fergus 2014, section 4.2). The map of these probabilities is the confidence map. Where "
            "it is low, the network needs what the window hides. At the border the window is clipped, so the map is as "
            "large as the image."
        ),
    ]
    sizes, looks = sorted(results.experiments[0].maps), [one.look for one in results.experiments if one.look]
    table = windows.compare(looks) if looks else None
    blocks.append(Paragraph(_why(results, table)))
    header = ["N", "share of the image", *["of an object"] * bool(_boxes(results)), "largest drop", "flat maps"]
    header += ["faithfulness (95% CI)", f"against N = {wanted.window}"] * (table is not None)
    blocks.append(
        numbers.table(
            f"What the size of the window changes, over the {count(len(results.experiments), 'image')}. The largest "
            "drop of the probability is a mean, over the window centres that the maps of all N have; a map is flat if "
            "no window at all lowers it by 5 points.",
            header,
            [_of_size(results, window, table) for window in sizes],
            strong=[sizes.index(wanted.window)],
            narrow=0,
        )
    )
    if unseen := [f"N = {window} never hides {share:.0%}" for window in sizes if (share := _unseen(results, window))]:
        blocks.append(Paragraph(f"Of the pixels, {listed(unseen)}: the maps say nothing about these."))
    finding = "Confidence maps of the same images for each N."
    blocks += numbers.figure(finding, [results.picture("occlusion_windows")], width=0.85)
    if all(one.evidence.flat for one in results.experiments):
        blocks.append(Paragraph(f"All maps with N = {wanted.window} are flat, so how faithful they are says nothing."))
    elif table is not None:
        found = [_measured(), window_words.which_fill(table)]
        blocks.append(Paragraph(" ".join(filter(None, found))))
        blocks += numbers.figure(window_words.faithful(table), [results.picture("faithfulness")], width=0.75)
    return Section(f"B1. The gray window, and why N = {wanted.window}", blocks)


def _measured() -> str:
    return (
        "A faithful map calls those pixels important that are: with these replaced first (deletion) the probability "
        "falls fast, with these shown first (insertion) it rises fast (Petsiuk et al. 2018). Faithfulness is the area "
        "under insertion minus the one under deletion. Pixels are replaced by the blurred image and by its mean colour."
    )


def _boxes(results: Results) -> list[np.ndarray]:
    return [one.box for one in results.experiments if not np.isnan(one.box).any()]


def _of_object(results: Results, window: int) -> float:
    """The largest share of an object's box that the window can hide, 0..1: the median of these images."""
    sides = [(box[2] - box[0], box[3] - box[1]) for box in _boxes(results)]
    return float(np.median([min(window / width, 1) * min(window / height, 1) for width, height in sides]))


def _why(results: Results, table: pd.DataFrame | None) -> str:
    """What speaks for the configured N, and what against it."""
    window, size = results.occlusion.window, results.data["image_size"]
    said = [
        "A small window hides little of what the network needs; a large one hides the object and its surroundings "
        f"together. Why N = {window}? It is the study's choice (occlusion.window): it hides {window**2 / size**2:.1%} "
        f"of an image of {size} x {size} pixels."
    ]
    if _boxes(results):
        share = _of_object(results, window)
        part = "a part of an object, not the whole" if share <= PART else "most of an object at once"
        said.append(f"It can hide {share:.0%} of an object's box (the median of these images): {part}.")
    said.append(_against_smaller(results))
    if table is not None and not all(one.evidence.flat for one in results.experiments):
        said.append(window_words.which_window(table))
    return " ".join(filter(None, said))


def _against_smaller(results: Results) -> str:
    """Whether the largest drop with the configured N differs from that with the next smaller one, in either direction.

    "" without a smaller N, or with too few images.
    """
    window = results.occlusion.window
    smaller = max((other for other in results.experiments[0].maps if other < window), default=0)
    both = [_largest_drops(one, (window, smaller)) for one in results.experiments if {window, smaller} <= set(one.maps)]
    if not smaller or len(both) < window_words.LEAST_IMAGES:
        return ""
    own, less = 100 * np.mean(both, axis=0)
    change = intervals.mean(100 * np.array([mine - other for mine, other in both]))
    said = (
        f"At the same window centres, the largest drop of the probability is {own:.0f} points (mean) with N = {window} "
        f"and {less:.0f} with N = {smaller}"
    )
    figures = f"{change.value:+.1f} points (95% CI {change.low:.1f} to {change.high:.1f})"
    if change.low > 0 or change.high < 0:
        return f"{said}: {figures}."
    return f"{said}; no difference is found, {figures}."


def _largest_drops(one: Experiment, sizes: Collection[int]) -> list[float]:
    """The largest drop with each of these N, over the window centres that all their maps have.

    Of more centres the largest is larger by itself, and the main map can have more than the others.
    """
    maps = [one.maps[window] for window in sizes]
    rows, columns = (reduce(np.intersect1d, [getattr(found, axis) for found in maps]) for axis in ("rows", "columns"))
    return [
        float(found.drop[np.ix_(np.isin(found.rows, rows), np.isin(found.columns, columns))].max()) for found in maps
    ]


def _unseen(results: Results, window: int) -> float:
    return float(np.mean([one.maps[window].never_hidden for one in results.experiments if window in one.maps]))


def _of_size(results: Results, window: int, table: pd.DataFrame | None) -> list[str]:
    maps = [one.maps[window] for one in results.experiments if window in one.maps]
    flat = np.array([found.drop.max() < FLAT for found in maps])
    drops = [dict(zip(one.maps, _largest_drops(one, one.maps)))[window] for one in results.experiments
             if window in one.maps]  # fmt: skip
    row = [f"{window}", f"{window**2 / results.data['image_size'] ** 2:.1%}"]
    if _boxes(results):
        row.append(f"{_of_object(results, window):.0%}")
    row += [f"{100 * np.mean(drops):.0f} points", f"{flat.mean():.0%}"]
    if table is None:
        return row
    own = table[(table["window"] == window) & (table["fill"] == results.occlusion.fill)].iloc[0]
    faithful, change = (
        f"{own[value]:{sign}.2f}" + f" ({own[low]:{sign}.2f} to {own[high]:{sign}.2f})" * bool(own["images"] > 1)
        for value, low, high, sign in (("faithfulness", "low", "high", ""),
                                       ("difference", "difference_low", "difference_high", "+"))
    )  # fmt: skip
    return [*row, faithful, "" if window == results.occlusion.window else change]


def images(results: Results, numbers: Numbers) -> Section:
    """B2: the images one by one, and a paragraph over all."""
    found, occluded = results.experiments, results.occluded
    rows = results.pictures("maps") or results.pictures("occlusion")
    shown = rows[:MOST_IMAGES]
    blocks: list[Block] = [Paragraph(_over_all(results))]
    wrong = int((occluded["true_class"] != occluded["predicted_class"]).sum())
    caption = (
        f"{count(len(shown), 'test image')}, a row each: the image{' with its object box' if results.boxes else ''}, "
        "the confidence map (probability of the true class by window centre), and the most probable class by window "
        f"centre. {wrong} of {len(occluded)} are misclassified as they are."
    )
    blocks += numbers.figure(caption, shown, columns=1 if results.pictures("maps") else 2, width=0.8)
    blocks.append(
        numbers.viewer(
            "Move over the map or touch it: the window moves over the image, and the bars show the probabilities of "
            "the five most probable classes with the window there.",
            viewer.data(found[:MOST_IMAGES]),
        )
    )
    lacks = occluded["lacks"].iloc[0] if "lacks" in occluded else ""
    if lacks:
        blocks.append(Paragraph(lacks))
    blocks.append(_one_by_one(results, numbers))
    return Section(f"B2. {_number(len(shown))} images", blocks)


def _number(count: int) -> str:
    words = ("No", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten")
    return words[count] if count < len(words) else str(count)


def _over_all(results: Results) -> str:
    found, n = results.occluded, len(results.occluded)
    drops = found["true_probability"] - found["lowest_probability"]
    evidence = [one.evidence for one in results.experiments]
    flat = sum(one.flat for one in evidence)
    flips = int(
        sum(bool((one.main.predicted != int(one.main.unoccluded.argmax())).any()) for one in results.experiments)
    )
    said = [
        f"Over {count(n, 'image')}: somewhere the window lowers the probability of the true class by "
        f"{100 * drops.mean():.0f} points (mean; from {100 * drops.min():.0f} to {100 * drops.max():.0f}), and in "
        f"{flips} of them it changes the answer."
    ]
    if flat:
        names = listed([f"{row['true_class']} ({row['true_probability']:.0%})"
                        for (_, row), one in zip(found.iterrows(), evidence) if one.flat])  # fmt: skip
        said.append(
            f"{count(flat, 'map')} {'is' if flat == 1 else 'are'} flat, as no window lowers the probability by "
            f"{100 * FLAT:.0f} points: {names}."
        )
    if peaks := [one.peak_in_box for one in evidence if one.peak_in_box is not None]:
        said.append(f"The largest drop lies on the object in {sum(peaks)} of {len(peaks)}{_second_peaks(results)}.")
        said.append(
            f"Windows centred in the object box cause {np.nanmean([one.drop_in_box for one in evidence]):.0%} of the "
            f"drop (mean), and are {np.nanmean([one.box_share for one in evidence]):.0%} of the places."
        )
    if "verdict" in found and found["verdict"].notna().any():
        counts = found["verdict"].value_counts()
        parts = [f"{words} in {counts[name]}" for name, words in RESTS.items() if name in counts]
        if parts:
            said.append(f"Image by image, the answer rests {listed(parts)}.")
        if none := int(counts.get(NO_VERDICT, 0)):
            said.append(NONE.format(count(none, "image")))
    return " ".join(said)


def _second_peaks(results: Results) -> str:
    """The same of the maps with the second fill; "" without any."""
    found = [map_evidence(one.second, one.box).peak_in_box for one in results.experiments if one.second]
    peaks = [peak for peak in found if peak is not None]
    shown = window_words.SHOWN[str(results.experiments[0].second_fill)] if peaks else ""
    return f", with {shown} in the window in {sum(peaks)} of {len(peaks)}" if peaks else ""


def _one_by_one(results: Results, numbers: Numbers) -> Block:
    rows = []
    for _, row in results.occluded.head(MOST_IMAGES).iterrows():
        right = row["true_class"] == row["predicted_class"]
        answer = "correct" if right else f"{short(row['predicted_class'], 18)}"
        verdict = row.get("verdict", "")
        rows.append([
            short(row["true_class"], 18), answer, f"{row['true_probability']:.0%}", f"{row['lowest_probability']:.0%}",
            short(row["class_there"], 18), f"{row['share_of_windows_misclassified']:.0%}",
            str(verdict) if isinstance(verdict, str) and verdict else "-",
        ])  # fmt: skip
    header = [
        "true class",
        "answer",
        "probability",
        "lowest",
        "answer there",
        "windows with a wrong answer",
        "rests on",
    ]
    said = "The same images in figures: the true class's probability as it is, and with the window at the worst place."
    return numbers.table(said, header, rows, narrow=2)


def verdict(results: Results, numbers: Numbers) -> Section:
    """B3: object or surroundings, over the whole test split."""
    found = results.reliance
    blocks: list[Block] = [Paragraph(found["sentence"])]
    if results.boxes:
        blocks.append(
            Paragraph(
                f"How it is measured: in {count(int(found['images']), 'test image')} with an object box three parts "
                f"were hidden in turn: the box, everything but the box, and {_control(found)}, which shows what hiding "
                f"as such costs. {_against_control(found)}Always giving the most frequent of these images' "
                f"classes is right in {found['chance']:.0%}; this is chance, and the shares are of the accuracy above "
                f"it.{_second_test(found)}"
            )
        )
        blocks.append(_rule(numbers))
        blocks.append(
            Paragraph(
                "The rule was checked on networks of which it is known what they rest on, with objects of "
                f"{validated.words()} (docs/verdict.md). On smaller and larger ones it was wrong too often, and with "
                f"fewer than {validated.LEAST_IMAGES} images the intervals are wider than the rule's steps."
            )
        )
        blocks += numbers.figure(_hidden_finding(results), [results.picture("reliance")], width=0.85)
    if found.get("maps_pointed"):
        blocks.append(Paragraph(_pointing(results)))
    if found.get("maps_never_hidden"):
        blocks.append(
            Paragraph(f"The windows of these maps never hide {found['maps_never_hidden']:.0%} of the pixels.")
        )
    rests = results.findings["rests"]
    decided = bool((results.table.get("verdict", pd.Series(dtype=str)).fillna(NO_VERDICT) != NO_VERDICT).any())
    # Without a verdict on any variant, the intervals are so wide that a chart shows nothing.
    blocks += [Paragraph(said if decided or not results.boxes else f"{said} They are in report/comparison.csv.")
               for said in rests[:1]]  # fmt: skip
    if results.boxes and rests and decided:
        blocks += numbers.figure("The share of its accuracy above chance that each variant keeps with the object alone "
                                 "and with the surroundings alone.", [results.picture("reliance_by_variant")],
                                 width=0.6)  # fmt: skip
    return Section("B3. Object or surroundings?", blocks)


def _hidden_finding(results: Results) -> str:
    found = results.reliance
    if "accuracy_box_hidden" not in found:
        return "What is left with the object or the surroundings hidden."
    return (
        f"Accuracy is {found['accuracy_as_is']:.0%} as it is, {found['accuracy_context_hidden']:.0%} with everything "
        f"but the object hidden, and {found['accuracy_box_hidden']:.0%} with the object hidden (chance: "
        f"{found['chance']:.0%})."
    )


def _control(found: Mapping[str, Any]) -> str:
    """The third hidden part; a large box leaves less than its area outside."""
    equal = float(found.get("equal_area", 1))
    return "an equal area outside the box" + f" (all that is left, in {1 - equal:.0%} of the images)" * (equal < 1)


def _second_test(found: Mapping[str, Any]) -> str:
    if "swap_images" not in found:
        return ""
    return (
        f" The second test hides nothing: it puts {count(int(found['swap_images']), 'object')}, with soft edges, "
        "before other images' backgrounds (Xiao et al. 2021). Before one of its own class "
        f"{found['swap_accuracy_same']:.0%} are recognised, before another class's {found['swap_accuracy_other']:.0%}."
    )


def _against_control(found: Mapping[str, Any]) -> str:
    """Whether the box matters more than as much of the surroundings; "" where the intervals leave it open."""
    names = ("accuracy_box_hidden", "accuracy_control")
    if not all(f"{name}_low" in found for name in names) or found.get("equal_area", 1.0) < MOSTLY:
        return ""
    box, control = (Estimate(found[name], found[f"{name}_low"], found[f"{name}_high"]) for name in names)
    more = "more" if box.high < control.low else "less" if box.low > control.high else ""
    if not more:
        return ""
    return (
        f"Area for area the object counts {more} than its surroundings: with it hidden the accuracy is "
        f"{box.value:.0%}, with an equal area outside hidden {control.value:.0%}. "
    )


def _rule(numbers: Numbers) -> Block:
    """The rule of the first test, a line for each verdict."""
    least, either = f"at least {rule.TOO_LITTLE:.0%}", f"{rule.EITHER:.0%}"
    rows = [
        [rule.OBJECT, "the object", f"at least {rule.SUFFICIENT_OBJECT:.0%}", f"under {rule.UNUSED_CONTEXT:.0%}"],
        [rule.CONTEXT, "the surroundings", f"under {rule.UNUSED_OBJECT:.0%}",
         f"at least {rule.SUFFICIENT_CONTEXT:.0%}"],
        [rule.BOTH, "either is enough", least, f"{least}, and {either} or more together"],
        [rule.CANNOT_TELL, "not known", f"under {rule.TOO_LITTLE:.0%}", f"under {rule.TOO_LITTLE:.0%}"],
        [rule.MIXED, "the two together", "any other", "any other"],
    ]  # fmt: skip
    return numbers.table(
        "The first test's verdict, by the share of the accuracy above chance that is left. It is also “cannot tell” if "
        f"the accuracy covers less than {rule.LEAST_SKILL:.0%} of the way from chance to 100%.",
        ["verdict", "the answers need", "only the object visible", "only the surroundings visible"],
        rows,
        narrow=4,
    )


def _pointing(results: Results) -> str:
    found = results.reliance
    flat, total = round(found["maps_flat"] * found["maps_count"]), int(found["maps_count"])
    other = "the" if not flat else "the other"
    first = f"{flat or 'None'} of {count(total, 'confidence map')} {'is' if flat in (0, 1) else 'are'} flat. "
    return (
        f"{first}In {other} {found['maps_pointed']}, windows in the box cause "
        f"{found['maps_drop_in_box']:.0%} of the drop and are {found['maps_box_share']:.0%} of the places. The "
        f"largest drop lies in the box in {found['maps_pointing']:.0%} of the maps; the image's centre lies in it in "
        f"{found['maps_centre']:.0%}."
    )
