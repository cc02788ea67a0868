"""The first chapters: task and data, networks and training, what each parameter does, and improving it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from graybox.network.params import ModelParams, TrainParams
from graybox.network.sizes import layer_sizes
from graybox.report.document import Block, Bullets, Numbers, Paragraph, Run, Section, Text
from graybox.report.results import Results
from graybox.report.summary import overrides, settings
from graybox.report.words import SOURCES, count, large, listed, share
from graybox.statistics import intervals, paired, scores
from graybox.study import comparison
from graybox.study.names import short
from graybox.study.variants import COMBINED, FACTORS

MOST_ROWS = 40
"""Of the table of variants; a study can have a thousand."""
LEARNED = 0.95
"""From this accuracy on training images on, there is little left to learn from them."""
AUGMENTATION = ("flip", "shift", "zoom", "color_jitter", "cutout", "mixup")
SPLITS = {"train": "training", "validation": "validation", "test": "test"}


def task(results: Results, numbers: Numbers) -> Section:
    """The images: how many, of what, and what is known about them."""
    data, size = results.data, results.data["image_size"]
    splits, boxed = data["images_per_split"], data["with_box"]
    said = (
        f"The network gets a colour image of {size} x {size} pixels and names its class, one of "
        f"{len(results.classes)}: {listed(results.classes)}. Training images set the weights, validation images "
        f"choose each parameter's best level, and test images give the accuracies in this report. {results.selection}"
    ).strip()
    header = ["", *(SPLITS[name] for name in splits)]
    rows = [["images", *(f"{splits[name]:,}" for name in splits)],
            ["with an object box", *(f"{boxed[name]:,}" for name in splits)],
            ["fewest in a class", *(f"{_fewest(results, name):,}" for name in splits)]]  # fmt: skip
    remarks = [remark for remark in data["remarks"] if remark]
    notes = " ".join(filter(None, [data["made"], results.brought.get("note"), _chosen(results), *_left_out(data)]))
    box = ", with the object box outlined" if any(boxed.values()) else ""
    return Section(
        "Task and data",
        [
            Paragraph(said),
            *([Paragraph(notes)] if notes else []),
            numbers.table(f"The images of the source: {SOURCES[results.source]}.", header, rows),
            *([Bullets(remarks)] if remarks else []),
            *numbers.figure(
                f"Training images of {'each class' if len(results.classes) <= 12 else 'the classes'}{box}.",
                [results.picture("contact_sheet")],
                width=0.5,
            ),
        ],
    )


def _fewest(results: Results, split: str) -> int:
    return min(int(counts[split]) for counts in results.data["images_per_class"].values())


def _chosen(results: Results) -> str:
    """Which of the source's classes the study is about, where params.yaml says so."""
    wanted = results.images.classes
    if wanted is None:
        return ""
    which = "those that data.classes names" if isinstance(wanted, list) else "the first ones (data.classes)"
    return f"Of the source's classes this study uses {len(results.classes)}, {which}."


def _left_out(data: Mapping[str, Any]) -> list[str]:
    found = []
    if data["unreadable"]:
        found.append(f"{count(data['unreadable'], 'file')} could not be decoded and are left out.")
    if copies := sum(data["duplicates"].values()):
        found.append(f"{count(copies, 'exact copy', 'exact copies')} of other images were found and are left out.")
    return found


def networks(results: Results, numbers: Numbers) -> Section:
    """The best network's layers, and how all are trained."""
    name, base = results.best["variant"], results.recipes.baseline
    model, train = results.recipes[name].model, results.recipes[base].train
    blocks: list[Block] = []
    if model.parametric:
        blocks.append(Paragraph(_architecture(results.recipes[base].model, "The baseline")))
        blocks += numbers.figure(
            f"The best network, {name}: {count(int(results.winner['parameters']), 'weight')}, "
            f"{large(results.winner['macs'])} multiply-accumulates (MACs) for an image.",
            [results.picture("network")],
        )
        blocks.append(_layers(results, numbers))
    else:
        blocks.append(
            Paragraph(
                f"The best network, {name}, is {model.architecture}"
                + (f", started from the weights {model.weights}" if model.weights else "")
                + f": {count(int(results.winner['parameters']), 'weight')}, {large(results.winner['macs'])} "
                f"multiply-accumulates (MACs) for an image."
            )
        )
    blocks.append(Paragraph(f"Training. {_training(train)} {_augmentation(train)}"))
    if seeds := {results.recipes[each].train.seeds for each in results.recipes} - {1}:
        blocks.append(
            Paragraph(
                f"Variants with several seeds were trained up to {max(seeds)} times; figures are means over these."
            )
        )
    return Section("Networks and training", blocks)


def _architecture(model: ModelParams, subject: str) -> str:
    said = f"{subject} has {count(model.conv_layers, 'convolutional layer')}"
    said += f" with filters of {model.kernel_size} x {model.kernel_size} pixels ({_filters(model)})"
    said += ", batch normalisation" if model.batch_norm else ""
    said += _shortcuts(model)
    said += " and ReLU"
    if model.max_pool:
        said += f", max pooling of {model.max_pool} x {model.max_pool} pixels after {_ends(model)}"
    said += ", global average pooling" if model.global_average_pool else ""
    said += f", and {count(model.fc_layers, 'fully connected layer')}"
    said += (
        f" ({model.fc_units} units, then one for each class)" if model.fc_layers > 1 else " (one unit for each class)"
    )
    return said + ". " + (f"Dropout of {model.dropout:.0%} stands before these." if model.dropout else "").strip()


def _shortcuts(model: ModelParams) -> str:
    if model.residual <= 1:
        return ", a shortcut around each" if model.residual else ""
    return f", shortcuts around layers {listed([f'{layers[0]} to {layers[-1]}' for layers in model.shortcuts])}"


def _filters(model: ModelParams) -> str:
    filters = model.filters_per_layer
    if len(set(filters)) == 1:
        return f"{filters[0]} in each layer" if len(filters) > 1 else f"{filters[0]} of them"
    return f"{listed([str(number) for number in filters], 20)} of them in turn"


def _ends(model: ModelParams) -> str:
    if model.pool_every == 1:
        return "each"
    return f"layer {listed([str(end) for end in model.block_ends])}"


def _layers(results: Results, numbers: Numbers) -> Block:
    name = results.best["variant"]
    model, size = results.recipes[name].model, results.data["image_size"]
    rows = []
    for layer in layer_sizes(model, size, len(results.classes)):
        shape = f"{layer.size} x {layer.size} x {layer.channels}" if layer.size > 1 else f"{layer.channels}"
        weights, macs = f"{layer.weights:,}" if layer.weights else "-", large(layer.macs) if layer.macs else "-"
        rows.append([layer.name, shape, weights, macs])
    rows.append(["all", "", f"{int(results.winner['parameters']):,}", large(results.winner["macs"])])
    return numbers.table(
        f"The layers of {name}, for images of {size} x {size} pixels.",
        ["layer", "output (pixels, maps)", "weights", "MACs per image"],
        rows,
        strong=[len(rows) - 1],
    )


def _training(train: TrainParams) -> str:
    optimizer = "stochastic gradient descent" if train.optimizer == "sgd" else "Muon (orthogonalised steps)"
    peak = train.learning_rate if train.optimizer == "sgd" else train.muon_learning_rate
    decay = train.weight_decay if train.optimizer == "sgd" else train.muon_weight_decay
    rate = (
        f"the learning rate climbs to {peak:g} in the first {train.warmup_fraction:.0%} of the steps and then falls "
        "to 0 (one cycle)"
        if train.schedule == "one_cycle"
        else f"the learning rate is {peak:g} all the time"
    )
    said = (
        f"The baseline is trained for {count(train.total_epochs, 'epoch')} by {optimizer} with momentum "
        f"{train.momentum:g}, weight decay {decay:g} and batches of {train.batch_size} images; {rate}."
    )
    if train.start_size < 1:
        said += (
            f" The images start at {train.start_size:.0%} of their size and grow to the full size within the first "
            f"{train.full_size_from:.0%} of the steps."
        )
    if train.gradient_clip is not None:
        said += f" Gradients are clipped to the norm {train.gradient_clip:g}."
    if train.weight_average:
        last = "epoch" if train.weight_average == 1 else f"{train.weight_average:g} epochs"
        said += f" The network has the exponential moving average of its weights over about the last {last}."
    if train.label_smoothing:
        said += f" The loss is cross-entropy with label smoothing {train.label_smoothing:g}."
    return said


def _augmentation(train: TrainParams) -> str:
    ways = []
    if train.flip:
        ways.append("half of them are mirrored")
    if train.shift:
        ways.append(f"they move by up to {train.shift} pixels")
    if train.zoom > 1:
        ways.append(f"they grow, shrink and stretch by up to {train.zoom:g}")
    if train.color_jitter:
        ways.append(f"brightness, contrast and saturation change by up to {train.color_jitter:.0%}")
    if train.cutout:
        ways.append(f"a square of {train.cutout:.0%} of the side is covered")
    if train.mixup:
        ways.append("pairs of images are blended")
    if not ways:
        return "Training images are shown as they are."
    return f"Training images change each time they are shown: {listed(ways)}. Test images stay as they are."


def parameters(results: Results, numbers: Numbers) -> Section:
    """A1: the table of all variants, the chart, and a sentence for each parameter."""
    table = results.table
    blocks: list[Block] = [_variants(results, numbers)]
    blocks.append(
        Paragraph(
            "An interval in brackets is the 95% confidence interval over test images. A difference counts as found if "
            "its interval excludes 0 and its p-value, corrected for the number of comparisons (Holm), is below 0.05."
        )
    )
    blocks += numbers.figure(_chart_finding(results), [results.picture("accuracy_by_parameter")])
    found = list(results.findings["balance"])
    sentences: list[Text] = [*found, *(_sentence(results, name, rows) for name, rows in _levels(results))]
    diverged = table[table["diverged"] != ""]
    sentences += [f"{row['variant']} diverged: {row['diverged']}." for _, row in diverged.iterrows()]
    sentences += comparison.of_weights(table)
    return Section("A1. What each parameter does", [*blocks, Bullets(sentences)] if sentences else blocks)


def _variants(results: Results, numbers: Numbers) -> Block:
    table, spread = results.table, results.table["seeds"].max() > 1
    header = ["variant", "what it changes", "test accuracy", "against the baseline, points", "p", "validation"]
    header += ["weights", "MACs", "training work"]
    if spread:
        header.insert(3, "SD over seeds")
    rows, work = [], comparison.training_work(table, results.recipes.baseline)
    shown = table.head(MOST_ROWS)
    for (_, row), cost in zip(shown.iterrows(), work):
        difference = "" if pd.isna(row["difference"]) else comparison.points(
            row["difference"], row["difference_low"], row["difference_high"])  # fmt: skip
        name = row["variant"] + (" (diverged)" if row["diverged"] else "")
        cells = [
            name, short(overrides(results, row["variant"]) or "-", 60),
            f"{row['test_accuracy']:.1%} ({100 * row['test_low']:.1f} to {100 * row['test_high']:.1f})", difference,
            paired.p_words(row["p_value"]), share(row["validation_accuracy"]), large(row["parameters"]),
            large(row["macs"]), f"{cost:.2g}" if cost < 10 else f"{cost:,.0f}",
        ]  # fmt: skip
        if spread:
            deviation = row["test_accuracy_sd"]
            cells.insert(3, "" if pd.isna(deviation) else f"{100 * deviation:.1f} ({row['seeds']})")
        rows.append(cells)
    strong = [place for place, best in enumerate(shown["best_on"] != "") if best]
    rest = (
        f" The first {MOST_ROWS} of {len(table)}; the others are in report/comparison.csv."
        if len(table) > MOST_ROWS
        else ""
    )
    best = results.winner
    caption = (
        f"All variants: {best['variant']} is the best with {share(best['test_accuracy'])} of the test images. "
        f"p is corrected (Holm). Training work: MACs of an image x epochs, baseline = 1. In bold: the best on test or "
        f"on validation.{rest}"
    )
    return numbers.table(caption, header, rows, strong=strong, sortable=True, narrow=2)


def _levels(results: Results) -> list[tuple[str, pd.DataFrame]]:
    """For each parameter with variants, the six first, its variants' rows with `level`, without the baseline's."""
    recipes, table = results.recipes, results.table
    found = [(name, rows[~rows["is_baseline"]]) for name, rows in results.levels.items() if len(rows) > 1]
    others: dict[str, list[str]] = {}
    for name in recipes:
        if (parameter := recipes.parameter_of(name)) and parameter not in FACTORS:
            others.setdefault(parameter, []).append(name)
    by_name = table.set_index("variant", drop=False)
    return found + [(parameter, by_name.loc[names].assign(level="")) for parameter, names in others.items()]


def _chart_finding(results: Results) -> str:
    if all(len(rows) < 2 for rows in results.levels.values()):
        return "Test accuracy of the baseline; no variant changes one of the six parameters."
    found = {}
    for name, rows in results.levels.items():
        compared = rows[rows["is_baseline"] | ((rows["diverged"] == "") & rows["difference"].notna())]
        sure = [bool(row["is_baseline"]) or not comparison.doubt(row) for _, row in compared.iterrows()]
        found[name] = compared.loc[sure, "test_accuracy"]
    name, accuracies = max(found.items(), key=lambda pair: float(np.ptp(pair[1])) if len(pair[1]) else 0.0)
    if len(accuracies) < 2:
        return "Test accuracy by parameter: no difference is found."
    low, high = accuracies.min(), accuracies.max()
    return (
        f"Test accuracy by parameter: it differs most between the levels of {name}, from {share(low)} to {share(high)}."
    )


def _sentence(results: Results, name: str, rows: pd.DataFrame) -> Text:
    """What a parameter does, and why where training accuracy shows it."""
    rows = rows[(rows["diverged"] == "") & rows["difference"].notna()]
    if rows.empty:
        why = "it has no variant that can be compared, as one of the two diverged"
        return [Run(name[:1].upper() + name[1:], bold=True), Run(f": {why}.")]
    known = [row for _, row in rows.iterrows() if not comparison.doubt(row)]
    unsure = [row for _, row in rows.iterrows() if comparison.doubt(row)]
    said = [f"{_label(results, row)}: {_points(row)}" for row in known]
    text = "; ".join(said)
    if unsure:
        few = unsure[0]["images"] < paired.FEWEST
        word = "too few images to say" if few else "no difference found"
        which = "; ".join([f"{_label(results, row)}, {_points(row)}" for row in unsure])
        text += f"{'; ' if known else ''}{word} for {which}"
    text += "."
    ends = [min(known, key=_gain), max(known, key=_gain)] if known else []
    reasons = [_why(results, row) for row in (one for one, sign in zip(ends, (-1, 1)) if sign * _gain(one) > 0)]
    if known:
        why = "; ".join(filter(None, reasons))
        text += f" Why: {why}." if why else " The training accuracy does not show why."
    return [Run(name[:1].upper() + name[1:], bold=True), Run(": " + text)]


def _label(results: Results, row: pd.Series) -> str:
    """The level, or the variant where its parameter is none of the six."""
    if not row["level"]:
        return str(row["variant"])
    parameter = str(results.recipes.parameter_of(row["variant"]))
    levels, level = results.levels[parameter], str(row["level"])
    reference = levels.loc[levels["is_baseline"], "level"].astype(str).iloc[0].replace("\n", ", ")
    # A level can say more than the parameter's value: what the reference is one of, must be said then.
    return f"{level.replace(chr(10), ', ')} instead of {f'{parameter} ' if chr(10) in level else ''}{reference}"


def _points(row: pd.Series) -> str:
    value, low, high = (100 * row[name] for name in ("difference", "difference_low", "difference_high"))
    return f"{value:+.1f} points ({low:.1f} to {high:.1f})"


def _gain(row: pd.Series) -> float:
    return float(row["difference"])


def _why(results: Results, row: pd.Series) -> str:
    """What the training accuracy says about a difference; "" if the figures leave it open."""
    base, splits = results.baseline, results.data["images_per_split"]
    known = min(scores.MOST_TRAINING, splits["validation"], splits["train"])
    mine, theirs = (intervals.share(each["train_accuracy"] * known, known) for each in (row, base))
    change, better = intervals.minus(mine, theirs), row["difference"] > 0
    figures = f"{share(mine.value)} of its training images instead of {share(theirs.value)}"
    if better and change.low > 0:
        return f"{row['variant']} also learns {figures}, so the baseline underfits"
    if not better and change.high < 0:
        return f"{row['variant']} also learns only {figures}, so it underfits"
    gaps = f"{100 * row['gap']:.0f} points between training and validation accuracy instead of {100 * base['gap']:.0f}"
    if better and row["gap_high"] < base["gap_low"]:
        return f"{row['variant']} generalises better ({gaps})"
    if not better and row["gap_low"] > base["gap_high"]:
        return f"{row['variant']} overfits more ({gaps})"
    return ""


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


def improving(results: Results, numbers: Numbers) -> Section:
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
