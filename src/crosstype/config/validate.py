"""What values a setting may have; types and names are checked while reading."""

from __future__ import annotations

from difflib import get_close_matches
from math import inf

from crosstype.config.run_spec import RunSpec
from crosstype.errors import ConfigError
from crosstype.models.catalog import FITTED_BASELINES, LATE, MODEL_NAMES

RANGES: dict[tuple[str, str], tuple[float, float]] = {
    ("cohort", "shuffle_labels"): (0, 2**32 - 1),
    ("expression", "outlier_factor"): (0, inf),
    ("expression", "n_genes"): (0, inf),
    ("expression", "least_genes"): (1, 100_000),
    ("tissue", "thumbnail_mpp"): (0.5, 64),
    ("tissue", "minimum_speck_um2"): (0, inf),
    ("tissue", "minimum_hole_um2"): (0, inf),
    ("tissue", "blur_variance"): (0, inf),
    ("tiles", "size_px"): (16, 4096),
    ("tiles", "mpp"): (0.05, 20),
    ("tiles", "overlap_px"): (0, 4095),
    ("tiles", "minimum_tissue"): (0, 1),
    ("tiles", "n_tiles"): (0, 10_000_000),
    ("tiles", "seed"): (0, 2**32 - 1),
    ("augmentation", "n_views"): (0, 100),
    ("augmentation", "brightness"): (0, 1),
    ("augmentation", "contrast"): (0, 1),
    ("augmentation", "saturation"): (0, 1),
    ("augmentation", "hue"): (0, 0.5),
    ("features", "batch_size"): (1, 100_000),
    ("features", "n_readers"): (1, 256),
    ("folds", "repeats"): (1, 1000),
    ("folds", "n_folds"): (2, 100),
    ("folds", "n_inner_folds"): (2, 20),
    ("folds", "n_train"): (0, 10_000_000),
    ("folds", "seed"): (0, 2**32 - 1),
    ("models", "width"): (4, 4096),
    ("models", "n_gene_tokens"): (2, 1024),
    ("models", "n_heads"): (1, 64),
    ("models", "n_blocks"): (1, 12),
    ("models", "dropout"): (0, 0.95),
    ("models", "gene_dropout"): (0, 0.99),
    ("models", "tile_dropout"): (0, 0.99),
    ("models", "least_genes"): (1, 100_000),
    ("models", "n_outside_tokens"): (0, 1024),
    ("training", "learning_rate"): (1e-8, 1),
    ("training", "weight_decay"): (0, 100),
    ("training", "batch_size"): (2, 100_000),
    ("training", "max_epochs"): (1, 100_000),
    ("training", "patience"): (1, 100_000),
    ("training", "corruption"): (0, 0.95),
    ("training", "n_seeds"): (1, 100),
    ("training", "search_minutes"): (0, 100_000),
    ("training", "search_trials"): (1, 100_000),
    ("training", "n_tiles_per_bag"): (1, 10_000_000),
    ("evaluation", "n_bootstrap"): (100, 1_000_000),
    ("evaluation", "confidence"): (0.5, 0.999),
    ("evaluation", "abstain_below"): (0, 1),
    ("evaluation", "n_shuffles"): (0, 1000),
    ("evaluation", "n_perturbations"): (1, 1000),
    ("explanation", "n_maps"): (0, 10_000_000),
    ("explanation", "n_tiles_shown"): (0, 64),
    ("explanation", "n_permutations"): (0, 1000),
    ("explanation", "n_permuted_genes"): (1, 100_000),
}


def check_ready(spec: RunSpec, *, needs_labels: bool) -> None:
    """Raise ConfigError for what a run needs and the config lacks, before anything is written.

    Args:
        spec: the settings.
        needs_labels: False for looking through features alone.
    """
    _check_image_input(spec)
    if not needs_labels:
        return
    called = spec.cohort.labels_from_pam50 is not None
    if called and spec.cohort.labels is not None:
        raise ConfigError("[cohort] labels and labels_from_pam50 are both set. Keep one of them.")
    optional = ("slides", "labels") if called else ("slides",)
    for key in ("labels", "expression", "slides"):
        path = getattr(spec.cohort, key)
        if path is None and key not in optional:
            raise ConfigError(f"[cohort] {key} is not set. Name the {key} table.")
        if path is not None and not (path.is_file() or (key == "expression" and path.is_dir())):
            raise ConfigError(f"[cohort] {key}: found {str(path)!r}, which is not there.")
    _check_side_files(spec)
    _check_covariates(spec)
    if len(spec.cohort.classes) < 2:
        raise ConfigError(
            f"[[cohort.classes]]: found {len(spec.cohort.classes)} classes, expected at least two, "
            "each with a name and labels."
        )


def _check_side_files(spec: RunSpec) -> None:
    """Raise for a file, named beside the tables, that is not there."""
    named = {
        "[cohort] clinical": spec.cohort.clinical,
        "[expression] gene_names": spec.expression.gene_names,
        "[expression] sample_sheet": spec.expression.sample_sheet,
        "[expression] gene_sets": spec.expression.gene_sets,
        "[models] gene_sets": spec.models.gene_sets,
        "[folds] file": spec.folds.file,
        "[evaluation] other_expression": spec.evaluation.other_expression,
    }
    for key, path in named.items():
        if path is not None and not path.exists():
            raise ConfigError(f"{key}: found {str(path)!r}, which is not there.")


def _check_covariates(spec: RunSpec) -> None:
    """Raise if covariates have no table, or a table is named and none of its columns is."""
    cohort = spec.cohort
    if cohort.clinical is not None and not cohort.covariates:
        raise ConfigError(
            f"[cohort] clinical: found {cohort.clinical.name!r}, but covariates names none of its "
            "columns. Name some, or remove clinical."
        )
    if cohort.covariates and cohort.clinical is None and cohort.labels is None:
        raise ConfigError(
            "[cohort] covariates: there is neither a clinical nor a label table that could hold "
            "them. Set clinical."
        )
    for name in cohort.covariates:
        if cohort.covariates.count(name) > 1:
            raise ConfigError(f"[cohort] covariates: {name!r} stands there twice. Remove one.")


def _check_image_input(spec: RunSpec) -> None:
    """Raise unless there is a folder of slides, or one of feature files, and not both."""
    slides, features = spec.slides.folder, spec.features.folder
    if slides is not None and features is not None:
        raise ConfigError(
            "[slides] folder and [features] folder are both set. Keep the first to extract "
            "features, the second to use those that exist."
        )
    if slides is not None and not slides.exists():
        raise ConfigError(f"[slides] folder: found {str(slides)!r}, which is not there.")
    if slides is None and (features is None or not features.is_dir()):
        raise ConfigError(
            f"[features] folder: found {str(features or '')!r}, expected a folder of feature "
            "files; or set [slides] folder."
        )


def check_run(spec: RunSpec, file_name: str) -> None:
    """Raise ConfigError for the first value out of its range, or a model nobody knows."""
    for (section, key), (low, high) in RANGES.items():
        value = getattr(getattr(spec, section), key)
        if not low <= value <= high:
            raise ConfigError(
                f"{file_name}: {section}.{key}: found {value}, expected {low:g} to {high:g}."
            )
    if spec.tiles.overlap_px >= spec.tiles.size_px:
        raise ConfigError(
            f"{file_name}: tiles.overlap_px: found {spec.tiles.overlap_px}, expected less than "
            f"tiles.size_px ({spec.tiles.size_px})."
        )
    if spec.models.width % spec.models.n_heads:
        raise ConfigError(
            f"{file_name}: models.width: found {spec.models.width}, expected a multiple of "
            f"models.n_heads ({spec.models.n_heads})."
        )
    if spec.models.block == "transformer" and spec.models.direction != "both":
        raise ConfigError(
            f"{file_name}: models.direction: found {spec.models.direction!r}, expected 'both', for "
            'under block = "transformer" all tokens see each other.'
        )
    _check_representation(spec, file_name)
    _check_gene_sets(spec, file_name)
    _check_other_expression(spec, file_name)
    for name in spec.training.models:
        _check_name(f"{file_name}: training.models", name, MODEL_NAMES)
    for name in spec.explanation.models:
        _check_name(f"{file_name}: explanation.models", name, _explained(spec))
    if spec.fit.model is not None:
        known = (*MODEL_NAMES, *FITTED_BASELINES)
        _check_name(f"{file_name}: fit.model", spec.fit.model, known)


def _explained(spec: RunSpec) -> tuple[str, ...]:
    """Return the models that can be explained: those trained, but for late, which stacks others."""
    return tuple(name for name in spec.training.models if name != LATE)


def _check_name(where: str, name: str, known: tuple[str, ...]) -> None:
    """Raise ConfigError for a model that is not among those known; the nearest is named."""
    if name not in known:
        near = get_close_matches(name, known, n=1, cutoff=0.3)
        hint = f"Did you mean {near[0]!r}?" if near else ""
        raise ConfigError(
            f"{where}: found {name!r}, expected some of {', '.join(known)}. {hint}".rstrip()
        )


def _check_other_expression(spec: RunSpec, file_name: str) -> None:
    """Raise ConfigError for another assay's table that nothing would be made of."""
    if spec.evaluation.other_expression is None:
        return
    expected = ""
    if not spec.evaluation.rna_loss:
        expected = "none, or rna_loss = true, which alone reads it"
    elif spec.expression.representation == "spectrum":
        expected = 'none, for under representation = "spectrum" there are no genes to compare'
    if expected:
        found = spec.evaluation.other_expression.name
        raise ConfigError(
            f"{file_name}: evaluation.other_expression: found {found!r}, expected {expected}."
        )


def _check_representation(spec: RunSpec, file_name: str) -> None:
    """Raise ConfigError for z-scores that are to be compared within a patient."""
    kind = spec.expression.representation
    if spec.expression.unit == "zscore" and kind in ("ranks", "scaled"):
        raise ConfigError(
            f'{file_name}: expression.representation: found {kind!r} and unit = "zscore", expected '
            "'genes', for z-scores compare a gene with other patients and not genes of a patient. "
            "Or give a table of amounts or logarithms."
        )


def _check_gene_sets(spec: RunSpec, file_name: str) -> None:
    """Raise ConfigError for settings of gene sets that contradict each other or mean nothing."""
    expression, models = spec.expression, spec.models
    spectrum = expression.representation == "spectrum"
    key, found, remedy = "", "", ""
    if spectrum and expression.gene_sets is None:
        key, found = "expression.gene_sets", "none"
        remedy = 'a GMT file, for representation = "spectrum" is made of gene sets'
    elif not spectrum and expression.gene_sets is not None:
        key, found = "expression.gene_sets", f"{expression.gene_sets.name!r}"
        kind = expression.representation
        remedy = f'none, for representation is "{kind}"; gene tokens take theirs from [models]'
    elif spectrum and expression.drop_zero_genes:
        key, found = "expression.drop_zero_genes", "true"
        remedy = 'false, for under representation = "spectrum" there are no genes to drop'
    elif spectrum and models.gene_sets is not None:
        key, found = "models.gene_sets", f"{models.gene_sets.name!r}"
        remedy = 'none, for under representation = "spectrum" the gene sets stand in for the genes'
    elif models.gene_sets is None and models.n_outside_tokens:
        key, found = "models.n_outside_tokens", f"{models.n_outside_tokens}"
        remedy = "0, for without models.gene_sets every token is learned (n_gene_tokens)"
    if key:
        raise ConfigError(f"{file_name}: {key}: found {found}, expected {remedy}.")
