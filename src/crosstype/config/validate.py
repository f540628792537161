"""Checks of consistency between settings; types, names and bounds are checked while reading."""

from collections import Counter
from difflib import get_close_matches
from pathlib import Path

from crosstype.config.run_spec import RunSpec
from crosstype.errors import ConfigError
from crosstype.models.catalog import FITTED_BASELINES, LATE, MODEL_NAMES


def check_ready(spec: RunSpec, *, needs_labels: bool) -> None:
    """Raise ConfigError, with a line for each, if the config lacks inputs that a run needs.

    Args:
        spec: the settings.
        needs_labels: False for the features stage alone.
    """
    faults = _faults_of_image_input(spec)
    if needs_labels:
        faults += _faults_of_tables(spec)
        faults += _faults_of_covariates(spec)
        if len(spec.cohort.classes) < 2:
            faults.append(
                f"[[cohort.classes]]: found {len(spec.cohort.classes)} classes, expected at least "
                "two, each with a name and labels."
            )
    if faults:
        raise ConfigError("\n".join(faults))


def _faults_of_tables(spec: RunSpec) -> list[str]:
    """Return which tables are not set or not there."""
    faults = []
    called = spec.cohort.labels_from_pam50 is not None
    if called and spec.cohort.labels is not None:
        faults.append("[cohort] labels and labels_from_pam50 are both set. Keep one of them.")
    optional = ("slides", "labels") if called else ("slides",)
    for key in ("labels", "expression", "slides"):
        path = getattr(spec.cohort, key)
        if path is None and key not in optional:
            faults.append(f"[cohort] {key} is not set. Name the {key} table.")
        if path is not None and not (path.is_file() or (key == "expression" and path.is_dir())):
            faults.append(f"[cohort] {key}: found {str(path)!r}, which is not there.")
    named = {
        "[cohort] clinical": spec.cohort.clinical,
        "[expression] gene_names": spec.expression.gene_names,
        "[expression] sample_sheet": spec.expression.sample_sheet,
        "[expression] gene_sets": spec.expression.gene_sets,
        "[models] gene_sets": spec.models.gene_sets,
        "[folds] file": spec.folds.file,
        "[evaluation] other_expression": spec.evaluation.other_expression,
    }
    return [*faults, *_absent(named)]


def _absent(named: dict[str, Path | None]) -> list[str]:
    """Return which of these files do not exist."""
    return [
        f"{key}: found {str(path)!r}, which is not there."
        for key, path in named.items()
        if path is not None and not path.exists()
    ]


def _faults_of_covariates(spec: RunSpec) -> list[str]:
    """Return whether covariates have no table, or the clinical table has no covariates."""
    cohort, faults = spec.cohort, []
    if cohort.clinical is not None and not cohort.covariates:
        faults.append(
            f"[cohort] clinical: found {cohort.clinical.name!r}, but covariates names none of its "
            "columns. Name some, or remove clinical."
        )
    if cohort.covariates and cohort.clinical is None and cohort.labels is None:
        faults.append(
            "[cohort] covariates: there is neither a clinical nor a label table that could hold "
            "them. Set clinical."
        )
    repeated = [name for name, n in Counter(cohort.covariates).items() if n > 1]
    return [
        *faults,
        *(f"[cohort] covariates: {o!r} is listed twice. Remove one." for o in repeated),
    ]


def _faults_of_image_input(spec: RunSpec) -> list[str]:
    """Return why there is not either a folder of slides or a folder of feature files."""
    slides, features = spec.slides.folder, spec.features.folder
    if slides is not None and features is not None:
        return [
            "[slides] folder and [features] folder are both set. Keep the first to extract "
            "features, the second to use those that exist."
        ]
    if slides is not None:
        return _absent({"[slides] folder": slides, "[features] weights": spec.features.weights})
    if features is None or not features.is_dir():
        return [
            f"[features] folder: found {str(features or '')!r}, expected a folder of feature "
            "files; or set [slides] folder."
        ]
    return []


def check_run(spec: RunSpec, file_name: str) -> None:
    """Raise ConfigError for inconsistent values or an unknown model."""
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
            f"{file_name}: models.direction: found {spec.models.direction!r}, expected 'both', "
            'since under block = "transformer" all tokens attend to each other.'
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
    """Return the models that can be explained: those trained, except late, which stacks others."""
    return tuple(name for name in spec.training.models if name != LATE)


def _check_name(where: str, name: str, known: tuple[str, ...]) -> None:
    """Raise ConfigError for an unknown model, with the nearest name."""
    if name not in known:
        near = get_close_matches(name, known, n=1, cutoff=0.3)
        hint = f"Did you mean {near[0]!r}?" if near else ""
        raise ConfigError(
            f"{where}: found {name!r}, expected some of {', '.join(known)}. {hint}".rstrip()
        )


def _check_other_expression(spec: RunSpec, file_name: str) -> None:
    """Raise ConfigError for another assay's table that would not be used."""
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
    """Raise ConfigError for z-scores under representations that compare genes within a patient."""
    kind = spec.expression.representation
    if spec.expression.unit == "zscore" and kind in ("ranks", "scaled"):
        raise ConfigError(
            f'{file_name}: expression.representation: found {kind!r} and unit = "zscore", expected '
            "'genes', for z-scores compare a gene with other patients and not genes of a patient. "
            "Or give a table of amounts or logarithms."
        )


def _check_gene_sets(spec: RunSpec, file_name: str) -> None:
    """Raise ConfigError for settings of gene sets that are inconsistent or have no effect."""
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
        remedy = 'none, since under representation = "spectrum" inputs are gene sets, not genes'
    elif models.gene_sets is None and models.n_outside_tokens:
        key, found = "models.n_outside_tokens", f"{models.n_outside_tokens}"
        remedy = "0, for without models.gene_sets every token is learned (n_gene_tokens)"
    if key:
        raise ConfigError(f"{file_name}: {key}: found {found}, expected {remedy}.")
