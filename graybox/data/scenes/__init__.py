"""`scenes`: a generated data set with a known truth.

Ten everyday objects stand on ten kinds of background. Each class has an object and a background of its own,
and two parameters set how often a picture shows them: `object_signal` and `context_bias`. So it is known what
a classifier can learn from. The same picture can also be drawn again with another object or another background.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graybox.data.scenes.backgrounds import BACKGROUNDS
    from graybox.data.scenes.objects import OBJECTS
    from graybox.data.scenes.world import NEUTRAL, Scene, World, draw

__all__ = ["BACKGROUNDS", "NEUTRAL", "OBJECTS", "Scene", "World", "draw"]


def __getattr__(name: str) -> Any:
    """One of `__all__`, from its module, which is loaded when first asked for (PEP 562)."""
    if name in __all__:
        module = {"BACKGROUNDS": "backgrounds", "OBJECTS": "objects"}.get(name, "world")
        return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
