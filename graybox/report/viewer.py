"""The data of the occlusion viewer: for each image and N the leading classes' probabilities, one byte each."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from graybox.occlusion.confidence import OcclusionMap
from graybox.reliance.experiment import Experiment
from graybox.report.pictures import data_url


def data(experiments: Sequence[Experiment]) -> dict[str, Any]:
    """What page.js reads.

    Returns:
        "images": for each image its "name", "width" and "height", "picture" and "fill" (what the window shows; both
        data URLs), the object "box" (x0, y0, x1, y1, or null), the main "window", and "maps". A map has its "window",
        the first centre, the step and the count of "rows" and of "columns", the names of the "classes", the place of
        the true class among them ("truth"), the probabilities of the "whole" image (0..1), and "bytes": base64 of uint8
        [classes, rows, columns], 255 = 1.
    """
    return {"images": [_image(one) for one in experiments]}


def _image(one: Experiment) -> dict[str, Any]:
    height, width = one.image.shape[:2]
    answer, true = int(one.main.unoccluded.argmax()), one.class_names[one.main.label]
    taken = "" if answer == one.main.label else f", taken for {one.class_names[answer]}"
    return {
        "name": f"{true}{taken}",
        "width": width,
        "height": height,
        "picture": _png(one.image),
        "fill": _png(np.rint(255 * np.broadcast_to(one.shown, one.image.shape)).astype(np.uint8)),
        "box": None if np.isnan(one.box).any() else [round(float(place), 1) for place in one.box],
        "window": one.window,
        "maps": [_map(found, one.class_names) for found in one.maps.values()],
    }


def _map(found: OcclusionMap, class_names: Sequence[str]) -> dict[str, Any]:
    classes, shares = found.leading, found.leading_probabilities
    if classes is None or shares is None:  # a map of an earlier version
        classes, shares = np.array([found.label]), found.confidence[..., None]
    order = np.argsort(-found.unoccluded[classes], kind="stable")
    classes, shares = classes[order], shares[..., order]
    levels = np.rint(255 * np.clip(shares, 0, 1)).astype(np.uint8).transpose(2, 0, 1)
    rows, columns = ([int(axis[0]), int(axis[1] - axis[0]) if len(axis) > 1 else 1, len(axis)]
                     for axis in (found.rows, found.columns))  # fmt: skip
    return {
        "window": int(found.window),
        "rows": rows,
        "columns": columns,
        "classes": [class_names[label] for label in classes],
        "truth": int(np.flatnonzero(classes == found.label)[0]),
        "whole": [round(float(found.unoccluded[label]), 3) for label in classes],
        "bytes": base64.b64encode(np.ascontiguousarray(levels).tobytes()).decode(),
    }


def _png(image: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return data_url(buffer.getvalue(), "png")
