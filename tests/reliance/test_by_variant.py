"""What each variant rests on: known answers, what is claimed of a parameter, and how often without a reason."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from graybox.data.images import ImageSet
from graybox.reliance import by_variant, variant_words
from graybox.reliance.by_variant import Hidden
from graybox.reliance.interventions import NAMES, intervene, some_boxed
from graybox.reliance.validated import LEAST_IMAGES
from graybox.reliance.verdict import judge
from graybox.statistics import paired
from tests.reliance.test_interventions import Patch, coded

CHANCE = 0.1


def hidden(as_is: float, object_alone: float, context_alone: float, control: float = 1, images: int = 300) -> Hidden:
    """One network: its accuracy, and the shares of it above chance that it keeps, as near as whole images come."""
    accuracies = [as_is, *(CHANCE + kept * (as_is - CHANCE) for kept in (context_alone, object_alone, control))]
    return Hidden(np.arange(images) < np.rint(images * np.array(accuracies))[None, :, None], CHANCE)


def table_of(recipes, found: dict[str, Hidden], diverged: str = "") -> pd.DataFrame:
    """The columns of the study's table that are read here, and the new ones."""
    frame = pd.DataFrame({
        "variant": list(found), "diverged": ["no result" * (name == diverged) for name in found], "covers_seeds": False,
        **{name: "1" for name in ("fc_layers", "filters", "max_pooling", "epochs")},
        **{name: [str(getattr(recipes[row].model, name)) for row in found] for name in ("conv_layers", "stride")},
    })  # fmt: skip
    return by_variant.extended(recipes, frame, found)


@pytest.fixture
def recipes(params):
    return params.recipes


@pytest.fixture
def alike(recipes) -> dict[str, Hidden]:
    """All variants the same: they rest on the object."""
    return {name: hidden(0.7, 0.8, 0.05) for name in recipes}


def test_shares_and_verdict_are_those_of_judge():
    images = coded([[5, 5, 11, 11]] * 80)
    judged = intervene(Patch(8, 8), images, gray=1.0)
    right = np.stack([judged.correct()[name] for name in NAMES]).astype(bool)  # of this network all sides are the same
    found = Hidden(right[None], judged.chance)
    expected = judge(judged)
    for name in by_variant.HIDDEN:
        one = paired.mean_of(*found.kept(name))
        same = getattr(expected, name)
        assert one.value == pytest.approx(same.value) == found.kept(name)[0].mean()
        assert (one.low, one.high) == pytest.approx((same.low, same.high), abs=0.1)
    verdict, stability = by_variant._verdict(found, 2000)
    assert verdict == expected.verdict == "object" and stability == pytest.approx(expected.stability, abs=0.02)


def test_a_planted_change_is_claimed_and_no_other(recipes, alike):
    alike["stride-3"] = hidden(0.55, 0.5, 0.05)
    alike["conv-2"] = hidden(0.55, 0.8, 0.4)
    frame = table_of(recipes, alike).set_index("variant")
    assert frame.loc["stride-3", "object_alone"] == pytest.approx(0.5, abs=0.01)
    assert frame.loc["stride-3", "object_alone_difference"] == pytest.approx(-0.3, abs=0.01)
    said = variant_words.sentences(recipes, frame.reset_index())
    (stride,) = (one for one in said if one.startswith("stride, against 1"))
    two, three = stride.split("; 3: ")
    assert "no change found" in two and "less" not in two
    assert three.startswith("the object alone keeps 29.6 points less (95% CI 18.7 to 40.2; p < 0.001)")
    assert "context" not in three and "hiding itself" not in three
    (conv,) = (one for one in said if one.startswith("conv layers"))
    assert "2: the context alone keeps 3" in conv and "points more" in conv.split("; 3:")[0]
    assert sum(" points less" in one or " points more" in one for one in said) == 2
    object_ones, _, mixed = said[0].partition("; ")
    assert "rest on: object (baseline, conv-3, " in object_ones and mixed.startswith("mixed (conv-2*) (*: close")


def test_one_verdict_for_all_is_said_in_one_phrase(recipes, alike):
    said = variant_words.sentences(recipes, table_of(recipes, alike))[0]
    assert said.endswith(f"the variants rest on: object (all {len(alike)} variants).")


def test_a_variant_that_bears_hidden_areas_worse_is_said_to(recipes, alike):
    alike["stride-3"] = hidden(0.7, 0.5, 0.05, control=0.6)
    (said,) = (one for one in variant_words.sentences(recipes, table_of(recipes, alike)) if one.startswith("stride"))
    assert "hiding itself may be a reason: with an equal area of context hidden it keeps" in said.split("; 3: ")[1]


def test_a_change_within_the_noise_is_not_claimed_and_holm_counts_both_shares_of_all(recipes, alike):
    alike["stride-3"] = hidden(0.7, 0.74, 0.05)
    frame = table_of(recipes, alike).set_index("variant")
    alone = paired.compare_values(*(alike[name].kept("object_alone")[0] for name in ("stride-3", "baseline")), 1 / 0.6)
    assert frame.loc["stride-3", "object_alone_p_value"] == pytest.approx(min(1, alone.p_value * 2 * (len(frame) - 1)))
    assert frame.loc["baseline", ["object_alone_difference", "object_alone_p_value"]].isna().all()


def test_a_variant_near_chance_or_without_a_result_has_no_shares(recipes, alike):
    alike["conv-2"] = hidden(0.2, 0.9, 0.0)
    frame = table_of(recipes, alike, diverged="conv-3")
    rows = frame.set_index("variant")
    for name in ("conv-2", "conv-3"):
        assert rows.loc[name, ["object_alone", "context_alone_low", "object_alone_difference"]].isna().all()
    assert rows.loc["conv-2", "verdict"] == "cannot tell"
    (said,) = (one for one in variant_words.sentences(recipes, frame) if one.startswith("conv layers"))
    assert "2: too near to chance to compare; 3: diverged; 5: no change found" in said
    alike["baseline"] = alike["conv-2"]
    assert "baseline is too near to chance" in variant_words.sentences(recipes, table_of(recipes, alike))[-1]


def test_without_boxed_images_there_are_no_columns_and_one_sentence(recipes, alike):
    none = {name: Hidden(np.zeros((1, 4, 0), bool), np.nan) for name in alike}
    frame = table_of(recipes, none)
    assert not [name for name in frame if "alone" in name or name in ("verdict", "stability", "boxed_images")]
    (said,) = variant_words.sentences(recipes, frame, boxes=False)
    assert said.endswith("no test image has an object box.")
    (said,) = variant_words.sentences(recipes, frame)
    assert said.endswith("evaluate.boxed_images is 0.")


def test_a_handful_of_images_claims_nothing(recipes):
    found = {name: hidden(1, 1, 0, images=10) for name in recipes}
    found["stride-3"] = hidden(1, 0.0, 1, images=10)
    (said,) = (one for one in variant_words.sentences(recipes, table_of(recipes, found)) if one.startswith("stride"))
    assert said.count("too few images to say") == 2 and "less" not in said


def test_with_several_seeds_their_spread_is_in_the_interval_and_in_the_stability(recipes):
    steady = Hidden(np.concatenate([hidden(0.7, 0.52, 0.05).right] * 3), CHANCE)
    moving = Hidden(np.concatenate([hidden(0.7, kept, 0.05).right for kept in (0.3, 0.52, 0.74)]), CHANCE)
    a, b = (paired.mean_of(*found.kept("object_alone")) for found in (steady, moving))
    assert a.value == pytest.approx(b.value, abs=0.01) and b.high - b.low > 3 * (a.high - a.low)
    assert by_variant._verdict(moving, 1000)[1] < by_variant._verdict(steady, 1000)[1]


def alike_in_truth(
    random: np.random.Generator, seeds: int, skills: tuple[float, float], share: float, noise: float, images: int = 300
) -> list[Hidden]:
    """Two variants that keep the same share of different accuracies, whose networks vary between training runs."""
    hard, found = random.standard_normal(images), []
    for skill in skills:
        right = np.zeros((seeds, 4, images), bool)
        own = (hard + 0.7 * random.standard_normal((seeds, images))) / np.sqrt(1.49)
        again = 0.7 * own + np.sqrt(0.51) * random.standard_normal((seeds, images))
        level = skill + noise * random.standard_normal((seeds, 1))
        kept = share + noise * random.standard_normal((seeds, 1))
        right[:, 0] = norm.cdf(own) < CHANCE + (1 - CHANCE) * level
        right[:, NAMES.index("context_hidden")] = norm.cdf(again) < CHANCE + (1 - CHANCE) * level * kept
        found.append(Hidden(right, CHANCE))
    return found


@pytest.mark.parametrize(("seeds", "noise"), [(1, 0.0), (3, 0.0), (3, 0.08)])
@pytest.mark.parametrize(("skills", "share"), [((0.8, 0.8), 0.8), ((0.8, 0.25), 0.8), ((0.3, 0.3), 0.2)])
def test_variants_that_keep_the_same_are_told_apart_in_at_most_5_percent(seeds, noise, skills, share):
    random, studies = np.random.default_rng(5), 300
    claimed = 0
    for _ in range(studies):
        mine, theirs = (one.kept("object_alone") for one in alike_in_truth(random, seeds, skills, share, noise))
        claimed += paired.compare_values(mine[0], theirs[0], max(mine[1], theirs[1])).p_value < 0.05
    assert claimed / studies <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / studies)


def test_intervals_over_images_alone_claim_too_much_of_networks_that_vary():
    """A planted fault, which the test above must be able to see: the seeds as if they were one network."""
    random, studies, claimed = np.random.default_rng(5), 200, 0
    for _ in range(studies):
        mine, theirs = (one.kept("object_alone") for one in alike_in_truth(random, 3, (0.8, 0.8), 0.8, 0.08))
        both = paired.compare_values(mine[0].mean(axis=0), theirs[0].mean(axis=0), mine[1])
        claimed += both.p_value < 0.05
    assert claimed / studies > 0.2


def test_variants_asked_about_too_few_objects_of_an_allowed_size_have_figures_and_no_verdict(recipes, alike, tmp_path):
    sizes = {"enough": np.full(80, 0.6), "few": np.where(np.arange(80) < LEAST_IMAGES - 1, 0.6, 0.1)}
    found = {}
    for name, size in sizes.items():
        side = np.round(size * 100)
        boxes = np.stack([np.zeros(80), np.zeros(80), side, side], 1).astype(np.float32)
        images = np.zeros((80, 100, 100, 3), np.uint8)
        test = ImageSet(images, np.arange(80) % 10, tuple("abcdefghij"), tuple(map(str, range(80))), boxes)
        rows = some_boxed(test, 60)
        assert (size[rows] == 0.6).all() == (name == "enough") and len(rows) == 60
        right = hidden(0.7, 0.8, 0.05, images=60).right
        np.savez(tmp_path / f"{name}.npz", boxed=rows, right_when_hidden=right)
        found[name] = by_variant.read(tmp_path / f"{name}.npz", test)
    assert found["enough"].has_verdict and not found["few"].has_verdict
    frame = table_of(recipes, dict.fromkeys(alike, found["few"]))
    assert (frame["verdict"] == "no verdict").all() and frame["stability"].isna().all()
    assert frame["object_alone"].notna().all()
    said = variant_words.sentences(recipes, frame)
    assert said[0].startswith("There is no verdict on the variants, only the figures: of the 60 test images")
    assert any(one.startswith("stride, against 1") for one in said)
