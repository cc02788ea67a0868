"""The captions say what the results show, whatever that is."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from graybox.mistakes.reasons_table import MINOR, SUPPORTED, UNSUPPORTED
from graybox.report import captions


def curves(**accuracies: list[float]) -> pd.DataFrame:
    return pd.concat(
        pd.DataFrame({"variant": name, "epoch": range(1, len(curve) + 1), "validation_accuracy": curve})
        for name, curve in accuracies.items()
    )


FLAT, RISING = [0.3, 0.5, 0.61, 0.6, 0.61, 0.61, 0.6, 0.6], [0.3, 0.4, 0.5, 0.6, 0.6, 0.6, 0.62, 0.65]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"a": RISING, "b": RISING}, "All 2 networks still gain validation accuracy in the last epochs, so more"),
        ({"a": RISING, "b": FLAT}, "a still gains validation accuracy in the last epochs, so more epochs may change"),
        ({"a": FLAT, "b": FLAT}, "No network gains validation accuracy in its last epochs any more."),
        ({"a": RISING}, "a still gains validation accuracy in the last epochs, so more epochs may help."),
        (
            {**dict.fromkeys("abcdef", RISING), "g": FLAT},
            "6 of 7 networks still gain validation accuracy in the last epochs, so more epochs may change the order.",
        ),
        # Its last epoch is not the best, but well above all before the last quarter.
        ({"a": [0.3, 0.4, 0.4, 0.4, 0.4, 0.4, 0.6, 0.59], "b": FLAT}, "a still gains"),
    ],
)  # fmt: skip
def test_curves_that_still_move_are_named(given, said):
    assert captions.still_gaining(curves(**given)).startswith(said)


def test_where_the_learning_rate_falls_a_gain_promises_nothing():
    said = captions.still_gaining(curves(a=RISING, b=FLAT), falls=["a", "b"])
    assert said.startswith("a gains validation accuracy up to the last epochs, in which its learning rate falls to 0.")
    assert "That alone can raise the accuracy" in said and "more epochs may" not in said
    assert captions.still_gaining(curves(a=FLAT), falls=["a"]).startswith("No network gains")


def test_variants_with_another_schedule_are_told_apart():
    said = captions.still_gaining(curves(a=RISING, b=RISING, c=RISING), falls=["a", "c"])
    constant, falling = "b still gains validation accuracy", "a and c gain validation accuracy up to the last epochs"
    assert said.startswith(f"{constant} in the last epochs, so more epochs may change the order. {falling}, in which")
    assert "All" not in said
    assert captions.still_gaining(curves(a=RISING, b=RISING), falls=["a", "b"]).startswith("All 2 networks gain")


def test_the_schedule_is_each_variants_own(tmp_path):
    (tmp_path / "plots").mkdir()
    curves(a=RISING, b=RISING).to_csv(tmp_path / "plots/curves.csv", index=False)
    table = pd.DataFrame({"variant": ["a", "b"], "diverged": ""})
    recipes = {name: SimpleNamespace(train=SimpleNamespace(schedule=how)) for name, how in
               (("a", "one_cycle"), ("b", "constant"))}  # fmt: skip
    said = captions.learning_curves(SimpleNamespace(root=tmp_path, table=table, recipes=recipes))
    assert "b still gains" in said and "a gains validation accuracy up to the last epochs" in said


def test_the_curves_of_a_diverged_variant_are_not_compared(tmp_path):
    (tmp_path / "plots").mkdir()
    curves(a=FLAT, b=RISING, lost=[0.1, 0.05, np.nan]).to_csv(tmp_path / "plots/curves.csv", index=False)
    table = pd.DataFrame({"variant": ["a", "b", "lost"], "diverged": ["", "", "the loss is not finite"]})
    train = SimpleNamespace(train=SimpleNamespace(schedule="constant"))
    said = captions.learning_curves(SimpleNamespace(root=tmp_path, table=table, recipes=dict.fromkeys("ab", train)))
    assert "a with the lowest, 60.0% (lost diverged and is not compared)." in said


def test_one_epoch_and_a_diverged_network_say_nothing():
    assert captions.still_gaining(curves(a=[0.5])) == ""
    assert captions.still_gaining(curves(a=[0.5, 0.4, np.nan])) == ""


def test_the_largest_and_the_smallest_gap_are_named():
    table = pd.DataFrame({"variant": ["a", "b", "c", "combined"], "gap": [0.02, 0.12, -0.01, 0.12], "diverged": ""})
    said = captions.gaps(SimpleNamespace(table=table))
    assert said.endswith("largest, +12.0 points with b, and smallest, -1.0 points, with c.")
    table.loc[2, "diverged"] = "the loss is not finite"
    said = captions.gaps(SimpleNamespace(table=table))
    assert said.endswith("smallest, +2.0 points, with a (c diverged and is not compared).")


def test_what_a_variant_costs_is_work_and_a_variant_that_diverged_is_on_no_front():
    table = pd.DataFrame(
        {"variant": ["base", "long", "lost"], "macs": [1e6, 1e6, 1e3], "epochs": [4, 12, 4],
         "test_accuracy": [0.5, 0.8, 0.9], "diverged": ["", "", "the loss is not finite"]}
    )  # fmt: skip
    results = SimpleNamespace(table=table, winner=table.iloc[1], baseline=table.iloc[0],
                              recipes=SimpleNamespace(baseline="base"))  # fmt: skip
    assert captions.costs(results) == (
        "What accuracy costs: long has 80.0% with 1.0 times the baseline's multiply-accumulates for an image and 3.0 "
        "times its work of training; no other variant is both cheaper in multiply-accumulates and better than long "
        "(lost diverged and is not compared)."
    )


def test_the_reasons_are_told_apart_by_what_was_found():
    found = pd.DataFrame(
        {"title": ["dark picture", "small object", "bright picture"], "p_value": [0.01, 0.01, 0.5],
         "finding": [MINOR, SUPPORTED, UNSUPPORTED]}
    )  # fmt: skip
    said = captions.reasons(SimpleNamespace(reasons=found))
    assert "3 tested reasons small object is more frequent among the mistakes, and most of the mistakes with it" in said
    assert "dark picture is more frequent among the mistakes, but fewer than half" in said and "bright" not in said
    assert "none explains most" in captions.reasons(SimpleNamespace(reasons=found.iloc[[0, 2]]))
