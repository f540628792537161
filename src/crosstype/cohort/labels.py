"""The label table: one class and one site per patient, and a reason for each exclusion.

Normal-like samples of the expression table that are of nobody in the cohort.
"""

import difflib
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from crosstype.cohort.matching import spelled_as, spelling_note
from crosstype.cohort.spec import CohortSpec
from crosstype.errors import CohortError, ConfigError, Fault, TableError
from crosstype.expression.read import Expression
from crosstype.io.identifiers import note_on_ids
from crosstype.io.tables import Table, is_missing, open_table
from crosstype.tcga import canonical_id, comparable, is_tumour, patient_of, sample_type_of, site_of
from crosstype.types import HOW_TO_NAME_PATIENTS, OVER_CLASSES, PATIENT_COLUMNS

NORMAL_LIKE_LABEL = re.compile(r"^(brca|pam50)?[._ -]*normal([ _-]?like)?$", re.IGNORECASE)
NORMAL_TISSUE = ("10", "15")
"""TCGA sample types from the first up to, not including, the second are normal tissue."""


def normal_like_among(labels: Mapping[str, str]) -> frozenset[str]:
    """Return the patients with a normal-like label: Normal, BRCA.Normal, Normal-like."""
    return frozenset(p for p, label in labels.items() if NORMAL_LIKE_LABEL.match(label.strip()))


def normal_like_rows(
    expression: Expression,
    samples: Mapping[str, int],
    normal_like: Collection[str],
    cohort: Collection[str],
) -> dict[str, int]:
    """Return the rows of samples that look like normal breast, by their id.

    Tumours that are labelled normal-like go first; if there are none, normal tissue. Nobody of the
    cohort is among them, whatever their label or tissue, and sites play no part.

    Args:
        expression: of everyone.
        samples: each patient's row of the primary tumour.
        normal_like: patients with a normal-like label.
        cohort: patients of the cohort.
    """
    others = set(normal_like) - set(cohort)
    tumours = {patient: samples[patient] for patient in sorted(others) if patient in samples}
    if tumours:
        return tumours
    tissue: dict[str, int] = {}
    present = ~np.isnan(expression.values).all(axis=1)
    for row, sample in enumerate(expression.sample_ids):
        kind = sample_type_of(sample) or ""
        is_tissue = NORMAL_TISSUE[0] <= kind < NORMAL_TISSUE[1]
        if is_tissue and present[row] and patient_of(sample) not in cohort:
            tissue[sample] = row
    return tissue


def normal_like_words(samples: Collection[str]) -> str:
    """Describe the samples of `normal_like_rows`."""
    is_tissue = any((sample_type_of(sample) or "") >= NORMAL_TISSUE[0] for sample in samples)
    what = "samples of normal tissue" if is_tissue else "tumours labelled normal-like"
    return f"the mean of {len(samples)} {what}, of no cohort patient"


PAM50_LABEL = re.compile(
    r"^(brca|pam50)?[._ -]*(lum(inal)?[ _-]?[ab]|basal([ _-]?like)?|her2([ _-]?enriched)?|"
    r"normal([ _-]?like)?)$",
    re.IGNORECASE,
)
PAM50_PREFIX = re.compile(r"^(brca|pam50)[._ -]", re.IGNORECASE)
COMPUTED = "computed from RNA"
FROM_RNA = (
    f"{COMPUTED}: PAM50 labels are derived from the expression of 50 genes, so that models "
    "which use the genes are evaluated by a label made of them"
)

FROM_IHC = "from immunohistochemistry: receptors by stained sections, not by RNA"
RECEPTOR_LABEL = re.compile(
    r"^((er|pr|hr|her2)[ _/-]?(\+|-|pos|neg|positive|negative|equivocal|low)|"
    r"tnbc|triple[ _-]?negative|(hr|er)[+-].*her2[+-])$",
    re.IGNORECASE,
)
SOURCES = {
    "rna": FROM_RNA,
    "ihc": FROM_IHC,
    "clinical": "from clinical records",
    "unknown": "unknown",
}
"""Descriptions of `[cohort] label_source`."""


@dataclass(frozen=True)
class Labels:
    """Classes and sites of the label table.

    Attributes:
        class_of: class name of every patient that has one.
        site_of: tissue source site of every patient of the table, empty where unknown.
        left_out: (step, reason) of every patient of the table without class, or of another site.
        provenance: source of the labels, if recognised.
        labelled_from_expression: whether this run computed them from expression.
        notes: of that computation.
        normal_like: patients with a normal-like label, whether or not a class has it.
    """

    class_of: dict[str, str]
    site_of: dict[str, str]
    left_out: dict[str, tuple[str, str]]
    provenance: str
    labelled_from_expression: bool = False
    notes: tuple[str, ...] = ()
    normal_like: frozenset[str] = frozenset()

    @property
    def patients(self) -> set[str]:
        """All patients of the table."""
        return {*self.class_of, *self.left_out}


def read_labels(spec: CohortSpec, like: Collection[str] = ()) -> Labels:
    """Read the label table and sort patients into classes.

    Several rows of one patient with the same label are one; with different labels the patient is
    left out. Rows of a metastasis or of normal tissue (by the TCGA sample type) are not used.

    Args:
        spec: table, columns and classes.
        like: patients of another table, whose spelling is used.

    Raises:
        ConfigError: no label table or column is named, or the classes contradict themselves.
        TableError: the table is damaged or lacks a column; names the nearest.
        CohortError: a listed label seems misspelled or a class has no row; a listed site has no
            patient.
    """
    if spec.labels is None:
        raise ConfigError("[cohort] labels is not set. Name the label table.")
    class_of_label = class_of_each_label(spec)
    table = open_table(spec.labels)
    notes: list[str] = []
    rows = patient_rows(table, spec.patient_column, like, notes)
    column = spec.label_column or find_label_column(table, list(class_of_label))
    written = table.filled(column, "Name it as label_column under [cohort].")
    check_labels_found(table.path.name, spec, written, notes)
    texts = spelled_labels(table.path.name, written, class_of_label, notes)
    labels = {patient: _distinct(texts, found) for patient, found in rows.items()}
    sites, left_out = _sites(table, spec, rows)
    class_of: dict[str, str] = {}
    for patient, found in labels.items():
        reason = _reason_without_class(found, class_of_label)
        if reason is None:
            class_of[patient] = class_of_label[found[0]]
        else:
            left_out[patient] = ("labels", reason)
    kept = {patient: name for patient, name in class_of.items() if patient not in left_out}
    single = {patient: found[0] for patient, found in labels.items() if len(found) == 1}
    normal_like = normal_like_among(single)
    source = SOURCES.get(spec.label_source) or provenance_of(texts)
    return Labels(kept, sites, left_out, source, notes=tuple(notes), normal_like=normal_like)


def spelled_labels(
    file_name: str, texts: Sequence[str], listed: Collection[str], notes: list[str]
) -> list[str]:
    """Return a column's labels in the spelling of the listed ones, where only that differs.

    Case, blanks within, and `.0` after a whole number (pandas) do not count if one listed label has
    that form.
    """
    forms = Counter(map(comparable, listed))
    spelling = {comparable(one): one for one in listed if forms[comparable(one)] == 1}
    found = [one if one in listed else spelling.get(comparable(one), one) for one in texts]
    changed = Counter((a, b) for a, b in zip(texts, found, strict=True) if a != b)
    if changed:
        shown = ", ".join(f"{a!r} as {b!r} ({n} rows)" for (a, b), n in changed.most_common(3))
        notes.append(f"warning: {file_name}: labels spelled otherwise than in the config: {shown}")
    return found


def provenance_of(labels: Collection[str]) -> str:
    """Return where labels come from by their names: RNA, receptors, or `unknown`."""
    distinct = {label.strip() for label in labels if label.strip()}
    n_pam50 = sum(bool(PAM50_LABEL.match(label)) for label in distinct)
    if n_pam50 >= 2 and n_pam50 * 2 >= len(distinct):
        return FROM_RNA
    n_receptors = sum(bool(RECEPTOR_LABEL.match(label)) for label in distinct)
    return FROM_IHC if n_receptors >= 2 and n_receptors * 2 >= len(distinct) else "unknown"


def shuffled_labels(labels: Sequence[str], spec: CohortSpec) -> tuple[tuple[str, ...], list[str]]:
    """Return the patients' labels, permuted if `shuffle_labels` is set, and a warning if so."""
    if not spec.shuffle_labels:
        return tuple(labels), []
    order = np.random.default_rng(spec.shuffle_labels).permutation(len(labels))
    warning = (
        f"Warning: labels were permuted among the patients ([cohort] shuffle_labels = "
        f"{spec.shuffle_labels}). The results here are those of random labels."
    )
    return tuple(labels[i] for i in order), [warning]


def class_of_each_label(spec: CohortSpec) -> dict[str, str]:
    """Return the class of each label; raise on contradictions."""
    names = [one.name for one in spec.classes]
    if len(names) < 2:
        raise ConfigError(
            f"[[cohort.classes]]: found {len(names)} classes, expected at least two, each with a "
            "name and labels."
        )
    repeated = [name for name, n in Counter(names).items() if n > 1]
    if repeated:
        raise ConfigError(f"[[cohort.classes]]: two classes are named {repeated[0]!r}. Rename one.")
    taken = next((name for name in names if name in OVER_CLASSES), None)
    if taken:
        raise ConfigError(
            f"[[cohort.classes]]: {taken!r} is what metrics over all classes are called. Name the "
            "class otherwise."
        )
    classes: dict[str, str] = {}
    for one in spec.classes:
        if not one.labels:
            raise ConfigError(f"[[cohort.classes]]: class {one.name!r} has no labels. List them.")
        for label in one.labels:
            if label.strip() in classes:
                raise ConfigError(
                    f"[[cohort.classes]]: label {label!r} is listed twice, in "
                    f"{classes[label.strip()]!r} and {one.name!r}. Keep it in one class."
                )
            classes[label.strip()] = one.name
    return classes


def find_label_column(table: Table, labels: Sequence[str]) -> str:
    """Return the one column that holds the classes' labels.

    Raises:
        TableError: no column holds any of them, or several hold equally many.
    """
    wanted = set(map(comparable, labels))
    held = {
        name: len(wanted.intersection(map(comparable, set(table.column(name)))))
        for name in table.names
    }
    most = max(held.values())
    best = [name for name, n in held.items() if n == most]
    if most and len(best) == 1:
        return best[0]
    found = (
        f"columns {', '.join(map(repr, best))} hold the same labels"
        if most
        else (f"no column holds {', '.join(map(repr, labels[:4]))}")
    )
    remedy = "Name the column as label_column under [cohort]."
    raise TableError(Fault(table.path.name, found, remedy))


def patient_rows(
    table: Table, column: str, like: Collection[str] = (), notes: list[str] | None = None
) -> dict[str, list[int]]:
    """Return the rows of each patient, those of a primary tumour if there are any.

    Args:
        table: the table.
        column: of patients.
        like: patients of another table, whose spelling is used.
        notes: receives how many are spelled otherwise.

    Raises:
        TableError: there is no such column, or a row names no patient.
    """
    cells = table.column_called(column, PATIENT_COLUMNS, HOW_TO_NAME_PATIENTS)
    empty = [row for row, cell in enumerate(cells) if is_missing(cell)]
    if empty:
        more = f" (and in {len(empty) - 1} other rows)" if len(empty) > 1 else ""
        found = f"no patient in column {column!r}{more}"
        raise TableError(Fault(table.where(empty[0]), found, "Fill it in or remove the line."))
    spelled = spelled_as({patient_of(cell) for cell in cells}, like)
    if notes is not None:
        notes.extend(note_on_ids(f"{table.path.name}, column {column!r}", cells))
        notes.extend(spelling_note(table.path.name, spelled))
    rows: dict[str, list[int]] = {}
    for row, cell in enumerate(cells):
        patient = patient_of(cell)
        own = rows.setdefault(spelled.get(patient, patient), [])
        if is_tumour(cell):
            own.append(row)
    return rows


def _distinct(cells: Sequence[str], rows: Sequence[int]) -> list[str]:
    return sorted({cells[row] for row in rows})


def _reason_without_class(labels: Sequence[str], known: dict[str, str]) -> str | None:
    """Return why labels give no class, or None if they do."""
    if not labels:
        return "its label is not of a primary tumour"
    if len(labels) > 1:
        number = "two" if len(labels) == 2 else str(len(labels))
        return f"{number} labels: {', '.join(label or '(empty)' for label in labels)}"
    if not labels[0]:
        return "no label"
    if labels[0] not in known:
        return f"label {labels[0]!r} is in no class"
    return None


def _sites(
    table: Table, spec: CohortSpec, rows: dict[str, list[int]]
) -> tuple[dict[str, str], dict[str, tuple[str, str]]]:
    """Return each patient's site, and the patients excluded by site."""
    column = spec.site_column or ("SITE" if "SITE" in table.names else None)
    cells = table.filled(column, "Name it as site_column under [cohort].") if column else []
    found = {p: _distinct(cells, own) if column else [site_of(p) or ""] for p, own in rows.items()}
    sites = {p: own[0] if len(own) == 1 else "" for p, own in found.items()}
    left_out = {p: ("site", f"two sites: {', '.join(o)}") for p, o in found.items() if len(o) > 1}
    left_out |= {
        p: own for p, own in other_sites(spec, sites, table.path.name).items() if p not in left_out
    }
    return sites, left_out


def other_sites(
    spec: CohortSpec, sites: Mapping[str, str], file_name: str
) -> dict[str, tuple[str, str]]:
    """Return (step, reason) of each patient of an excluded site.

    Raises:
        ConfigError: a site is named that no patient has.
    """
    known = sorted(set(sites.values()) - {""})
    for key, listed in (("sites", spec.sites), ("exclude_sites", spec.exclude_sites)):
        for site in listed:
            if site not in known:
                shown = ", ".join(known) or "none"
                raise ConfigError(
                    f"[cohort] {key}: found {site!r}, which no patient of {file_name} has. "
                    f"Known sites: {shown}."
                )
    return {
        patient: ("site", f"site {site or 'unknown'} is excluded")
        for patient, site in sites.items()
        if not is_asked_for(site, spec)
    }


def is_asked_for(site: str, spec: CohortSpec) -> bool:
    """Return whether patients of a site may be in the cohort; an empty one is unknown."""
    return (not spec.sites or site in spec.sites) and site not in spec.exclude_sites


NEAR = 0.6
"""Likeness (`difflib`) from which an unlisted label may be a listed one spelled otherwise."""


def check_labels_found(
    file_name: str, spec: CohortSpec, labels: Collection[str], notes: list[str]
) -> None:
    """Look for listed labels that no row has.

    Args:
        file_name: of the label table.
        spec: the classes.
        labels: of all rows.
        notes: receives those without consequence.

    Raises:
        CohortError: such a label resembles one of the table that no class lists, so that it seems
            to be misspelled; or no row has any label of a class.
    """
    present = dict.fromkeys(sorted(set(map(canonical_id, labels)) - {""}))
    listed = {canonical_id(label) for one in spec.classes for label in one.labels}
    for one in spec.classes:
        absent = [label for label in one.labels if canonical_id(label) not in present]
        near = _misspelled(absent[0], present, listed) if absent else []
        if near or len(absent) == len(one.labels):
            shown = ", ".join(map(repr, near or list(present)[:12])) or "none"
            raise CohortError(
                f"{file_name}: no row has the label {absent[0]!r} of class {one.name!r}. Nearest "
                f"labels there: {shown}. Correct or remove it."
            )
        if absent:
            names = ", ".join(map(repr, absent))
            notes.append(f"warning: {file_name}: no row has the label {names} of {one.name!r}")


def _misspelled(label: str, present: Iterable[str], listed: Iterable[str]) -> list[str]:
    """Return the unlisted labels that resemble this listed one, and no other listed one more."""

    def bare(text: str) -> str:  # without the prefix of PAM50 labels, case and signs
        return re.sub(r"[\W_]+", "", PAM50_PREFIX.sub("", text)).casefold()

    of = {bare(one): one for one in present if one not in listed}
    near = difflib.get_close_matches(bare(label), list(of), 3, NEAR)
    names = sorted(map(bare, listed))
    return [of[one] for one in near if difflib.get_close_matches(one, names, 1, 0) == [bare(label)]]
