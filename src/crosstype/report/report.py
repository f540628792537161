"""The report: one page that stands alone, made from a run's tables."""

from functools import partial
from pathlib import Path
from typing import Any

from crosstype.io.files import write_text
from crosstype.report import figures, tables
from crosstype.report.curves import MOST_REPEATS_DRAWN
from crosstype.report.formatting import best_model_sentence, modality_sentence
from crosstype.report.pages.patient import patients_table, write_patient_pages
from crosstype.report.run_tables import ExplanationTables, RunTables, read_run_tables
from crosstype.report.sections import comparisons, explanations, groups, probabilities, robustness
from crosstype.report.spec import ReportSpec
from crosstype.report.svg import PageFigure, page_environment
from crosstype.report.svg import draw_figure as _draw


def write_report(out: Path, spec: ReportSpec) -> Path:
    """Write report.html: one file that needs no network, readable on a phone and in print.

    Args:
        out: folder of the run; its tables must be there.
        spec: title of the page.

    Returns:
        Path of the page.

    Raises:
        TableError: a table that every run has is missing or damaged.
    """
    content = read_run_tables(out)
    page = page_environment().get_template("report.html").render(_context(out, content, spec))
    path = out / "report.html"
    write_text(path, page)
    if spec.patient_pages:
        write_patient_pages(out, content)
    return path


def _context(out: Path, content: RunTables, spec: ReportSpec) -> dict[str, Any]:
    compared = comparisons.gather_differences(content)
    left_out = tables.left_out_groups(content)
    n_left_out = content.left_out["patient_id"].n_unique()
    run = content.run
    return {
        "title": spec.title,
        "content": content,
        "run": run,
        "sentence": best_model_sentence(content),
        "worth": modality_sentence(content),
        "patients": patients_table(content) if spec.patient_pages else None,
        "n_entered": content.cohort.height + n_left_out,
        "n_left_out": n_left_out,
        "left_out": left_out,
        "figures": _figures(content, compared),
        "models": tables.model_table(content),
        "classes": tables.class_table(content),
        "comparisons": [comparisons.difference_table(of) for of in compared],
        "residual_weight": tables.residual_weight_table(content),
        "modality": tables.modality_table(content),
        "losses": robustness.perturbation_tables(content),
        "real_perturbations": robustness.real_perturbation_table(content),
        "loss_notes": robustness.notes_of(content),
        "coverage": None if content.coverage.is_empty() else probabilities.coverage_table(content),
        "abstention": probabilities.abstention_table(content),
        "calibration": probabilities.calibration_table(content),
        "calibration_errors": probabilities.calibration_error_table(content),
        "decisions": [probabilities.decision_table(content, of) for of in content.shown_classes],
        "has_threshold": probabilities.has_threshold(content),
        "class_sizes": [
            f"{int((content.cohort['label'] == name).sum())} {name}" for name in content.classes
        ],
        "tests": comparisons.pair_test_table(content),
        **_group_sections(content),
        "explained": _explained(out, spec),
        "faults": tables.fault_table(content),
        "outliers": tables.outlier_table(content),
        "stages": tables.stage_table(content),
        "versions": tables.pair_table("Versions", ("What", "Version"), run.get("versions", {})),
        "inputs": tables.pair_table(
            "Inputs, SHA-256 of their bytes", ("Input", "SHA-256"), run.get("inputs", {})
        ),
        "confusions": tables.confusions(content),
    }


def _explained(out: Path, spec: ReportSpec) -> dict[str, Any]:
    """Return the content of the section on explanations."""
    explained = ExplanationTables(out)
    return {
        "genes": explanations.gene_tables(explained),
        "pictures": explanations.picture_table(explained),
        "has_figures": spec.figure_page,
    }


def _group_sections(content: RunTables) -> dict[str, dict[str, Any]]:
    """Return the content of the sections on groups, the site and unlabelled patients."""
    return {
        "subgroups": {"tables": groups.subgroup_tables(content)},
        "site": {
            "sentences": groups.probe_sentences(content),
            "only": groups.site_only_sentence(content),
            "probe": groups.probe_table(content),
            "cohort": tables.site_table(content),
        },
        "unlabelled": {
            "n": groups.n_unlabelled(content),
            "counts": groups.unlabelled_table(content),
            "listing": groups.unlabelled_listing(content),
        },
    }


def _figures(
    content: RunTables, compared: list[comparisons.Differences]
) -> dict[str, list[PageFigure]]:
    """Draw every figure that the tables allow, by the section it belongs to."""
    averaged = " Mean curve over repeats." if content.n_repeats > 1 else ""
    sections: dict[str, list[PageFigure]] = {
        "forest": [_draw(content, "forest", figures.plot_forest, "Pooled AUROC of each model.")],
        "curves": [],
        **_probability_figures(content),
        "coverage": [],
        "differences": _difference_figures(content, compared),
        "modality": [],
        "training": [],
        "subgroups": [
            _draw(content, f"groups{place}", partial(groups.plot_groups, chosen=it), it.caption)
            for place, it in enumerate(groups.group_figures(content))
        ],
        "losses": [
            _draw(
                content,
                f"loss-{pattern}",
                partial(robustness.plot_rna_loss, pattern=pattern),
                robustness.caption_of(pattern),
            )
            for pattern in robustness.curves_of(content)
        ],
    }
    for place, of in enumerate(content.shown_classes):
        about = f"Receiver operating characteristic, {of} against the rest.{averaged}"
        plot = partial(figures.plot_roc, of=of)
        sections["curves"].append(_draw(content, f"roc{place}", plot, about))
        about = f"Precision and recall, {of}; dotted: its share of the cohort.{averaged}"
        plot = partial(figures.plot_precision_recall, of=of)
        sections["curves"].append(_draw(content, f"pr{place}", plot, about))
    if not content.coverage.is_empty():
        about = "Accuracy among the patients about whom a model is surest."
        sections["coverage"].append(_draw(content, "coverage", probabilities.plot_coverage, about))
    if not content.modality_use.is_empty():
        about = "AUROC lost when a modality is shuffled between patients."
        sections["modality"].append(_draw(content, "use", figures.plot_modality_use, about))
    trained = [model for model in content.models if model in set(content.training["model"])]
    if trained:
        many = content.n_repeats > MOST_REPEATS_DRAWN
        lines = "mean over folds and repeats" if many else "a line per fold and repeat"
        about = f"Losses over epochs, {lines}; dashed: training, solid: validation."
        plot = partial(figures.plot_training, models=trained)
        sections["training"].append(_draw(content, "training", plot, about))
    return sections


def _difference_figures(
    content: RunTables, compared: list[comparisons.Differences]
) -> list[PageFigure]:
    """Draw a figure per reference."""
    plots = [partial(comparisons.plot_differences, of=of) for of in compared]
    return [
        _draw(content, f"difference{place}", plot, of.about)
        for place, (plot, of) in enumerate(zip(plots, compared, strict=True))
    ]


def _probability_figures(content: RunTables) -> dict[str, list[PageFigure]]:
    """Draw calibration and decision curves, if there are any."""
    sections: dict[str, list[PageFigure]] = {"calibration": [], "decisions": []}
    for place, of in enumerate(content.shown_classes):
        if not content.calibration_curve.is_empty():
            about = f"Share of {of} over its mean probability, a panel per model."
            plot = partial(probabilities.plot_calibration, of=of)
            sections["calibration"].append(_draw(content, f"calibration{place}", plot, about))
        if not content.decision_curve.is_empty():
            about = (
                f"Net benefit of treating for {of}; shaded: the interval of {content.models[0]}."
            )
            plot = partial(probabilities.plot_decisions, of=of)
            sections["decisions"].append(_draw(content, f"decision{place}", plot, about))
    return sections
