"""Graybox: what does a network look at, and does it rest on the object or on its surroundings (the context)?

A notebook needs only the names below; `docs/api.md` has an example of each. They need neither params.yaml nor DVC:

    import graybox

    train, test = graybox.draw_scenes(200, classes=2), graybox.draw_scenes(60, classes=2, split="test")
    layers = graybox.ModelParams(conv_layers=3, filters=8, fc_units=32)
    fitted = graybox.fit(layers, graybox.TrainParams(epochs=6, batch_size=16), train, test, device="cpu")
    found = graybox.occlusion_map(fitted.model, test.images[0], test.labels[0], window=11, stride=4)
    print(found.confidence.shape, found.lowest)  # the window centre with the lowest confidence, in pixels
    graybox.plot_map(found, test.images[0], test.class_names).savefig("map.png")
    print(graybox.judge(graybox.intervene(fitted.model, test)).sentence())

Modules are loaded when they are first used, so `import graybox` alone is fast. The package has eleven rooms; each
begins with a paragraph on its purpose, and docs/design.md shows which room uses which.
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graybox.data.images import ImageSet
    from graybox.data.images import load as load_images
    from graybox.data.prepare_folder import Splits, prepare_folder
    from graybox.data.read_folder import read_folder
    from graybox.data.scenes.pictures import draw_scenes
    from graybox.errors import UserError
    from graybox.figures.panels import map_figure as plot_map
    from graybox.network.cnn import CNN
    from graybox.network.cnn import load as load_model
    from graybox.network.cnn import save as save_model
    from graybox.network.inference import probabilities
    from graybox.network.params import ModelParams, TrainParams
    from graybox.network.progress import Epoch
    from graybox.network.training import Fit, fit
    from graybox.network.wrapped import Wrapped
    from graybox.occlusion.confidence import OcclusionMap
    from graybox.occlusion.evidence import MapEvidence, map_evidence
    from graybox.occlusion.fills import fill_picture
    from graybox.occlusion.maps import occlusion_map
    from graybox.reliance.interventions import Interventions, intervene
    from graybox.reliance.verdict import Reliance, judge

__all__ = [
    "CNN", "Epoch", "Fit", "ImageSet", "Interventions", "MapEvidence", "ModelParams", "OcclusionMap", "Reliance",
    "Splits", "TrainParams", "UserError", "Wrapped", "draw_scenes", "fill_picture", "fit", "intervene", "judge",
    "load_images", "load_model", "map_evidence", "occlusion_map", "plot_map", "prepare_folder", "probabilities",
    "read_folder", "save_model",
]  # fmt: skip

# The module of each name, and its name there if it differs.
_PLACES = {
    "data.images": {"ImageSet": "", "load_images": "load"},
    "data.prepare_folder": {"Splits": "", "prepare_folder": ""},
    "data.read_folder": {"read_folder": ""},
    "data.scenes.pictures": {"draw_scenes": ""},
    "errors": {"UserError": ""},
    "figures.panels": {"plot_map": "map_figure"},
    "network.cnn": {"CNN": "", "load_model": "load", "save_model": "save"},
    "network.inference": {"probabilities": ""},
    "network.params": {"ModelParams": "", "TrainParams": ""},
    "network.progress": {"Epoch": ""},
    "network.training": {"Fit": "", "fit": ""},
    "network.wrapped": {"Wrapped": ""},
    "occlusion.confidence": {"OcclusionMap": ""},
    "occlusion.evidence": {"MapEvidence": "", "map_evidence": ""},
    "occlusion.fills": {"fill_picture": ""},
    "occlusion.maps": {"occlusion_map": ""},
    "reliance.interventions": {"Interventions": "", "intervene": ""},
    "reliance.verdict": {"Reliance": "", "judge": ""},
}


def __getattr__(name: str) -> Any:
    """A name of `__all__`; its module is loaded on first use (PEP 562)."""
    for module, names in _PLACES.items():
        if name in names:
            found = getattr(_import_module(f"graybox.{module}"), names[name] or name)
            globals()[name] = found  # look it up only once
            return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
