"""A figure as a page shows it: drawn in the house's style, with its caption and the run's mark."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from markupsafe import Markup
from matplotlib.figure import Figure

from crosstype.report.content import RunContent
from crosstype.report.svg import house_style, inline_svg


@dataclass(frozen=True)
class PageFigure:
    """A figure with its caption.

    Attributes:
        svg: the figure itself.
        caption: what it shows and how to read it.
    """

    svg: Markup
    caption: str


def draw_figure(
    content: RunContent, name: str, plot: Callable[[RunContent], Figure], caption: str
) -> PageFigure:
    """Draw a figure; `name` is unique in the page. Caption and figure carry the run's mark."""
    if content.mark:
        caption = f"{caption} ({content.mark})"
    with house_style(name):
        return PageFigure(inline_svg(plot(content), name, caption), caption)
