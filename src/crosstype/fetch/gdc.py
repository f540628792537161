"""Download of a project's expression, slides and clinical data from the GDC, with tables."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crosstype.errors import FetchError
from crosstype.fetch.download import Fetched, RemoteFile, checked_name, download_all, write_config
from crosstype.fetch.http import Web
from crosstype.io.files import write_text
from crosstype.progress import NoProgress, Progress
from crosstype.tcga import site_of

MANIFEST = ("id", "filename", "md5", "size", "state")
SAMPLE_SHEET = (
    "File ID", "File Name", "Data Category", "Data Type", "Project ID", "Case ID", "Sample ID",
    "Sample Type",
)  # fmt: skip
SLIDES = ("PATIENT", "FILENAME")
FIRST_CLINICAL = ("PATIENT", "SITE", "case_id", "project_id", "disease_type", "primary_site")
OTHER_TEXT = frozenset({"submitter_id", "project", "demographic", "diagnoses"})


@dataclass(frozen=True)
class Item:
    """A file of the GDC.

    Attributes:
        file_id: its UUID.
        file_name: its name.
        kind: `expression` or `slides`.
        size: bytes.
        md5: MD5 in hexadecimal.
        state: of the GDC, such as `released`.
        access: `open` or `controlled`.
        data_category: of the GDC.
        data_type: of the GDC.
        project_id: its project.
        patient_id: barcode of the patient; several are separated by commas.
        sample_id: barcode of the sample, likewise.
        sample_type: of the GDC, likewise.
        entity: barcode of the aliquot or slide, for sorting.
    """

    file_id: str
    file_name: str
    kind: str
    size: int
    md5: str
    state: str
    access: str
    data_category: str
    data_type: str
    project_id: str
    patient_id: str
    sample_id: str
    sample_type: str
    entity: str


def item_of(hit: Mapping[str, Any], kind: str) -> Item:
    """Return the file of a hit of `/files`; KeyError, TypeError or ValueError if it is invalid."""
    cases = list(hit["cases"])
    samples = [sample for case in cases for sample in case.get("samples", [])]
    entities = hit.get("associated_entities") or []
    return Item(
        file_id=str(hit["file_id"]),
        file_name=str(hit["file_name"]),
        kind=kind,
        size=int(hit["file_size"]),
        md5=str(hit["md5sum"]).lower(),
        state=str(hit.get("state", "")),
        access=str(hit["access"]),
        data_category=str(hit.get("data_category", "")),
        data_type=str(hit.get("data_type", "")),
        project_id=_joined(case["project"]["project_id"] for case in cases),
        patient_id=_joined(case["submitter_id"] for case in cases),
        sample_id=_joined(sample["submitter_id"] for sample in samples),
        sample_type=_joined(sample.get("sample_type", "") for sample in samples),
        entity=_joined(one.get("entity_submitter_id", "") for one in entities),
    )


def write_manifest(path: Path, items: Sequence[Item]) -> None:
    """Write a manifest for gdc-client."""
    rows = [(one.file_id, one.file_name, one.md5, one.size, one.state) for one in items]
    _write(path, MANIFEST, rows, "\t")


def write_sample_sheet(path: Path, items: Sequence[Item]) -> None:
    """Write the sample sheet, with the portal's columns."""
    rows = [
        (
            one.file_id, one.file_name, one.data_category, one.data_type, one.project_id,
            one.patient_id, one.sample_id, one.sample_type,
        )
        for one in items
    ]  # fmt: skip
    _write(path, SAMPLE_SHEET, rows, "\t")


def write_slides(path: Path, items: Sequence[Item]) -> None:
    """Write the slides table of a config."""
    _write(path, SLIDES, [(one.patient_id, one.file_name) for one in items], ",")


def write_clinical(path: Path, cases: Sequence[Mapping[str, Any]]) -> None:
    """Write one row per patient: demographic data and the diagnosis of the primary disease."""
    rows = [_clinical_row(case) for case in cases]
    others = sorted({name for row in rows for name in row} - set(FIRST_CLINICAL))
    names = (*FIRST_CLINICAL, *others)
    _write(path, names, [[row.get(name, "") for name in names] for row in rows], ",")


def _clinical_row(case: Mapping[str, Any]) -> dict[str, str]:
    patient = str(case.get("submitter_id", ""))
    row = {key: _cell(value) for key, value in case.items() if key not in OTHER_TEXT}
    row |= {"PATIENT": patient, "SITE": site_of(patient) or ""}
    row["project_id"] = str((case.get("project") or {}).get("project_id", ""))
    diagnoses = [one for one in case.get("diagnoses") or [] if isinstance(one, dict)]
    row["n_diagnoses"] = str(len(diagnoses))
    sections = {"demographic": case.get("demographic") or {}, "diagnosis": _primary(diagnoses)}
    for section, values in sections.items():
        row |= {f"{section}.{key}": _cell(value) for key, value in values.items()}
    return row


def _primary(diagnoses: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the diagnosis of the primary disease if marked, else the first by id."""
    if not diagnoses:
        return {}
    ranked = sorted(
        diagnoses,
        key=lambda one: (
            not _is_yes(one.get("diagnosis_is_primary_disease")),
            one.get("classification_of_tumor") != "primary",
            str(one.get("submitter_id")),
        ),
    )
    return ranked[0]


def _is_yes(value: object) -> bool:
    return str(value).lower() in ("true", "yes", "1")


def _cell(value: object) -> str:
    """Return a scalar as text; lists of scalars are joined, nested values left out."""
    if isinstance(value, (list, tuple)):
        return "|".join(_cell(one) for one in value if not isinstance(one, (dict, list)))
    if value is None or isinstance(value, dict):
        return ""
    return str(value)


def _joined(values: Iterable[object]) -> str:
    return ", ".join(dict.fromkeys(str(value) for value in values))


def _write(
    path: Path, names: Sequence[str], rows: Iterable[Sequence[object]], separator: str
) -> None:
    """Write a table atomically; whitespace in a cell becomes one space."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        writer.writerow([" ".join(str(cell).split()) for cell in row])
    write_text(path, text.getvalue())


BASE = "https://api.gdc.cancer.gov"
PAGE = 500
FIELDS = (
    "file_id", "file_name", "file_size", "md5sum", "state", "access", "data_category",
    "data_type", "cases.submitter_id", "cases.project.project_id", "cases.samples.submitter_id",
    "cases.samples.sample_type", "associated_entities.entity_submitter_id",
)  # fmt: skip
KINDS: dict[str, dict[str, str]] = {
    "expression": {
        "data_type": "Gene Expression Quantification",
        "analysis.workflow_type": "STAR - Counts",
    },
    "slides": {"data_type": "Slide Image", "experimental_strategy": "Diagnostic Slide"},
}
REFUSALS = {
    403: "The file is under controlled access, which needs dbGaP authorisation; crosstype fetches "
    "open files only.",
    404: "The GDC has no such file any more; run the command again to list the current release.",
}


@dataclass(frozen=True)
class GdcRequest:
    """Requested data of a project.

    Attributes:
        project: the GDC's project id.
        kinds: `expression`, `slides`: folders of files.
        clinical: whether clinical.csv is written.
        limit: number of patients, the first by id with all kinds of files; 0: all.
    """

    project: str = "TCGA-BRCA"
    kinds: tuple[str, ...] = ("expression",)
    clinical: bool = True
    limit: int = 0


def manual_instructions(project: str) -> str:
    """Return instructions for a manual download."""
    return (
        f"By hand: choose project {project} on https://portal.gdc.cancer.gov, download manifest "
        "and sample sheet, and give the manifest to gdc-client; or name a mirror with --base."
    )


def fetch_gdc(
    request: GdcRequest,
    folder: Path,
    web: Web,
    progress: Progress | None = None,
    n_workers: int = 4,
) -> Fetched:
    """List a project's open files, download them and write tables and a config beside them.

    Args:
        request: the requested data.
        folder: of the files.
        web: the GDC's API, or a mirror of it.
        progress: receives progress.
        n_workers: parallel downloads.

    Raises:
        FetchError: the project cannot be listed, or has none of the requested data.
    """
    progress = progress or NoProgress()
    items = {kind: list_files(request.project, kind, web) for kind in request.kinds}
    items = _limited(items, request.limit)
    patients = {one.patient_id for found in items.values() for one in found}
    cases = list_cases(request.project, web) if request.clinical else []
    if request.limit and request.kinds:
        cases = [one for one in cases if one.get("submitter_id") in patients]
    cases = cases[: request.limit or None]
    folder.mkdir(parents=True, exist_ok=True)
    listed = [one for kind in items for one in items[kind]]
    if listed:
        write_manifest(folder / "manifest.tsv", listed)
        write_sample_sheet(folder / "gdc_sample_sheet.tsv", listed)
    if "slides" in items:
        write_slides(folder / "slides.csv", items["slides"])
    if cases:
        write_clinical(folder / "clinical.csv", cases)
    wanted, faults = _wanted(items, folder, web)
    faults += download_all(web, wanted, folder, progress, n_workers)
    notes = [f"{request.project}: {len(patients) or len(cases)} patients"]
    config = write_config(folder, _config_lines(request, folder))
    n_files = sum(one.path.is_file() for one in wanted)
    return Fetched(n_files, tuple(notes), tuple(faults), config)


def list_files(project: str, kind: str, web: Web) -> list[Item]:
    """Return the files of one kind of a project, by patient and name.

    Raises:
        FetchError: no connection, an invalid response, or there are no files.
    """
    terms = {"cases.project.project_id": project, **KINDS[kind]}
    hits = _hits("/files", {"filters": _filters(terms), "fields": ",".join(FIELDS)}, web)
    try:
        items = [item_of(hit, kind) for hit in hits]
    except (KeyError, TypeError, ValueError, IndexError):
        raise web.other_shape("/files", "the GDC's") from None
    if not items:
        found = ", ".join(f"{key} = {value}" for key, value in terms.items())
        raise FetchError(f"{web.base}/files: no file has {found}. Check the project's name.")
    return sorted(items, key=lambda one: (one.patient_id, one.entity, one.file_name))


def list_cases(project: str, web: Web) -> list[dict[str, Any]]:
    """Return the patients of a project with demographic data and diagnoses, by id.

    Raises:
        FetchError: no connection, an invalid response, or there are no patients.
    """
    query = {
        "filters": _filters({"project.project_id": project}),
        "expand": "demographic,diagnoses,project",
    }
    cases = list(_hits("/cases", query, web))
    if not cases:
        raise FetchError(f"{web.base}/cases: no patient is of project {project}. Check its name.")
    return sorted(cases, key=lambda one: str(one.get("submitter_id")))


def _filters(terms: Mapping[str, str]) -> dict[str, Any]:
    content = [
        {"op": "in", "content": {"field": field, "value": [value]}}
        for field, value in terms.items()
    ]
    return {"op": "and", "content": content}


def _hits(path: str, query: Mapping[str, Any], web: Web) -> Iterator[dict[str, Any]]:
    """Yield all hits of a query, by pages; raise if their number is not the total."""
    key = "file_id" if path == "/files" else "case_id"
    start, total = 0, None
    seen: set[str] = set()
    while total is None or start < total:
        body = {"format": "JSON", "from": start, "size": PAGE, "sort": f"{key}:asc", **query}
        answer = web.get_json(path, body)
        try:
            data = answer["data"]
            hits, total = list(data["hits"]), int(data["pagination"]["total"])
            seen.update(str(hit[key]) for hit in hits)
        except (KeyError, TypeError, ValueError):
            raise web.other_shape(path, "the GDC's") from None
        if not hits and start < total:
            break
        start += len(hits)
        yield from hits
    if len(seen) != total:
        raise FetchError(
            f"{web.base}{path}: {len(seen)} different entries on the pages, but {total} are "
            "announced. The list changed meanwhile; run the command again."
        )


def _limited(items: dict[str, list[Item]], limit: int) -> dict[str, list[Item]]:
    """Keep the first patients that have every kind of file."""
    if not limit:
        return items
    owners = [{one.patient_id for one in found} for found in items.values()]
    kept = set(sorted(set.intersection(*owners))[:limit]) if owners else set()
    return {kind: [one for one in found if one.patient_id in kept] for kind, found in items.items()}


def _wanted(
    items: Mapping[str, Sequence[Item]], folder: Path, web: Web
) -> tuple[list[RemoteFile], list[str]]:
    """Return the open files as files to download, and a message for each other file."""
    wanted, faults = [], []
    for kind, found in items.items():
        for one in found:
            if one.access != "open":
                faults.append(f"{one.file_name}: {one.access} access. {REFUSALS[403]}")
                continue
            try:
                path = folder / kind / checked_name(one.file_name)
            except FetchError as fault:
                faults.append(str(fault))
                continue
            address = f"{web.base}/data/{one.file_id}"
            wanted.append(RemoteFile(path, (address,), one.size, one.md5, REFUSALS))
    return wanted, faults


def _config_lines(request: GdcRequest, folder: Path) -> list[str]:
    """Return the config's lines; the GDC has no PAM50 subtypes."""
    lines = [
        f"# Written by `crosstype fetch` for GDC project {request.project}.",
        "# Paths are relative to this file.",
        "[cohort]",
        "# The GDC states no PAM50 subtype. Name a table that does and its column (docs/fetch.md),",
        "# then remove the # of these lines; or take a column of clinical.csv and other classes.",
        '# labels = "labels.csv"',
        'patient_column = "PATIENT"',
        '# label_column = "TCGA Subtype"',
    ]
    lines += ['slides = "slides.csv"'] if "slides" in request.kinds else []
    has_expression = any((folder / "expression").glob("*.tsv"))
    lines += ['expression = "expression"'] if has_expression else []
    lines += [
        "# [[cohort.classes]]",
        '# name = "Luminal"',
        '# labels = ["BRCA.LumA", "BRCA.LumB"]',
        "# [[cohort.classes]]",
        '# name = "Basal/Her2"',
        '# labels = ["BRCA.Basal", "BRCA.Her2"]',
    ]
    if "slides" in request.kinds:
        lines += ["", "[slides]", 'folder = "slides"', "", "[tiles]", "n_tiles = 35"]
        lines += ["", "[features]", 'encoder = "resnet50"']
    return lines
