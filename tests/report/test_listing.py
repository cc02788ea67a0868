import yaml

from graybox.report.listing import listing


def test_it_gives_the_values_back_in_their_order(raw_params):
    raw_params["variants"] |= {
        "a: b, {c}": {"train": {"learning_rate": 1e-5, "seeds": 7}, "model": {"filters": [1, 2, 3, 4]}},
        "empty": {},
    }
    raw_params["report"]["title"] = "One\ntwo: {three}, [four] " * 5
    shown = listing(raw_params)
    found = yaml.safe_load(shown)
    assert found == raw_params
    assert list(found) == list(raw_params) and list(found["variants"]) == list(raw_params["variants"])


def test_a_variant_takes_one_line_unless_it_is_long():
    one = {"model": {"conv_layers": 2}}
    assert listing({"variants": {"conv-2": one, "baseline": {}}}) == (
        "variants:\n  conv-2: {model: {conv_layers: 2}}\n  baseline: {}\n"
    )
