import hashlib
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from graybox.data.scenes import BACKGROUNDS, NEUTRAL, OBJECTS, Scene, World, draw, render
from graybox.data.scenes import world as world_module
from graybox.data.scenes.objects import OCCLUDERS

CALM = World(noise=(0, 0), hidden=0, clutter=(0, 0))
ALL_OBJECTS = (NEUTRAL, *range(10))


def digest(order) -> str:
    """One number for a few pictures, whatever order they are drawn in."""
    world = World(object_signal=0.5, hidden=0.5)
    pictures = {index: draw(world, "train", index, index % 10).image.tobytes() for index in order}
    return hashlib.sha256(b"".join(pictures[index] for index in sorted(pictures))).hexdigest()


def inside(box, size) -> np.ndarray:
    """The box's pixels, as a mask [size, size]."""
    mask = np.zeros((size, size), dtype=bool)
    x0, y0, x1, y1 = box
    mask[max(0, y0) : y1, max(0, x0) : x1] = True
    return mask


def changed(one: Scene, other: Scene) -> np.ndarray:
    return (one.image != other.image).any(axis=-1)


def filled(index: int, shown: int, world: World = CALM) -> np.ndarray:
    """The pixels that the object fills, [H, W]: those that are the same on four unlike backgrounds."""
    first, *others = (draw(world, "test", index, 0, object=shown, background=ground) for ground in (2, 4, 8, 9))
    return ~np.any([changed(first, other) for other in others], axis=0)


def test_the_names_pair_up():
    assert OBJECTS == (
        "mug", "bottle", "fish", "bird", "car", "boat", "mushroom", "umbrella", "flower", "house",
    )  # fmt: skip
    assert BACKGROUNDS == (
        "wood", "tiles", "water", "sky", "brick", "sand", "leaves", "night", "grass", "snow",
    )  # fmt: skip


def test_same_arguments_same_bytes_in_any_order():
    assert digest(range(20)) == digest(reversed(range(20)))


def test_same_bytes_in_another_process():
    script = "from tests.data.test_scenes import digest; print(digest(range(20)))"
    root = __file__.rsplit("/tests/", 1)[0]
    done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == digest(range(20))


def test_seed_split_and_index_each_make_another_picture():
    pictures = {
        draw(World(seed=seed), split, index, 3, object=3, background=3).image.tobytes()
        for seed in (0, 1)
        for split in ("train", "validation", "test")
        for index in range(5)
    }
    assert len(pictures) == 2 * 3 * 5


def test_labels_decide_nothing_but_the_choice():
    one, other = (draw(World(), "train", 7, label, object=5, background=2) for label in (0, 9))
    assert not changed(one, other).any() and one.box == other.box


@pytest.mark.parametrize("size", [32, 48, 64, 84, 128, 160])
def test_every_size_shows_the_same_scenes(size):
    for index in range(11):
        scene = draw(World(image_size=size), "train", index, index % 10, background=index - 1)
        assert scene.image.shape == (size, size, 3) and scene.image.dtype == np.uint8
        x0, y0, x1, y1 = scene.box
        assert 0 <= x0 < x1 <= size and 0 <= y0 < y1 <= size
        same = draw(World(image_size=96), "train", index, index % 10)
        assert np.allclose(np.array(scene.box) / size, np.array(same.box) / 96, atol=1.5 / size)


@pytest.mark.parametrize("shown", [OBJECTS.index(name) for name in ("mug", "car", "mushroom", "house")])
def test_the_box_is_tight(shown):
    world = replace(CALM, image_size=96)
    for index in range(4):
        x0, y0, x1, y1 = draw(world, "test", index, 0, object=shown).box
        rows, columns = np.nonzero(filled(index, shown, world))
        slack = columns.min() - x0, rows.min() - y0, x1 - 1 - columns.max(), y1 - 1 - rows.max()
        assert all(0 <= side <= 3 for side in slack), slack


@pytest.mark.parametrize("shown", ALL_OBJECTS)
def test_nothing_of_the_object_is_outside_the_box(shown):
    for index in range(4):
        without, full = (
            draw(replace(CALM, contrast=(c, c)), "test", index, 0, object=shown, background=7) for c in (0, 1)
        )
        # Beyond the box is nothing but the shadow, which only darkens; an object mostly brightens the night.
        brighter = (full.image > without.image).any(axis=-1)
        box = inside(full.box, 48)
        assert brighter[box].mean() > 0.2 and not brighter[~box].any()


def test_the_box_is_as_large_as_asked_for():
    world = replace(CALM, object_size=(0.5, 0.5), rotation=0)
    for shown in range(10):
        x0, y0, x1, y1 = draw(world, "test", shown, 0, object=shown).box
        assert 22 <= max(x1 - x0, y1 - y0) <= 26, OBJECTS[shown]


@pytest.mark.parametrize("shown", ALL_OBJECTS)
def test_another_background_keeps_the_object(shown):
    noisy = replace(CALM, noise=(0.04, 0.04), clutter=(3, 4))
    interior = filled(3, shown)
    one, other, plain = (draw(noisy, "test", 3, 0, object=shown, background=ground) for ground in (0, 7, NEUTRAL))
    assert one.box == other.box == plain.box
    box = inside(one.box, 48)
    assert interior[box].mean() > 0.2 and not interior[~box].any()
    for changes in (changed(one, other), changed(one, plain)):
        assert not changes[interior].any()
        assert changes[~box].mean() > 0.9


@pytest.mark.parametrize("shown", ALL_OBJECTS)
def test_another_object_keeps_the_rest(shown):
    world = World(object_size=(0.3, 0.3), hidden=1)
    for index in range(3):
        one = draw(world, "test", index, 0, object=4)
        other = draw(world, "test", index, 0, object=shown)
        assert (one.background, other.object) == (other.background, shown)
        reach = round(0.3 * 48 / 3) + 1  # as far as the shadows
        grown = [
            inside((x0 - reach, y0 - reach, x1 + reach, y1 + reach), 48) for x0, y0, x1, y1 in (one.box, other.box)
        ]
        near = grown[0] | grown[1]
        changes = changed(one, other)
        assert near.mean() < 0.7
        assert not changes[~near].any()
        assert changes.any() == (shown != 4)


def test_objects_and_backgrounds_are_all_distinct():
    for scenes in (
        [draw(CALM, "test", 1, 0, object=shown, background=0) for shown in ALL_OBJECTS],
        [draw(CALM, "test", 1, 0, object=0, background=ground) for ground in ALL_OBJECTS],
    ):
        for i, one in enumerate(scenes):
            for other in scenes[:i]:
                far = np.abs(one.image.astype(int) - other.image).max(axis=-1) > 24
                assert far.mean() > 0.03


def test_low_contrast_fades_the_object_and_its_shadow():
    without, faint, full = (
        draw(replace(CALM, contrast=(c, c)), "test", 2, 0, object=6).image.astype(int) for c in (0, 0.3, 1)
    )
    assert 0 < np.abs(faint - without).mean() < 0.5 * np.abs(full - without).mean()
    gone = draw(replace(CALM, contrast=(0, 0)), "test", 2, 0, object=1).image
    assert np.array_equal(gone, without)


def test_what_stands_in_front_hides_about_the_share_asked_for():
    shares = []
    for index in range(30):
        clear = draw(replace(CALM, object_size=(0.6, 0.6)), "test", index, 0)
        hidden = draw(replace(CALM, object_size=(0.6, 0.6), hidden=1, hidden_share=(0.2, 0.2)), "test", index, 0)
        assert clear.box == hidden.box
        # A shadow darkens a little; only what is covered changes by much.
        far = np.abs(clear.image.astype(int) - hidden.image).max(axis=-1) > 40
        shares.append(far.mean() / 0.6**2)
    assert 0.1 < np.mean(shares) < 0.3


def test_the_covered_share_is_the_share_of_the_object_that_the_thing_in_front_changes(monkeypatch):
    """The shadow apart, two pictures with and without the thing differ where it is, and in no other pixel."""
    covers = []

    def painted(*arguments):
        layer = render.paint_thing(*arguments)
        covers.append(layer.cover)
        return layer

    monkeypatch.setattr(world_module, "paint_thing", painted)
    monkeypatch.setattr(world_module, "draw_light", lambda rng: replace(render.draw_light(rng), shadow=0.0))
    world = replace(CALM, image_size=160, hidden=1)
    found = []
    for index in range(25):
        clear, hidden = draw(replace(world, hidden=0), "test", index, 0), draw(world, "test", index, 0)
        assert clear.covered == 0 and clear.uncovered is clear.image
        assert np.array_equal(hidden.uncovered, clear.image) and 0 <= hidden.covered <= 1
        touched = (hidden.image != clear.image).any(axis=2)
        cover = covers[-1]
        # Soft edges count by how much they cover, and as a whole in the changed pixels: a few percent at most.
        share = cover[touched].sum() / cover.sum()
        assert share - 0.03 < hidden.covered <= share + 0.003
        found.append(hidden.covered)
    assert min(found) < 0.1 and max(found) > 0.2


def test_the_picture_without_the_thing_in_front_is_the_one_of_a_world_that_has_none():
    """Noise, light, shadow and clutter are the same ones."""
    for index in range(12):
        scene = draw(World(hidden=1), "test", index, index % 10)
        assert np.array_equal(scene.uncovered, draw(World(hidden=0), "test", index, index % 10).image)
        assert not np.array_equal(scene.uncovered, scene.image)


def test_a_thing_as_large_as_the_object_covers_it_all_and_a_thing_beside_it_nothing(monkeypatch):
    for half, away, expected in ((4.0, 0.0, 1.0), (0.05, 0.9, 0.0)):

        def put(rng, behind, share, size, light, half=half, away=away):
            pose = render.Pose((behind.centre[0] + away, behind.centre[1] + away), half, 0.0, False)
            return pose, render.paint_thing(OCCLUDERS[0], size, pose, render.draw_look(rng), light)

        monkeypatch.setattr(world_module, "draw_occluder", put)
        assert draw(replace(CALM, hidden=1), "test", 0, 0).covered == pytest.approx(expected, abs=1e-6)


def test_clutter_and_noise_follow_their_knobs():
    bare, littered = (draw(replace(CALM, clutter=(n, n)), "test", 5, 0, object=0, background=NEUTRAL) for n in (0, 6))
    assert 0.01 < changed(bare, littered).mean() < 0.4
    noisy = draw(replace(CALM, noise=(0.03, 0.03)), "test", 5, 0, object=0, background=NEUTRAL)
    error = noisy.image.astype(int) - bare.image
    middling = (bare.image > 40) & (bare.image < 215)  # where the noise is not clipped
    assert error[middling].std() == pytest.approx(0.03 * 255, rel=0.1)


@pytest.fixture(scope="module")
def half_own():
    """Labels, objects and backgrounds [600] of a world in which half are the label's own for sure."""
    world = World(image_size=32, classes=5, object_signal=0.5, context_bias=0.5)
    scenes = [draw(world, "train", index, index % 5) for index in range(600)]
    return np.arange(600) % 5, *(np.array([getattr(s, key) for s in scenes]) for key in ("object", "background"))


def test_the_knobs_are_probabilities(half_own):
    labels, objects, backgrounds = half_own
    expected = 0.5 + 0.5 / 5
    bound = 4 * np.sqrt(expected * (1 - expected) / 600)
    own_object, own_background = objects == labels, backgrounds == labels
    assert abs(own_object.mean() - expected) < bound
    assert abs(own_background.mean() - expected) < bound
    # The two are chosen independently of each other.
    assert abs(np.corrcoef(own_object, own_background)[0, 1]) < 4 / np.sqrt(600)


def test_what_is_not_the_labels_own_is_any_class(half_own):
    labels, objects, backgrounds = half_own
    for chosen in (objects, backgrounds):
        counts = np.bincount((chosen - labels) % 5, minlength=5)[1:]
        assert counts.sum() / 4 == pytest.approx(60, abs=15)
        assert np.abs(counts - counts.mean()).max() < 4 * np.sqrt(counts.mean())


def test_without_bias_the_background_says_nothing_about_the_label():
    world = World(image_size=32, classes=4)
    scenes = [draw(world, "train", index, index % 4) for index in range(480)]
    assert [scene.object for scene in scenes] == [index % 4 for index in range(480)]
    table = np.zeros((4, 4))
    np.add.at(table, (np.arange(480) % 4, [scene.background for scene in scenes]), 1)
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / 480
    assert ((table - expected) ** 2 / expected).sum() < 27.9  # 0.1% of chi-square with 9 degrees of freedom


def test_worlds_that_differ_in_their_probabilities_can_be_compared_in_pairs():
    for index in range(5):
        biased = draw(World(context_bias=1), "train", index, index)
        swapped = draw(World(), "train", index, index, background=index)
        assert biased.background == index and not changed(biased, swapped).any()


@pytest.mark.parametrize(
    "key, value",
    [
        ("image_size", 31), ("image_size", 48.5), ("classes", 11), ("classes", True), ("seed", -1),
        ("object_signal", 1.1), ("context_bias", float("nan")), ("context_bias", "high"), ("rotation", -5),
        ("object_size", 0.5), ("object_size", (0.8, 0.5)), ("object_size", (0, 0.5)), ("noise", (0.1, None)),
        ("clutter", (0, 1.5)), ("hidden", 2), ("hidden_share", (0.1,)), ("contrast", (0.5, 1.5)),
    ],
)  # fmt: skip
def test_a_bad_knob_is_one_clear_sentence(key, value):
    with pytest.raises(ValueError, match=rf"^{key} is .*must.*\.$"):
        World(**{key: value})


def test_a_list_will_do_for_a_range():
    assert World(noise=[0.01, 0.02]) == World(noise=(0.01, 0.02))
    assert isinstance(hash(World(object_size=[0.4, 0.5])), int)


@pytest.mark.parametrize(
    "key, arguments",
    [
        ("label", dict(index=0, label=4)), ("label", dict(index=0, label=-1)),
        ("index", dict(index=-1, label=0)), ("object", dict(index=0, label=0, object=10)),
        ("background", dict(index=0, label=0, background=-2)),
    ],
)  # fmt: skip
def test_a_bad_request_is_one_clear_sentence(key, arguments):
    with pytest.raises(ValueError, match=rf"^{key} is .*must.*\.$"):
        draw(World(classes=4), "train", **arguments)
