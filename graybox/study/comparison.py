"""The study's table: one row per variant, with its settings, its scores and its cost."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from graybox.errors import UserError
from graybox.network.params import ModelParams, TrainParams
from graybox.statistics import paired, tables
from graybox.statistics.intervals import Estimate, share
from graybox.study import gap
from graybox.study.gap import Answers
from graybox.study.names import short as short_name
from graybox.study.variants import FACTORS, Variants

# A difference with its intervals: the figures by name, or a row of the table.
Row = Mapping[str, float] | pd.Series

# Columns of numbers that may be empty: in the baseline's row, or in all rows if each variant has one seed.
LOSSES = ("test_loss", "validation_loss", "train_loss")  # empty for a network that diverged
NAME_WIDTH = 16  # of a variant in the table for a terminal
SPARSE = ("difference", "difference_low", "difference_high", "p_value", "test_accuracy_sd")


def table(
    variants: Variants,
    metrics: Mapping[str, Mapping[str, Any]],
    timings: Mapping[str, Mapping[str, Any]],
    answers: Mapping[str, Mapping[str, Answers]],
    pretrained: bool = False,
) -> pd.DataFrame:
    """The comparison table, a row per variant in the order of params.yaml.

    If a network is no parametric CNN, it has the columns `architecture`, `initial_weights` and `not_chosen` (why a
    variant can't be the best; "" = it can), and what a network has no level of is "-".

    Args:
        pretrained: whether a variant that starts from given weights can be the best.
        metrics: what `evaluate` wrote for each variant.
        timings: what `train` recorded for each variant: its "seconds".
        answers: for each variant its networks' answers to the same images of each split.
    """
    correct = {name: answers[name]["test"].right for name in variants}
    reference = variants.baseline
    differences = {name: paired.compare(correct[name], correct[reference]) for name in variants}
    # With several seeds this is one network's interval around their mean; the interval of the mean is a bit narrower.
    intervals = {name: share(found.sum() / len(found), found.shape[1]) for name, found in correct.items()}
    unsound = {name for name in variants if metrics[name].get("diverged")}
    others = [name for name in variants if not unsound & {name, reference} and name != reference]
    p_values = dict(zip(others, paired.holm([differences[name].p_value for name in others])))
    rows = [
        {
            "variant": name,
            **_settings(variants[name].model, variants[name].train),
            **metrics[name],
            "seeds": metrics[name].get("seeds", 1),
            "best_seed": metrics[name].get("best_seed", variants[name].train.seed),
            "test_accuracy_sd": metrics[name].get("test_accuracy_sd", np.nan),
            "test_low": intervals[name].low,
            "test_high": intervals[name].high,
            "difference": differences[name].difference,
            "difference_low": differences[name].low,
            "difference_high": differences[name].high,
            "p_value": p_values.get(name, np.nan),
            **gap.columns(answers[name]),
            "images": differences[name].images,
            "covers_seeds": differences[name].covers_seeds,
            "diverged": metrics[name].get("diverged", ""),
            "train_seconds": timings[name]["seconds"],
        }
        for name in variants
    ]
    frame = pd.DataFrame(rows).astype(dict.fromkeys([*SPARSE, *LOSSES], float))  # None is NaN from here on
    frame.loc[~frame["variant"].isin(others), [name for name in SPARSE if name != "test_accuracy_sd"]] = np.nan
    if not all(variants[name].model.parametric for name in variants):
        models = [variants[name].model for name in variants]
        frame.insert(1, "architecture", [model.architecture for model in models])
        frame.insert(2, "initial_weights", [model.weights or "" for model in models])
        barred = (frame["initial_weights"] != "") & (not pretrained)
        frame["not_chosen"] = np.where(barred, "it starts from " + frame["initial_weights"], "")
    chosen = {split: best(frame, split) for split in ("test", "validation")}
    frame["best_on"] = [" + ".join(s for s, best_one in chosen.items() if best_one == n) for n in frame["variant"]]
    return frame


def read(path: Path | str) -> pd.DataFrame:
    """The table as `compare` saved it."""
    return tables.read(path).fillna(dict.fromkeys(["best_on", "diverged", "initial_weights", "not_chosen"], ""))


def best(frame: pd.DataFrame, split: str) -> str:
    """The variant with the highest accuracy on a split; a tie goes to the lower loss, then to the earlier row.

    A variant that can't be chosen (`can_win`) is never the best.

    Raises:
        UserError: there is no other: they diverged, or start from given weights.
    """
    sound = frame[can_win(frame)]
    if sound.empty and "not_chosen" in frame and (frame["not_chosen"] != "").any():
        raise UserError(
            "every variant that did not diverge starts from model.weights, so none is the best; "
            "allowed: select.pretrained true, or a variant with weights null"
        )
    if sound.empty:
        raise UserError("every variant diverged, so none is the best; allowed: a smaller train.learning_rate")
    ranked = sound.sort_values([f"{split}_accuracy", f"{split}_loss"], ascending=[False, True], kind="stable")
    return str(ranked["variant"].iloc[0])


def can_win(frame: pd.DataFrame) -> pd.Series:
    """bool for each row: whether it can be the best. It can't if it diverged, or starts from weights and may not."""
    found = pd.Series(True, index=frame.index)
    for name in ("diverged", "not_chosen"):
        if name in frame:
            found &= frame[name] == ""
    return found


def row_of(frame: pd.DataFrame, variant: str) -> pd.Series:
    """The variant's row of the table."""
    return frame[frame["variant"] == variant].iloc[0]


def readable(frame: pd.DataFrame) -> pd.DataFrame:
    """The table for people: accuracies in percent, costs in thousands and millions, all as text.

    With several seeds it has a column for their spread; with other architectures than cnn, one for these and their
    initial weights; with object boxes, three for what a variant rests on. MACs are multiply-accumulates for one image.
    """
    spread, networks, rests = {}, {}, {}
    if "object_alone" in frame:
        rests = {f"{name} alone keeps (95% CI)": [
            "" if pd.isna(value) else Estimate(value, low, high).percent().replace("95% CI ", "")
            for value, low, high in zip(*(frame[f"{name}_alone{end}"] for end in ("", "_low", "_high")))
        ] for name in ("object", "context")}  # fmt: skip
        rests["rests on (stability)"] = [
            verdict if pd.isna(stable) else f"{verdict} ({stable:.0%})"
            for verdict, stable in zip(frame["verdict"], frame["stability"])
        ]
    if "architecture" in frame:
        given = zip(frame["architecture"], frame["initial_weights"])
        networks = {"architecture": [f"{name}, from {weights}" if weights else name for name, weights in given]}
    if frame["seeds"].max() > 1:
        deviations = zip(frame["test_accuracy_sd"], frame["seeds"])
        spread = {
            "SD over seeds (their number)": [
                "" if pd.isna(sd) else f"{100 * sd:.1f} ({count})" for sd, count in deviations
            ]
        }
    return pd.DataFrame(
        {
            "variant": frame["variant"] + np.where(frame["diverged"] == "", "", " (diverged)"),
            **networks,
            **{name: frame[name.replace(" ", "_")] for name in FACTORS},
            "test accuracy (95% CI)": [
                f"{a:.1%} ({low:.1%} to {high:.1%})"
                for a, low, high in zip(frame["test_accuracy"], frame["test_low"], frame["test_high"])
            ],
            **spread,
            "against the baseline (95% CI), points": [_difference(row) for _, row in frame.iterrows()],
            "p (Holm)": [paired.p_words(value) for value in frame["p_value"]],
            "top-5": [f"{value:.1%}" for value in frame["test_top5"]],
            "test loss": ["" if np.isnan(value) else f"{value:.3f}" for value in frame["test_loss"]],
            "validation accuracy": [f"{value:.1%}" for value in frame["validation_accuracy"]],
            "generalisation gap (95% CI), points": [
                points(*row) for row in zip(frame["gap"], frame["gap_low"], frame["gap_high"])
            ],
            **rests,
            "weights": [f"{value / 1e3:,.0f} k" for value in frame["parameters"]],
            "MACs": [f"{value / 1e6:,.1f} M" for value in frame["macs"]],
            "training time": [f"{value:,.0f} s" for value in frame["train_seconds"]],
            "best on": frame["best_on"],
        }
    )


def short(frame: pd.DataFrame) -> str:
    """The table for a terminal, at most 100 columns wide: scores with intervals, and costs.

    "against the baseline" is the difference in points of test accuracy with its 95% interval; p is Holm-corrected.
    """
    whole = readable(frame)
    columns = {
        "variant": [short_name(name, NAME_WIDTH) for name in whole["variant"]],
        "test accuracy (95% CI)": whole["test accuracy (95% CI)"],
        "against the baseline": whole["against the baseline (95% CI), points"],
        "p": whole["p (Holm)"],
        "MACs": whole["MACs"],
        "training": whole["training time"],
    }
    return pd.DataFrame(columns).to_markdown(index=False, tablefmt="simple", disable_numparse=True)


def sentences(variants: Variants, frame: pd.DataFrame) -> list[str]:
    """What the table shows, in one sentence per parameter, the six first; then one for each variant that diverged.

    A sentence claims a difference if the paired interval excludes 0 and the corrected p-value is below 0.05. Otherwise
    it says "no difference found", or "too few images to say" below `paired.FEWEST`.
    """
    found = by_parameter(variants, frame, in_words)
    diverged = [(row["variant"], row["diverged"]) for _, row in frame.iterrows() if row["diverged"]]
    found += [f"{name} diverged, so it is never chosen: {why}." for name, why in diverged]
    return found + of_weights(frame)


def by_parameter(variants: Variants, frame: pd.DataFrame, words: Callable[[pd.Series], str]) -> list[str]:
    """A sentence per parameter with a few words on each of its levels, the six first.

    Args:
        words: what to say of a variant's row of the table; of one that diverged nothing else is said.
    """
    found = []
    for factor, rows in factor_levels(variants, frame).items():
        level_of = {row["variant"]: str(row["level"]).replace("\n", ", ") for _, row in rows.iterrows()}
        reference = level_of[variants.baseline]
        said = []
        for _, row in rows[~rows["is_baseline"]].iterrows():
            said.append(f"{level_of[row['variant']]}: {'diverged' if row['diverged'] else words(row)}")
        if said:
            found.append(f"{factor}, against {reference}: {'; '.join(said)}.")
    others: dict[str, list[str]] = {}
    for _, row in frame.iterrows():
        parameter = variants.parameter_of(row["variant"])
        if parameter and parameter not in FACTORS:
            said_of = "diverged" if row["diverged"] else words(row)
            others.setdefault(parameter, []).append(f"{row['variant']}: {said_of}")
    return found + [f"{parameter}, against the baseline's: {'; '.join(said)}." for parameter, said in others.items()]


def of_weights(frame: pd.DataFrame) -> list[str]:
    """What to know of the variants that start from given weights; mostly nothing."""
    if "initial_weights" not in frame:
        return []
    rows = frame[frame["initial_weights"] != ""]
    if rows.empty:
        return []
    names = [f"{row['variant']} from {row['initial_weights']}" for _, row in rows.iterrows()]
    chosen = "" if (rows["not_chosen"] == "").any() else ", and never chosen as the best (select.pretrained)"
    return [
        f"Not trained from random weights{chosen}: {', '.join(names)}. These weights may have learned from the test "
        f"images: ImageNet's training photographs hold mini-ImageNet's and Tiny ImageNet's test photographs, so such a "
        f"test accuracy says little about new photographs."
    ]


def in_words(row: Row, note: str = "") -> str:
    """One difference with its interval and p-value, after "no difference found" if it is not claimed.

    Args:
        row: difference, difference_low, difference_high (shares, not points), p_value and images.
        note: text after the p-value.
    """
    if pd.isna(row["difference"]):
        return "not compared, as one of the two diverged"
    value, interval = _difference(row).rstrip(")").split(" (")
    unsure = f"{doubt(row)}, " if doubt(row) else ""
    return f"{unsure}{value} points (95% CI {interval}; p {paired.p_words(row['p_value'], equals='= ')}{note})"


def doubt(row: Row) -> str:
    """In words, why a difference is not claimed; empty if it is claimed. `row`: as for `in_words`."""
    if row["images"] < paired.FEWEST:
        return "too few images to say"
    if not (row["p_value"] < 0.05 and row["difference_low"] * row["difference_high"] > 0):  # NaN is no evidence
        return "no difference found"
    return ""


def method(variants: Variants) -> str:
    """How the intervals and p-values of the differences are computed, in a few sentences."""
    measures = (
        "The generalisation gap is training minus validation accuracy, on a fixed sample of training images without "
        "augmentation and on the validation images, with Newcombe's interval; it is about these networks only. "
        "Differences are in points of test accuracy on the same images."
    )
    holm = "Holm-corrected: below 0.05 the chance of any false difference from the baseline is at most 5%"
    alone = (
        "The 95% CI is a paired t interval (after Bonett and Price 2012). p is McNemar's exact test, which counts the "
        f"images that only one of the two networks gets right; it is {holm}."
    )
    measures += " The interval of a test accuracy is Wilson's, over images."
    seeds = {name: variants[name].train.seeds for name in variants}
    if max(seeds.values()) == 1:
        return f"{measures} {alone} None of these covers another training run."
    several = ", ".join(f"{name} {count}" for name, count in seeds.items() if count > 1)
    trained = f"Accuracies are means over the seeds ({several})."
    both = (
        "Where both sides have several seeds, interval and p of a difference cover other images and other training "
        "runs: the half-widths over images (paired t) and over seeds (Welch's t) are added in squares."
    )
    if min(seeds.values()) > 1:
        return f"{measures} {trained} {both} p is {holm}."
    return f"{measures} {trained} {both} Where one side has one seed, they cover other images only. p is {holm}."


def markdown(frame: pd.DataFrame) -> str:
    """The table in Markdown, the best variants in bold."""
    shown = readable(frame)
    shown["variant"] = shown["variant"].where(frame["best_on"] == "", "**" + shown["variant"] + "**")
    return shown.to_markdown(index=False, disable_numparse=True)


def factor_levels(variants: Variants, frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """For each of the six parameters: the baseline's row and those of the variants that change it, with their `level`.

    Rows are in ascending order of the level.
    """
    baseline = variants.baseline
    by_name = frame.set_index("variant", drop=False)
    groups: dict[str, list[str]] = {factor: [baseline] for factor in FACTORS}
    for name in variants:
        factor = variants.parameter_of(name)
        if factor in FACTORS:
            groups[factor].append(name)
    levels = {}
    for factor, names in groups.items():
        rows = by_name.loc[names]
        rows = rows.assign(
            level=[_level(variants, row, row_of(frame, baseline), factor) for _, row in rows.iterrows()],
            is_baseline=rows["variant"] == baseline,
        )
        levels[factor] = rows.sort_values("level", key=lambda column: column.map(_level_order), kind="stable")
    return levels


def pareto_front(cost: pd.Series, accuracy: pd.Series) -> pd.Series:
    """bool for each row, the Pareto front: no other row is at least as cheap and as accurate, and better in one."""
    better = [((cost <= c) & (accuracy >= a) & ((cost < c) | (accuracy > a))).any() for c, a in zip(cost, accuracy)]
    return pd.Series([not one for one in better], index=cost.index)


def on_front(frame: pd.DataFrame, cost: str) -> pd.Series:
    """bool for each row of the table: whether it is on the Pareto front of this cost, a column, and test accuracy.

    Variants that diverged are on none, and drive none from it.
    """
    sound = frame[frame["diverged"] == ""]
    return pareto_front(sound[cost], sound["test_accuracy"]).reindex(frame.index, fill_value=False)


def training_work(frame: pd.DataFrame, baseline: str) -> pd.Series:
    """The work of each variant's training as a multiple of the baseline's: multiply-accumulates of an image x epochs.

    It does not depend on the machine, as seconds do. Images count at their full size, also where training starts with
    smaller ones.
    """
    work: pd.Series = frame["macs"].astype(float) * frame["epochs"].astype(float)
    return work.div(float(work[frame["variant"] == baseline].iloc[0]))


def learning_curves(files: Mapping[str, Path]) -> pd.DataFrame:
    """All variants' learning curves, one below the other: columns variant, epoch, and a column per figure.

    Args:
        files: for each variant the file that stage train wrote, a row per seed and epoch. A curve is the mean over the
            seeds.
    """
    curves = []
    for variant, file in files.items():
        curve = pd.read_csv(file).drop(columns="seed").groupby("epoch").mean().reset_index()
        curves.append(curve.assign(variant=variant))
    frame = pd.concat(curves, ignore_index=True).replace([np.inf, -np.inf], np.nan)
    return frame[["variant", *frame.columns.drop("variant")]]


def _difference(row: Row) -> str:
    """In points, as "+4.1 (2.0 to 6.2)"; empty for the baseline."""
    if pd.isna(row["difference"]):
        return ""
    return points(row["difference"], row["difference_low"], row["difference_high"])


def points(value: float, low: float, high: float) -> str:
    """A difference of shares and its interval in points, as "+4.1 (2.0 to 6.2)"."""
    return f"{100 * value:+.1f} ({100 * low:.1f} to {100 * high:.1f})"


def _settings(model: ModelParams, train: TrainParams) -> dict[str, Any]:
    if not model.parametric:
        columns = {name.replace(" ", "_"): "-" for name in FACTORS}
        return {**columns, "epochs": train.total_epochs}
    pool = "none" if model.max_pool is None else f"{model.max_pool}x{model.max_pool}"
    if model.max_pool and model.pool_stride not in (None, model.max_pool):
        pool += f" by {model.pool_stride}"
    everywhere = " everywhere" * (model.stride > 1 and model.stride_layers == "all")
    if model.pool_every != 1 and (model.max_pool or isinstance(model.filters, int)):
        listed = isinstance(model.pool_every, list)
        ends = f"after {', '.join(map(str, model.block_ends))}" if listed else f"after every {model.pool_every}"
        pool += f" {ends}" if model.max_pool else f", growth {ends}"
    filters = model.filters if isinstance(model.filters, int) else "-".join(map(str, model.filters))
    if isinstance(model.filters, int) and model.filter_growth != 2:
        alike = model.filter_growth == 1
        filters = f"{filters} in each" if alike else f"{filters}, growth {model.filter_growth:g}"
    return {
        "conv_layers": model.conv_layers,
        "fc_layers": model.fc_layers,
        "filters": filters,
        "max_pooling": pool,
        "epochs": train.total_epochs,
        "stride": f"{model.stride}{everywhere}",
    }


def _level(variants: Variants, row: pd.Series, baseline: pd.Series, factor: str) -> str:
    """The factor's value, and below it everything else that differs from the baseline."""
    columns = {name: name.replace(" ", "_") for name in FACTORS if name != factor}
    others = [f"{name} {row[column]}" for name, column in columns.items() if row[column] != baseline[column]]
    shown = {key for keys in FACTORS.values() for key in keys}
    for section in variants.changes(row["variant"]).values():
        more = {key.replace("_", " "): value for key, value in section.items() if key not in shown}
        others += [f"{key} {value if isinstance(value, str) else json.dumps(value)}" for key, value in more.items()]
    return "\n".join([str(row[factor.replace(" ", "_")]), *others])


def _level_order(level: Any) -> tuple[bool, float | str]:
    digits = "".join(c if c.isdigit() else " " for c in str(level).splitlines()[0]).split()
    return (False, float(digits[0])) if digits else (True, str(level))
