"""The generalisation gap: known answers, and how often one is claimed where there is none."""

import numpy as np
import pytest
from scipy.stats import binom

from graybox.data import images
from graybox.study import gap, outcome
from tests.support.answers import answers_of

MORE_SIZES = [((50, 50), 1), ((50, 50), 3), ((1000, 350), 3)]
STUDIES, FEWER = 2000, 300


def at_most(studies: int) -> float:
    """5%, and three standard errors of a share of that many simulated studies: 1.5% of 2,000 and 3.8% of 300."""
    return float(0.05 + 3 * np.sqrt(0.05 * 0.95 / studies))


def test_the_answers_of_each_split_are_read_with_its_own_labels(tmp_path):
    true = {"test": np.array([0, 1]), "validation": np.array([1]), "train": np.array([1, 0, 0])}
    probabilities = {split: np.tile(np.float32([0.8, 0.2]), (2, len(labels), 1)) for split, labels in true.items()}
    np.savez(tmp_path / "a.npz", **probabilities, train_labels=true["train"])
    found = gap.read(tmp_path / "a.npz", {split: true[split] for split in ("test", "validation")})
    assert {split: one.right.tolist() for split, one in found.items()} == {
        "test": [[True, False]] * 2, "validation": [[False]] * 2, "train": [[False, True, True]] * 2
    }  # fmt: skip
    np.testing.assert_allclose(found["train"].losses, [-np.log([0.2, 0.8, 0.8])] * 2, rtol=1e-6)


def test_known_gaps_of_one_and_of_several_networks():
    """98 of 100 training and 70 of 100 other images; Newcombe's interval is that of statsmodels."""
    alone = answers_of(np.arange(50) < 25, np.arange(100) < 70, np.arange(100) < 98)
    found = gap.of_accuracy(alone)
    assert (found.value, found.low, found.high) == pytest.approx((0.28, 0.18476, 0.37694), abs=1e-5)
    assert gap.of_accuracy(alone, "test").value == pytest.approx(0.48)
    assert gap.of_loss(alone).value == pytest.approx(-0.28)
    two = answers_of(np.tile(np.arange(50) < 25, (2, 1)), np.arange(100) < [[60], [80]], np.arange(100) < [[97], [99]])
    assert gap.of_accuracy(two) == found
    more = gap.against(alone, answers_of(np.arange(50) < 25, np.arange(100) < 70, np.arange(100) < 80))
    assert more.value == pytest.approx(0.18) and 0 < more.low < 0.18 < more.high


@pytest.mark.filterwarnings("error")
def test_networks_that_know_all_and_answers_that_are_not_finite_have_a_gap():
    everything = np.ones(30, bool)
    perfect = answers_of(everything)
    assert gap.of_accuracy(perfect).low < 0 < gap.of_accuracy(perfect).high and gap.of_loss(perfect).value == 0
    diverged = {split: gap.Answers(~one.right, np.full((1, 30), np.nan)) for split, one in perfect.items()}
    found = gap.columns(diverged)
    assert found["gap"] == 0 and np.isnan([found["loss_gap"], found["loss_gap_low"]]).all()


@pytest.mark.parametrize("counts", [(20, 20), (60, 30)])
def test_a_network_without_a_gap_is_said_to_have_one_at_the_stated_rate(counts):
    """All outcomes with their chances, so without a simulation's error: few images have few outcomes, so up to 5.5%."""
    outcomes = [np.arange(count + 1) for count in counts]
    claimed = np.array([
        [not found.low <= 0 <= found.high for other in outcomes[1] for found in [
            gap.of_accuracy(answers_of(*2 * [np.arange(counts[1]) < other], np.arange(counts[0]) < right))
        ]]
        for right in outcomes[0]
    ])  # fmt: skip
    rates = [
        np.outer(*(binom.pmf(each, count, accuracy) for each, count in zip(outcomes, counts)))[claimed].sum()
        for accuracy in np.linspace(0.05, 0.95, 91)
    ]
    assert np.mean(rates) <= 0.05 and max(rates) <= 0.055


@pytest.mark.parametrize("accuracy", [0.6, 0.95])
def test_a_network_without_a_gap_is_rarely_said_to_have_one(accuracy):
    random = np.random.default_rng(4)
    claimed = []
    for _ in range(STUDIES):
        train, validation = (random.random((1, count)) < accuracy for count in (1000, 350))
        found = gap.of_accuracy(answers_of(validation, validation, train))
        claimed.append(not found.low <= 0 <= found.high)
    assert np.mean(claimed) <= at_most(STUDIES)


@pytest.mark.parametrize(
    ("counts", "seeds"),
    [((1000, 350), 1), *(pytest.param(*case, marks=pytest.mark.slow) for case in MORE_SIZES)],
)
def test_two_variants_with_equal_gaps_are_rarely_told_apart(counts, seeds):
    """Both are 15 points better on training images; some images are easy for both, and training runs differ."""
    random = np.random.default_rng(5)
    gaps, said = [], []
    for _ in range(FEWER):
        runs = random.normal(0, 0.02 * (seeds > 1), (2, seeds, 1))
        drawn = {}
        for split, count, accuracy in zip(("train", "validation"), counts, (0.85, 0.7)):
            easy = random.normal(0, 0.1, count)
            drawn[split] = [random.random((seeds, count)) < accuracy + easy + run for run in runs]
        first, second = (
            answers_of(validation, validation, train) for train, validation in zip(drawn["train"], drawn["validation"])
        )
        found = gap.against(first, second)
        gaps.append(not found.low <= 0 <= found.high)
        said.append(bool(outcome.of_training({"combined": first, "other": second}, "other", "test", 6)))
    assert np.mean(gaps) <= at_most(FEWER)
    assert np.mean(said) <= at_most(FEWER)  # overfitting or underfitting


def test_a_larger_gap_is_found():
    random = np.random.default_rng(6)
    for _ in range(20):
        train, validation = random.random((1, 1000)) < 0.95, random.random((1, 350)) < 0.7
        other = random.random((1, 1000)) < 0.75, random.random((1, 350)) < 0.7
        assert gap.against(answers_of(validation, validation, train), answers_of(other[1], other[1], other[0])).low > 0


@pytest.mark.parametrize("most", [1, 7, 100, 450, 10_000])
def test_the_sample_of_training_images_has_the_classes_in_proportion(most):
    labels = np.random.default_rng(7).permutation(np.repeat([0, 1, 2], [300, 100, 50]))
    places = images.spread(labels, most)
    assert len(places) == min(most, 450) and (np.diff(places) > 0).all()
    expected = np.array([300, 100, 50]) * len(places) / 450
    assert (abs(np.bincount(labels[places], minlength=3) - expected) <= 1).all()
    assert (places == images.spread(labels, most)).all()
