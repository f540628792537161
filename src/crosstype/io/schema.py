"""Every table that is written: its file, what a row is, and each column's name, type and meaning.

Writers, readers, the report and `docs/formats.md` derive from it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from crosstype.io.tables import read_stage_table, write_table

Kind = type[pl.DataType]
TEXT, REAL, WHOLE = pl.String, pl.Float64, pl.Int64
MARK = "protocol"
"""Column that may follow those of a marked table: the protocol under which it was made, and how
test patients leak into training under it; only under a protocol that leaks."""


@dataclass(frozen=True)
class Column:
    """One column of a table, or one for each class.

    Attributes:
        name: of the column; `<...>` in it stands for the name of a class (subtype, covariate), and
            `<shown_class>` for each class, but of two classes for the second only.
        dtype: type of its values.
        meaning: what it holds, with unit, range and direction.
    """

    name: str
    dtype: Kind
    meaning: str

    def names(self, classes: Sequence[str] = ()) -> list[str]:
        """Return the names of the columns that it stands for, one for each of these classes."""
        stem, found, place = self.name.partition("<")
        shown = classes[1:] if place == "shown_class>" and len(classes) == 2 else classes
        return [f"{stem}{one}" for one in shown] if found else [self.name]


@dataclass(frozen=True)
class TableSchema:
    """What one table holds.

    Attributes:
        name: of its file; in angle brackets where the user names it.
        row: what a row is.
        columns: in the order of the file.
        is_marked: whether the column `protocol` follows under a protocol that leaks.
        folder: of the file, in OUT; empty: OUT itself.
    """

    name: str
    row: str
    columns: tuple[Column, ...]
    is_marked: bool = False
    folder: str = ""

    @property
    def path(self) -> str:
        """Return the place of its file in OUT."""
        return f"{self.folder}/{self.name}".lstrip("/")

    def polars(self, classes: Sequence[str] = ()) -> dict[str, Kind]:
        """Return the type of each column, in order.

        Args:
            classes: names that stand in the names of columns; none for a table without such.
        """
        return {name: one.dtype for one in self.columns for name in one.names(classes)}

    def frame(
        self, rows: Sequence[Any] | Mapping[str, Any] = (), classes: Sequence[str] = ()
    ) -> pl.DataFrame:
        """Return the table from its rows (tuples in order, dicts or dataclasses) or its columns."""
        return pl.DataFrame(rows, schema=self.polars(classes), orient="row")

    def write(self, folder: Path, frame: pl.DataFrame, classes: Sequence[str] = ()) -> None:
        """Write the table into a folder, under its name; as `write_as`."""
        self.write_as(folder / self.name, frame, classes)

    def write_as(self, path: Path, frame: pl.DataFrame, classes: Sequence[str] = ()) -> None:
        """Write the table, whole or not at all.

        Raises:
            ValueError: its columns, their order or their types are not those of the schema.
        """
        expected = pl.Schema(self.polars(classes))
        if frame.schema != expected or frame.columns != expected.names():
            raise ValueError(f"{self.name}: found {frame.schema}, expected {expected}")
        write_table(path, frame)

    def read(self, folder: Path, classes: Sequence[str] = ()) -> pl.DataFrame:
        """Read the table from a folder; as `read_from`."""
        return self.read_from(folder / self.name, classes)

    def read_from(self, path: Path, classes: Sequence[str] = ()) -> pl.DataFrame:
        """Read the table; a column that the schema does not know stays text.

        Raises:
            TableError: the file is not there, lacks a column, or holds a value of another type.
        """
        return read_stage_table(path, self.polars(classes))

    def read_if_there(self, folder: Path, classes: Sequence[str] = ()) -> pl.DataFrame:
        """Read the table; no rows if the file is not there or holds none."""
        path = folder / self.name
        if path.exists():
            with path.open("rb") as handle:
                if handle.readline() and handle.read(1):
                    return self.read_from(path, classes)
        return self.frame(classes=classes)


_TEXT = {
    "model, model_a": "the model",
    "model_b": "the model it is compared with",
    "patient_id": "the patient",
    "sample_id": "the sample",
    "slide_id": "the slide: its file name without suffix",
    "label": "true class, by name",
    "predicted": "predicted class, by name",
    "site": "tissue source site; empty: unknown",
    "class": "class by name",
    "metric": "the metric, by its bare name",
    "reason": "why, in words",
    "note": "what must be known of the row; empty: nothing",
    "gene": "the gene",
    "modality": "image or genes",
    "condition": "what was done to the inputs, such as image_shuffled, genes_absent",
    "test": "delong, mcnemar, permutation, bootstrap or nadeau_bengio",
    "pattern": "how expression is lost",
    "column, group": "column of the clinical table (or site), and group of the patient in it",
    "input": "name of the input",
    "encoder": "what made the features; empty: not stated",
    "sha256": "of the feature file; empty if it cannot be read",
    "fault": "why the slide cannot be used; empty if it can",
    "role": "train, validation or test; validation is inner fold 0",
    "step": "step at which the patient is left out: labels, site, slides, expression or folds",
    "setting": "the setting",
    "rule": "share (of the patients) or confidence (the lowest that is predicted)",
    "modalities": "what the prediction rests on: image, genes or image+genes",
    "call": "the called subtype; empty without a call",
    "key": "what is stated",
    "kind": "what it is",
    "file": "path in OUT/explanation",
    "box": "layer or block that the module is part of",
    "module": "name of the module",
    "settings": "settings of the module",
    "shape": "shape of its output",
    "inputs": "what feeds the box",
    "space": "image, genes or fused",
    "method": "how vectors were mapped to the plane",
    "who": "training or test patients",
    "token": "gene token: the gene set or number",
    "gene_set": "the gene set",
    "gene_sets": "gene sets that hold the gene",
    "top_genes": "genes of highest attribution, with sign",
    "towards": "class towards which the numbers point",
    "row": "row of the study",
    "against": "row that it is compared with; empty: none",
    "about": "what was changed, in words",
    "absent": "why the row could not be run; empty: it was",
    MARK: "the protocol, and how it leaks if it does",
    "<covariate>": "each covariate as written in its table",
}
_REAL = {
    "value": "value over the pooled out-of-fold predictions; over repeats the mean",
    "low, high": "ends of the confidence interval",
    "fold_mean, fold_sd": "mean and standard deviation over test folds",
    "difference": "value of the model less that of the one compared with",
    "difference_low, difference_high": "ends of its confidence interval",
    "p": "two-sided p value",
    "p_adjusted": "p after Holm's correction",
    "statistic": "z of delong and mcnemar, t of nadeau_bengio, else the difference",
    "level": "how much of the input was disturbed, 0 to 1",
    "drop": "undisturbed less disturbed; positive: the model used the modality",
    "probability_<class>": "probability of the class, 0 to 1",
    "correlation_<subtype>": "Spearman's correlation with the centroid, -1 to 1",
    "confidence": "confidence of the call, higher is surer",
    "train_loss, validation_loss": "loss after the epoch, lower is better",
    "learning_rate": "learning rate of the epoch",
    "residual_weight": "weight of the networks beside the ridge base model, 0 to 1",
    "temperature": "what logits are divided by; 1: nothing",
    "offset": "added to the class's logit",
    "threshold": "probability from which the positive class is predicted",
    "share": "share, 0 to 1",
    "coverage": "share of the patients for whom a class is predicted, 0 to 1",
    "accuracy, macro_f1": "of the predicted patients, 0 to 1",
    "macro_f1_low, macro_f1_high, aurc_low, aurc_high": "ends of its confidence interval",
    "aurc": "area under the risk-coverage curve, lower is better",
    "mean_probability, observed": "mean probability and observed share of the class, 0 to 1",
    "net_benefit": "net benefit of treating by the model's probability, higher is better",
    "treat_all, treat_none": "net benefit of treating everyone, and nobody (0)",
    "guessing": "value of a guess",
    "mean_training, sd_training, mean_here, sd_here": "mean and standard deviation in both cohorts",
    "standardised_difference": "mean here less mean in training, in training's SD",
    "share_missing": "share of the patients without it, 0 to 1",
    "x, y": "place on the map, without unit",
    "x_px, y_px": "top left of the tile in level-0 pixels; empty: not known",
    "attention": "attention of the networks, 0 to 1; sums to 1 over a patient's tiles",
    "contribution": "part of the tile in the ridge base model's logit; empty: none",
    "mean_absolute": "mean absolute attribution, in logits; higher counts more",
    "mean_signed_<class>": "mean attribution towards the class among its patients, in logits",
    "slope_<shown_class>": "logit of the class per unit of the input",
    "permutation_loss, permutation_change": "rise of log loss, and change of logits, if permuted",
    "logit": "baseline + genes + image + rest",
    "baseline, genes, image, rest": "parts of the logit",
    "before, z, without_outliers": "before z-scoring, z-score, without outliers (empty: removed)",
    "q25, median, q75": "quartiles",
    "auroc": "AUROC, mean over test folds",
    "real": "AUROC with the true labels",
    "mean, highest": "mean, or highest, AUROC of the shuffles",
    "standard_error": "Monte-Carlo standard error of the mean",
    "errors_from_half": "standard errors between the mean and 0.5",
}
_WHOLE = {
    "n": "patients",
    "repeat, fold, member, epoch": "number, from 0 (member: network of the fold)",
    "inner_fold": "number of the inner fold, from 0; empty for test and under protocol paper",
    "n_slides": "usable slides",
    "n_tiles": "tiles; 0: the slide cannot be used",
    "n_features": "numbers per tile; 0: unknown",
    "n_folds, n_folds_skipped": "folds counted, and folds without a patient of some class",
    "n_positive": "patients of the positive class; of more than two classes, of the smallest",
    "n_draws": "random draws that are averaged",
    "draw": "number of the random draw, from 0",
    "n_removed": "values that outlier removal would delete",
    "n_models": "fitted models that are averaged",
    "n_abstained": "patients for whom no class is predicted",
    "bin": "0 to 9, equally many patients, by probability",
    "n_sites": "sites of at least 10 patients",
    "n_genes": "genes of the set that the table holds",
    "rank": "1: highest",
    "tile": "number of the tile in its slide, from 0",
    "n_parameters": "parameters of its own",
    "n_networks": "networks of the fold",
    "shuffle": "number of the shuffle; 0: true labels",
    "n_shuffles": "shuffles",
}
_COLUMNS = {
    name: Column(name, dtype, meaning)
    for dtype, group in ((TEXT, _TEXT), (REAL, _REAL), (WHOLE, _WHOLE))
    for names, meaning in group.items()
    for name in names.split(", ")
}


def _table(
    about: str, names: str, *own: Column, is_marked: bool = False, folder: str = ""
) -> TableSchema:
    """Return the schema of a table.

    Args:
        about: name of its file, and what a row is.
        names: of its columns, in order.
        own: columns whose meaning in this table is another than elsewhere.
        is_marked: as in the schema.
        folder: as in the schema.
    """
    name, _, row = about.partition(": ")
    known = _COLUMNS | {one.name: one for one in own}
    columns = tuple(known[one] for one in names.split())
    return TableSchema(name, row, columns, is_marked, folder)


_marked = partial(_table, is_marked=True)
_explained = partial(_marked, folder="explanation")

FEATURES = _table(
    "features.csv: a listed slide", "slide_id patient_id n_tiles n_features encoder sha256 fault"
)
COHORT = _table("cohort.csv: a patient of the cohort", "patient_id label site n_slides n_tiles")
LEFT_OUT = _table("left_out.csv: a patient who is not in the cohort", "patient_id step reason")
COVARIATES = _table("covariates.csv: a patient of the cohort", "patient_id <covariate>")
FOLDS = _marked(
    "folds.csv: a patient of the cohort in a fold", "patient_id repeat fold role inner_fold"
)
UNLABELLED = _table("unlabelled.csv: a patient without a class", "patient_id reason")
SINGLE_MODALITY = _table(
    "single_modality.csv: a patient with a label and one modality",
    "patient_id label site modality n_slides n_tiles",
)
SUBGROUPS_OF = _table(
    "subgroups_of.csv: a patient of the cohort in a column", "patient_id column group"
)
OUTLIERS = _table(
    "outliers.csv: a gene and class, and what interquartile outlier removal would delete",
    "gene class n n_removed share",
    Column("n", WHOLE, "values there"),
    Column("share", REAL, "n_removed of n, 0 to 1; empty if n is 0"),
)
PREDICTIONS = _marked(
    "predictions.csv: a patient, out of fold, by a model of a repeat",
    "patient_id model repeat fold label predicted probability_<class>",
)
STRESSED_PREDICTIONS = _marked(
    "stressed_predictions.csv: the same with a modality shuffled between patients or absent",
    "patient_id model repeat fold label predicted probability_<class> condition level draw",
)
UNLABELLED_PREDICTIONS = _marked(
    "unlabelled_predictions.csv: a patient without a class, by all folds of a model",
    "patient_id reason model predicted n_models probability_<class>",
)
TRAINING = _marked(
    "training.csv: an epoch of a network",
    "model repeat fold member epoch train_loss validation_loss learning_rate residual_weight",
)
SEARCH = _table(
    "search.csv: a setting that inner folds chose; with [training] search_minutes",
    "model repeat fold setting value",
    Column("value", TEXT, "its value"),
)
CALIBRATION = _marked(
    "calibration.csv: a class of a model of a fold, of two the positive one only; no baselines",
    "model repeat fold n temperature class offset threshold",
    Column("n", WHOLE, "validation patients; 0: nothing was learned"),
)
SITE_PROBE = _table(
    "site_probe.csv: a metric of how well the site is predicted from an input",
    "input metric value low high guessing n_sites n",
    Column("input", TEXT, "image or genes"),
    Column("value", REAL, "mean over sites, cross-validated; higher: better prediction"),
)
METRICS = _marked(
    "metrics.csv: a metric of a model",
    "model metric class value low high n fold_mean fold_sd n_folds n_folds_skipped",
    Column("class", TEXT, "class (against the rest), macro, micro, or all; see below"),
)
COMPARISONS = _marked(
    "comparisons.csv: a metric of a pair of models",
    "model_a model_b metric difference low high p p_adjusted n test",
    Column("test", TEXT, "what p comes from: delong, permutation or mcnemar"),
)
TESTS = _marked(
    "tests.csv: a test of a metric of a pair of models",
    "model_a model_b metric test statistic p p_adjusted n",
)
MODALITY_USE = _marked(
    "modality_use.csv: a metric of a model under a disturbance",
    "model modality condition level metric drop low high",
)
COVERAGE = _marked(
    "coverage.csv: a model at a coverage",
    "model rule coverage threshold accuracy low high n n_abstained macro_f1 macro_f1_low "
    "macro_f1_high aurc aurc_low aurc_high",
    Column("threshold", REAL, "lowest confidence that is predicted, 0 to 1"),
    Column("n", WHOLE, "predicted patients"),
)
CALIBRATION_CURVE = _marked(
    "calibration_curve.csv: a bin of a class of a model",
    "model class bin n mean_probability observed low high",
)
DECISION_CURVE = _marked(
    "decision_curve.csv: a threshold of a class of a model",
    "model class threshold net_benefit low high treat_all treat_none",
    Column("threshold", REAL, "probability from which one treats, 0.01 to 0.99"),
)
SUBGROUPS = _marked(
    "subgroups.csv: a metric of a model in a group of patients",
    "column group model metric value low high n n_positive note",
)
RNA_LOSS = _marked(
    "rna_loss.csv: a metric of a model at a level of a loss; with [evaluation] rna_loss",
    "model pattern level metric value low high n_draws n note",
)
RNA_LOSS_COMPARISONS = _marked(
    "rna_loss_comparisons.csv: a fusion model against the better unimodal one at a level of a loss",
    "model_a model_b pattern level metric difference low high n note",
)

PATIENTS = _explained(
    "patients.csv: a patient and model",
    "patient_id model label towards logit baseline genes image rest residual_weight n_models "
    "top_genes",
)
ATTRIBUTIONS = _explained(
    "attributions.csv: a gene and model",
    "model gene rank mean_absolute mean_signed_<class> slope_<shown_class> permutation_loss "
    "permutation_change gene_sets",
)
GENE_SETS = _explained(
    "gene_sets.csv: a gene set of [models] gene_sets and a model",
    "model gene_set n_genes mean_absolute mean_signed_<class> share",
    Column("share", REAL, "share of all attribution, 0 to 1"),
)
ATTENTION = _explained(
    "attention.csv: a tile and model",
    "patient_id slide_id model tile x_px y_px attention contribution rank n_models",
)
GENE_SET_ATTENTION = _explained(
    "gene_set_attention.csv: a tile of high attention of a gene token",
    "patient_id slide_id model token tile attention",
)
DRAWN = _explained(
    "drawn.csv: a picture",
    "model patient_id slide_id kind file",
    Column("kind", TEXT, "attention, contribution, token, tiles, strip or geojson"),
)
ARCHITECTURE = _explained(
    "architecture.csv: a module of a network of [training] models, of repeat 0 and fold 0",
    "model box module kind settings shape n_parameters inputs n_networks",
    Column("kind", TEXT, "its class"),
)
VECTOR_MAPS = _explained(
    "vector_maps.csv: a test patient on a fold's map, repeat 0",
    "model repeat fold patient_id label space x y method",
)
EXAMPLES = _explained(
    "examples.csv: a fact about the example patient and the preprocessing of their fold",
    "key value",
    Column("value", TEXT, "what it is"),
)
SAMPLE_PROFILE = _explained(
    "sample_profile.csv: a gene of the example patient",
    "gene z rank",
    Column("z", REAL, "z-score; empty: not measured"),
    Column("rank", WHOLE, "among the genes shown by name, from 1; empty: not shown"),
)
EXPRESSION_SPREAD = _explained(
    "expression_spread.csv: a shown gene at a step, of training or of test patients",
    "gene step who n low q25 median q75 high",
    Column("step", TEXT, "before (z-scoring) or z"),
    Column("low", REAL, "quantile of 5%"),
    Column("high", REAL, "quantile of 95%"),
)
EXPRESSION_STEPS = _explained(
    "expression_steps.csv: a shown gene of one of ten test patients",
    "patient_id label gene before z without_outliers",
)

PREDICTED = _table(
    "<file of predict>: a new patient", "patient_id model predicted probability_<class> modalities"
)
SHIFT = _table(
    "shift.csv: an input of the model, written by validate, the most shifted first",
    "input kind mean_training sd_training mean_here sd_here standardised_difference share_missing",
    Column("kind", TEXT, "gene or feature"),
)
PAM50_CALLS = _table("<file of pam50>: a sample", "sample_id call confidence correlation_<subtype>")
STUDY = _table(
    "<study>.csv: a metric of a row of ablate, replay or learning-curve",
    "row about model against metric value low high difference difference_low difference_high p "
    "p_adjusted n absent protocol",
)
LABEL_SHUFFLES = _table(
    "label_shuffles.csv: a model under a shuffle of the labels", "model shuffle auroc"
)
LABEL_SHUFFLES_SUMMARY = _table(
    "label_shuffles_summary.csv: a model over all shuffles",
    "model real mean standard_error errors_from_half highest p n_shuffles",
    Column("p", REAL, "share of shuffles that reach the true figure, which counts among them"),
)

TABLES = tuple(one for one in tuple(vars().values()) if isinstance(one, TableSchema))
"""Every table, in the order above."""
