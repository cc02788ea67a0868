"""Values for params.yaml: every key of the schema, what it must refuse, and small studies that must run."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

from hypothesis import strategies as st
from pydantic.fields import FieldInfo

from graybox import settings
from graybox.schema import Section

# The names of a field's bounds and what they are to `constraints`.
BOUNDS = ("ge", "gt", "le", "lt")


def parameters(section: type[Section] = settings.Params, where: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Each key of params.yaml, such as "model.filters", and its field; not what stands under `variants`."""
    for key, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from parameters(field.annotation, f"{where}{key}.")
        elif key != "variants":
            yield f"{where}{key}", field


def written(key: str, text: str) -> str:
    """A params.yaml that sets one key to the value that `text` is in YAML, and leaves the rest to the defaults."""
    *sections, last = key.split(".")
    lines = [f"{'  ' * depth}{section}:" for depth, section in enumerate(sections)]
    value = f"{'  ' * len(sections)}{last}: {text}"
    return "\n".join([*lines, value, *["variants: {baseline: {}}"] * (key != "variants")]) + "\n"


def constraints(field: FieldInfo) -> dict[str, float]:
    """The bounds of a number by name (ge, gt, le, lt), wherever pydantic keeps them."""
    inside = [one for part in get_args(field.annotation) for one in getattr(part, "__metadata__", ())]
    found = [*field.metadata, *inside]
    found += [deeper for one in found for deeper in getattr(one, "metadata", ())]
    return {name: getattr(one, name) for one in found for name in BOUNDS if getattr(one, name, None) is not None}


def kinds(field: FieldInfo) -> set[Any]:
    """The types that a field takes: int, float, bool, str, list, or None's."""
    parts = get_args(field.annotation) if not isinstance(field.annotation, type) else (field.annotation,)
    bare = {get_args(part)[0] if hasattr(part, "__metadata__") else part for part in parts}
    return {get_origin(part) or part for part in bare} if get_origin(field.annotation) is not list else {list}


def of_field(field: FieldInfo, most: float = math.inf) -> st.SearchStrategy[Any]:
    """Any value within a field's bounds, up to `most`."""
    if get_origin(field.annotation) is Literal:
        return st.sampled_from(get_args(field.annotation))
    found, bounds = kinds(field), constraints(field)
    choices: list[st.SearchStrategy[Any]] = [st.none()] if type(None) in found else []
    low, high = bounds.get("ge", bounds.get("gt", -math.inf)), min(bounds.get("le", bounds.get("lt", math.inf)), most)
    if bool in found:
        choices.append(st.booleans())
    elif int in found:
        choices.append(st.integers(int(low), int(high)))
    elif float in found:
        choices.append(
            st.floats(low, high, exclude_min="gt" in bounds, exclude_max=bounds.get("lt") == high, allow_infinity=False)
        )
    assert choices, field
    return st.one_of(choices)


# What no test could run at its largest: key -> the greatest value that is drawn, or what is drawn instead.
SMALL: dict[str, Any] = {
    "data.classes": st.none(),
    "model.architecture": st.just("cnn"),  # no other has parameters here; tests/pipeline trains them
    "model.weights": st.none(),
    "model.conv_layers": 4,
    "model.filter_growth": 2,
    "model.fc_layers": 4,
    "model.fc_units": 16,
    "model.kernel_size": st.integers(0, 4).map(lambda half: 2 * half + 1),
    "model.stride": st.sampled_from([1, 1, 1, 1, 1, 1, 2, 3, 8]),
    "model.max_pool": st.sampled_from([None, 2, 2, 3]),
    "model.pool_stride": st.sampled_from([None, 1, 1, 1, 1, 2, 3, 1024]),
    "train.learning_rate": 0.03,  # larger ones make some of the networks diverge
    "train.muon_learning_rate": 0.03,
    "train.weight_decay": 1,
    "train.muon_weight_decay": 1,
    "train.seeds": 2,
    "correspondence.random_draws": 12,
    "model.filters": st.none(),  # these lists are drawn apart
    "model.pool_every": st.none(),
    "model.residual": 4,
    "occlusion.images": st.just(1),
    "occlusion.other_windows": st.none(),
    "reliance.maps": st.one_of(st.integers(1, 3), st.just(1_000_000)),
}


@st.composite
def sections(draw: st.DrawFn, *names: str) -> dict[str, dict[str, Any]]:
    """Values of sections, key by key within the schema's bounds and `SMALL`; they may not go together."""
    found: dict[str, dict[str, Any]] = {}
    for key, field in parameters():
        section, _, name = key.partition(".")
        if section in names:
            wanted = SMALL.get(key, math.inf)
            value = draw(wanted if isinstance(wanted, st.SearchStrategy) else of_field(field, wanted))
            found.setdefault(section, {})[name] = value
    return found


def with_room_for_shortcuts(model: dict[str, Any]) -> dict[str, Any]:
    """The same parameters, but no shortcut spans more conv layers than the longest block has."""
    layers, every = model["conv_layers"], model["pool_every"]
    longest = min(every, layers) if isinstance(every, int) else max(*every, layers - sum(every))
    return model | {"residual": min(model["residual"], longest)}


@st.composite
def small_studies(draw: st.DrawFn) -> dict[str, Any]:
    """A params.yaml for 8 to 32 pixels and networks of up to 8 filters, any key anywhere in its range otherwise."""
    drawn = draw(sections("model", "train", "evaluate", "occlusion", "reliance", "correspondence", "mistakes"))
    size, layers = draw(st.integers(8, 32)), drawn["model"]["conv_layers"]
    one = st.integers(1, 8)
    drawn["model"]["filters"] = draw(st.one_of(one, st.lists(one, min_size=layers, max_size=layers)))
    blocks = st.sampled_from([[layers], [1] * layers, [1, *[layers - 1] * (layers > 1)]])
    drawn["model"]["pool_every"] = draw(st.one_of(st.integers(1, layers), blocks))
    drawn["model"] = with_room_for_shortcuts(drawn["model"])
    if not drawn["model"]["global_average_pool"]:
        drawn["train"]["start_size"] = 1.0
    # One or two epochs, however that is written.
    times = draw(st.sampled_from([1, 1, 7, 100_000]))
    drawn["train"] |= {"epochs": times, "epochs_factor": draw(st.floats(0.4, 2.4)) / times}
    drawn["evaluate"]["shift"] = draw(st.integers(0, size - 1))
    window = st.integers(0, (size - 1) // 2).map(lambda half: 2 * half + 1)
    drawn["occlusion"] |= {"window": draw(window), "other_windows": draw(st.lists(window, max_size=3))}
    for section, key in (("occlusion", "stride"), ("occlusion", "other_stride"), ("reliance", "map_stride")):
        drawn[section][key] = draw(st.integers(2, size - 1))
    variants = {
        "baseline": {},
        "other": draw(st.sampled_from([{}, {"model": {"fc_layers": 1}}, {"train": {"seed": 7}}])),
    }
    source = {"source": "folder"}
    return {"data": source, "sources": {"folder": {"image_size": size}}, **drawn, "variants": variants,
            "run": {"device": "cpu"}}  # fmt: skip
