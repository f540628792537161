"""figures.html: the paper's figures from the run's own data, a page beside the report."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure

from crosstype.io.files import write_text
from crosstype.models.catalog import LATE
from crosstype.report.paper import architecture, examples
from crosstype.report.paper.folds import folds_note, folds_of, plot_folds
from crosstype.report.paper.maps import mapped_models, maps_caption, maps_note, plot_vector_maps
from crosstype.report.run_tables import ExplanationTables, RunTables, read_run_tables
from crosstype.report.spec import ReportSpec
from crosstype.report.svg import PageFigure, draw_figure, page_environment
from crosstype.report.tables import PageTable

FIGURES = "figures.html"
NETWORKS = "Networks as built"
NOT_MADE = (
    "OUT/explanation does not hold what this figure is made of: explanations were switched off "
    "([explanation] enabled), or made by an older version."
)


@dataclass(frozen=True)
class Part:
    """A section of the page.

    Attributes:
        anchor: its id.
        name: its heading.
        notes: paragraphs above the figures.
        figures: the figures.
        tables: tables, folded.
    """

    anchor: str
    name: str
    notes: tuple[str, ...] = ()
    figures: tuple[PageFigure, ...] = ()
    tables: tuple[PageTable, ...] = ()


def write_figures(out: Path, spec: ReportSpec) -> Path | None:
    """Write figures.html, unless it is switched off; then remove what an earlier run wrote.

    Args:
        out: folder of the run; its tables must be there, those of explanations may be.
        spec: title of the page, and whether it is wanted.

    Returns:
        Path of the page; None if it is switched off.

    Raises:
        TableError: a table that every run has is missing or damaged.
    """
    path = out / FIGURES
    if not spec.figure_page:
        path.unlink(missing_ok=True)
        return None
    content = read_run_tables(out)
    page = page_environment().get_template("figures.html")
    parts = parts_of(content, ExplanationTables(out))
    write_text(path, page.render(title=spec.title, content=content, parts=parts))
    return path


def parts_of(content: RunTables, explained: ExplanationTables) -> list[Part]:
    """Draw every section that the tables allow; the others have a note with the reason."""
    return [
        *_example_parts(content, explained),
        _architecture_part(content, explained),
        _fold_part(content),
        _map_part(content, explained),
    ]


def _example_parts(content: RunTables, explained: ExplanationTables) -> list[Part]:
    def figure(name: str, plot: Callable[..., Figure], caption: str) -> tuple[PageFigure]:
        return (draw_figure(content, name, partial(plot, explained=explained), caption),)

    sample, before_z, outliers = (
        Part(anchor, name, (NOT_MADE,))
        for anchor, name in (
            ("sample", "A sample pair"),
            ("standardised", "Before and after z-scoring"),
            ("outliers", "Before and after outlier removal"),
        )
    )
    if explained.profile.height and explained.facts:
        caption = examples.sample_caption(explained)
        drawn = figure("sample", examples.plot_sample, caption)
        sample = Part(sample.anchor, sample.name, (), drawn)
    if explained.spread.height and explained.facts:
        caption = examples.standardised_caption(explained)
        drawn = figure("standardised", examples.plot_standardised, caption)
        before_z = Part(before_z.anchor, before_z.name, (), drawn)
    if explained.steps.height and explained.facts:
        caption = examples.outliers_caption(explained)
        drawn = figure("outliers", examples.plot_outliers, caption)
        outliers = Part(outliers.anchor, outliers.name, (), drawn)
    about = examples.views_sentence(explained)
    views = Part("augmentation", "Before and after augmentation", (about,))
    if explained.tile_picture and explained.facts.get("n_tiles"):
        drawn = figure("views", examples.plot_views, about)
        views = Part(views.anchor, views.name, (), drawn)
    return [sample, views, before_z, outliers]


def _per_model(
    content: RunTables,
    name: str,
    models: Sequence[str],
    plot: Callable[..., Figure],
    caption: Callable[[str], str],
) -> tuple[PageFigure, ...]:
    """Draw a figure for each model; `name` and the model's place name it in the page."""
    return tuple(
        draw_figure(content, f"{name}{place}", partial(plot, model=model), caption(model))
        for place, model in enumerate(models)
    )


def _architecture_part(content: RunTables, explained: ExplanationTables) -> Part:
    networks = architecture.networks_of(explained)
    plot = partial(architecture.plot_architecture, explained=explained)
    caption = partial(architecture.architecture_caption, explained)
    figures = _per_model(content, "network", networks, plot, caption)
    tables = tuple(architecture.architecture_table(explained, model) for model in networks)
    if not networks:
        return Part("networks", NETWORKS, (NOT_MADE,))
    late = "late has no network of its own: it combines the logits of image_only and gene_only."
    notes = (architecture.architecture_note(), *[late] * (LATE in content.models))
    return Part("networks", NETWORKS, notes, figures, tables)


def _fold_part(content: RunTables) -> Part:
    models = content.models if folds_of(content) else ()
    figures = _per_model(content, "folds", models, plot_folds, "{}, fold by fold.".format)
    about = folds_note(content)
    missing = "predictions.csv has no fold column."
    return Part("folds", "Fold by fold", (about if figures else missing,), figures)


def _map_part(content: RunTables, explained: ExplanationTables) -> Part:
    models = mapped_models(explained)
    plot = partial(plot_vector_maps, explained=explained)
    caption = partial(maps_caption, content, explained)
    figures = _per_model(content, "map", models, plot, caption)
    about = maps_note(content) if models else NOT_MADE
    return Part("maps", "Maps of patients", (about,), figures)
