"""Style of the figures, and figures as SVG text that can stand inside a page.

How pages are filled in: whatever comes from tables is text to be shown, never markup.

A figure as a page shows it: drawn in the house's style, with its caption and the run's mark.
"""

import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import matplotlib as mpl
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from matplotlib.figure import Figure

from crosstype.report.run_tables import RunTables

# Okabe & Ito 2008: distinguishable with any colour vision, and in grey print.
BLUE, ORANGE, GREEN, VERMILION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
COLOURS = (BLUE, VERMILION, GREEN, ORANGE, "#CC79A7", "#56B4E9", "#000000")
INK, QUIET, FAINT = "#1a1a1a", "#595959", "#d9d9d9"
WIDTH_IN = 4.8
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "svg.fonttype": "none",
    # Names of genes and models may hold a dollar sign; nothing here is a formula.
    "text.parse_math": False,
    "axes.unicode_minus": True,
}


@contextmanager
def house_style(name: str) -> Iterator[None]:
    """Draw in the common style; `name` makes the ids of figures in a page unique."""
    with mpl.rc_context({**STYLE, "svg.hashsalt": name}):
        yield


def new_figure(height_in: float) -> Figure:
    """Return an empty figure of the page's width; no global state is touched."""
    return Figure(figsize=(WIDTH_IN, height_in), layout="constrained")


def inline_svg(figure: Figure, name: str, description: str) -> Markup:
    """Return a figure as an SVG element without header, metadata or outside references.

    Args:
        figure: the figure.
        name: short name, unique in the page; also that of the file as which it can be saved.
        description: what the figure shows, for those who cannot see it.
    """
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with house_style(name):
        figure.savefig(buffer, format="svg", metadata=nothing)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    # Ids that matplotlib counts per figure (axes_1) would repeat within a page.
    text = re.sub(r'(<[^<>]*?\sid=")', rf"\1{name}-", text)
    text = re.sub(r'(<[^<>]*?(?:href="|url\()#)', rf"\1{name}-", text)
    head, rest = text.split(">", 1)
    head = re.sub(r'\s(width|height)="[^"]*"', "", head)
    head += f' data-name="{escape(name)}" style="max-width:{WIDTH_IN * 1.25}in"'
    head += f' role="img" aria-label="{escape(description)}"'
    # Matplotlib escapes every text it writes; the description is escaped above.
    return Markup(f"{head}>{rest}")


@cache
def page_environment() -> Environment:
    """Return the templates; ids and labels come from users and are escaped everywhere.

    One for all pages, since each keeps its templates compiled: a run may have a thousand patients.
    """
    return Environment(
        loader=PackageLoader("crosstype.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


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
    content: RunTables, name: str, plot: Callable[[RunTables], Figure], caption: str
) -> PageFigure:
    """Draw a figure; `name` is unique in the page. Caption and figure carry the run's mark."""
    if content.mark:
        caption = f"{caption} ({content.mark})"
    with house_style(name):
        return PageFigure(inline_svg(plot(content), name, caption), caption)
