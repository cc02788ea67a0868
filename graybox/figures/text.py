"""What is written in figures is plain text, in fonts that have its characters.

Names of classes and files are not ours. matplotlib would read `$1 taken for $5` as a formula, and its own font has no
Chinese, Japanese, Korean or Thai characters.
"""

from __future__ import annotations

import functools
import unicodedata
import warnings
from collections.abc import Callable, Collection, Iterator
from functools import lru_cache
from pathlib import Path
from typing import ParamSpec

from matplotlib import font_manager, rc_context
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.font_manager import FontEntry, FontProperties
from matplotlib.text import Text

from graybox.figures.style import RC

Given = ParamSpec("Given")

MISSING = "□"  # stands for a character that no installed font has
UNWANTED = ("last resort", "lastresort", "blank")  # fonts that have a stand-in for each character, or nothing at all


class UndrawableWarning(UserWarning):
    """No installed font has some characters of a figure.

    Attributes:
        characters: those characters.
    """

    def __init__(self, characters: Collection[str]) -> None:
        self.characters = "".join(sorted(characters))
        super().__init__(sentence(self.characters))


def sentence(wanted: str) -> str:
    """What to tell the reader. `wanted`: the characters or names that cannot be drawn."""
    return (
        f"no installed font can draw {wanted}; the figures show {MISSING} instead. Install a font that can, "
        f"such as Noto Sans of that script, and draw again"
    )


def plain(draw: Callable[Given, Figure]) -> Callable[Given, Figure]:
    """Decorate a function that draws a figure: its sizes and lines are those of `style`, its text is never read as a
    formula, and has fonts that can draw it.

    Text that is created later, such as the numbers at an axis, is the user's matplotlib settings' matter again.
    """

    @functools.wraps(draw)
    def drawn(*arguments: Given.args, **named: Given.kwargs) -> Figure:
        with rc_context({**RC, "text.parse_math": False, "text.usetex": False}):  # type: ignore[dict-item]
            figure = draw(*arguments, **named)
        choose_fonts(figure)
        return figure

    return drawn


def choose_fonts(figure: Figure) -> None:
    """Add to each text the installed fonts that have the characters which its own fonts lack.

    Where no font has a character, "□" stands for it.

    Warns:
        UndrawableWarning: once for all such characters of the figure.
    """
    lacking = {text: lacks for text in _texts(figure) if (lacks := lacked(text))}
    wanted = set().union(*lacking.values())
    fonts, undrawable = fonts_with(frozenset(wanted)) if wanted else ((), frozenset())
    if undrawable:
        warnings.warn(UndrawableWarning(undrawable), stacklevel=3)
        table = dict.fromkeys(map(ord, undrawable), MISSING)
        for axis in _axes(figure):
            labels = [label.get_text() for label in axis.get_ticklabels()]
            if any(set(label) & undrawable for label in labels):  # an axis writes its labels anew when it is drawn
                axis.set_ticks(axis.get_ticklocs(), [label.translate(table) for label in labels])
        for text in lacking:
            text.set_text(text.get_text().translate(table))
    for text in lacking:
        text.set_fontfamily([*text.get_fontfamily(), *fonts])


def lacked(text: Text) -> set[str]:
    """The characters that none of a text's own fonts has."""
    if text.get_text().isascii():
        return set()
    drawn = {char for char in text.get_text() if unicodedata.category(char) not in ("Cc", "Cf", "Zl", "Zp", "Zs")}
    for family in text.get_fontfamily():
        if not drawn:
            break
        one = FontProperties(
            family=[family], style=text.get_fontstyle(), variant=text.get_fontvariant(), weight=text.get_fontweight()
        )
        drawn -= _characters(str(font_manager.findfont(one)))
    return drawn


@lru_cache
def fonts_with(wanted: frozenset[str]) -> tuple[tuple[str, ...], frozenset[str]]:
    """The installed fonts that have these characters, as few as possible; and the characters that no font has."""
    _find_new_fonts()
    left, found = set(wanted), []
    entries = [entry for entry in font_manager.fontManager.ttflist if _usable(entry)]
    while left and (best := max(entries, key=lambda entry: (len(left & _of(entry)), *_liking(entry)), default=None)):
        if not left & _of(best):
            break
        found.append(best.name)
        left -= _of(best)
    return tuple(found), frozenset(left)


def _find_new_fonts() -> None:
    """matplotlib keeps a list of fonts between runs; add those that were installed since."""
    known = {entry.fname for entry in font_manager.fontManager.ttflist}
    for path in font_manager.findSystemFonts():
        if path not in known:
            try:
                font_manager.fontManager.addfont(path)
            except (OSError, RuntimeError, NotImplementedError):  # a damaged font, or one of bitmaps only
                continue


def _usable(entry: FontEntry) -> bool:
    return not any(name in entry.name.lower() for name in UNWANTED)


def _liking(entry: FontEntry) -> tuple[bool, bool, bool]:
    """Which of two fonts with the same characters is better: plain, of usual weight, without serifs."""
    return entry.style == "normal", str(entry.weight) in ("400", "regular", "normal"), "Sans" in entry.name


def _of(entry: FontEntry) -> frozenset[str]:
    return _characters(entry.fname)


@functools.cache
def _characters(path: str) -> frozenset[str]:
    """The characters that a font file can draw; none if it can't be read or holds bitmaps only."""
    try:
        font = font_manager.get_font(Path(path))
        return frozenset(map(chr, font.get_charmap())) if font.scalable else frozenset()
    except (OSError, RuntimeError):
        return frozenset()


def _texts(figure: Figure) -> Iterator[Text]:
    yield from (artist for artist in figure.findobj(Text) if isinstance(artist, Text) and artist.get_text())


def _axes(figure: Figure) -> Iterator[Axis]:
    for axes in figure.axes:
        yield from (axes.xaxis, axes.yaxis)
