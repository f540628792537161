"""Labels where there is no label table: PAM50 calls of the expression table itself."""

from collections.abc import Collection, Mapping
from dataclasses import replace

from crosstype.cohort import labels
from crosstype.cohort.spec import CohortSpec
from crosstype.errors import CohortError, ConfigError
from crosstype.expression.read import Expression
from crosstype.pam50.centroids import read_centroids
from crosstype.pam50.classify import CohortCentring, call_cohort
from crosstype.tcga import site_of


def labels_from_calls(
    spec: CohortSpec, expression: Expression, samples: Mapping[str, int]
) -> labels.Labels:
    """Call every patient of the expression table and sort the calls into classes.

    Calls are made, and centred, over one sample of each patient of the table, whether or not there
    is a slide or the site is excluded. Sites are those of TCGA barcodes.

    Args:
        spec: centring (`labels_from_pam50`), classes and sites.
        expression: of everyone, with all PAM50 genes that there are.
        samples: each patient's row of `expression`.

    Raises:
        ConfigError: a label table or column is set too, or the classes contradict themselves.
        CohortError: PAM50 cannot be called, or a class has no patient.
    """
    assert spec.labels_from_pam50 is not None
    assert spec.expression is not None
    for key in ("labels", "label_column", "site_column"):
        if getattr(spec, key) is not None:
            raise ConfigError(f"[cohort] {key} and labels_from_pam50 are both set. Keep one.")
    class_of_call = _class_of_each_call(spec)
    patients = sorted(samples)
    one_each = Expression(
        expression.values[[samples[patient] for patient in patients]],
        tuple(patients),
        expression.genes,
        expression.measure,
        expression.notes,
    )
    file_name, centring = spec.expression.name, spec.labels_from_pam50
    found = call_cohort(file_name, one_each, CohortCentring(centring), read_centroids())
    sites = {patient: site_of(patient) or "" for patient in patients}
    left_out = labels.other_sites(spec, sites, file_name)
    class_of: dict[str, str] = {}
    for patient, call in zip(patients, found.calls, strict=True):
        if call in class_of_call:
            class_of[patient] = class_of_call[call]
        else:
            reason = f"PAM50 call {call!r} is in no class" if call else "no PAM50 call"
            left_out[patient] = ("labels", reason)
    _check_classes_found(file_name, spec, class_of, found.calls)
    kept = {patient: name for patient, name in class_of.items() if patient not in left_out}
    counts = ", ".join(f"{name or 'no call'} {n}" for name, n in found.counts().items() if n)
    notes = (*found.notes, f"labels called from {file_name} (PAM50, {centring}): {counts}")
    made = labels.Labels(kept, sites, left_out, _provenance(centring), notes=notes)
    calls = labels.normal_like_among(dict(zip(patients, found.calls, strict=True)))
    return replace(made, labelled_from_expression=True, normal_like=calls)


def _class_of_each_call(spec: CohortSpec) -> dict[str, str]:
    """Return the class of each subtype; `BRCA.LumA` of a class means LumA."""
    classes: dict[str, str] = {}
    for label, name in labels.class_of_each_label(spec).items():
        subtype = labels.PAM50_PREFIX.sub("", label)
        if classes.setdefault(subtype, name) != name:
            raise ConfigError(
                f"[[cohort.classes]]: {subtype!r} is in two classes, {classes[subtype]!r} and "
                f"{name!r}, once as {label!r}. Keep it in one class."
            )
    return classes


def _provenance(centring: str) -> str:
    """Return the provenance of labels that this run computed from RNA, with the warning."""
    warning = labels.provenance_of(["LumA", "LumB"]).partition(": ")[2]
    return f"computed from RNA by this run (PAM50, {centring}): {warning}"


def _check_classes_found(
    file_name: str, spec: CohortSpec, class_of: dict[str, str], labels: Collection[str]
) -> None:
    """Raise CohortError if a class has no patient."""
    empty = [one for one in spec.classes if one.name not in set(class_of.values())]
    if empty:
        found = ", ".join(repr(label) for label in sorted(set(labels) - {""})) or "none"
        raise CohortError(
            f"{file_name}: class {empty[0].name!r} has no patient: none has a label of "
            f"{', '.join(repr(label) for label in empty[0].labels)}. Labels there: {found}."
        )
