"""A project's expression, slides and clinical data from the GDC's public API."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crosstype.errors import FetchError
from crosstype.fetch import gdc_tables
from crosstype.fetch.crew import download_all
from crosstype.fetch.download import Wanted, checked_name
from crosstype.fetch.fetched import Fetched, write_config
from crosstype.fetch.gdc_tables import Item
from crosstype.fetch.web import Web
from crosstype.progress import Silence, Watcher

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
class Asked:
    """What is asked for of a project.

    Attributes:
        project: the GDC's project id.
        kinds: `expression`, `slides`: folders of files.
        clinical: whether clinical.csv is written.
        limit: only this many patients, those with every kind of file, in the order of their ids;
            0: everyone.
    """

    project: str = "TCGA-BRCA"
    kinds: tuple[str, ...] = ("expression",)
    clinical: bool = True
    limit: int = 0


def by_hand(project: str) -> str:
    """Return how to do without this program."""
    return (
        f"By hand: choose project {project} on https://portal.gdc.cancer.gov, download manifest "
        "and sample sheet, and give the manifest to gdc-client; or name a mirror with --base."
    )


def fetch_gdc(
    asked: Asked, folder: Path, web: Web, watcher: Watcher | None = None, n_workers: int = 4
) -> Fetched:
    """List a project's open files, download them and write tables and a config beside them.

    Args:
        asked: what is asked for.
        folder: receives everything.
        web: the GDC's API, or a mirror of it.
        watcher: is told how far it is.
        n_workers: files in work at a time.

    Raises:
        FetchError: the project cannot be listed, or has nothing of what is asked for.
    """
    watcher = watcher or Silence()
    items = {kind: list_files(asked.project, kind, web) for kind in asked.kinds}
    items = _limited(items, asked.limit)
    patients = {one.patient_id for found in items.values() for one in found}
    cases = list_cases(asked.project, web) if asked.clinical else []
    if asked.limit and asked.kinds:
        cases = [one for one in cases if one.get("submitter_id") in patients]
    cases = cases[: asked.limit or None]
    folder.mkdir(parents=True, exist_ok=True)
    listed = [one for kind in items for one in items[kind]]
    if listed:
        gdc_tables.write_manifest(folder / "manifest.tsv", listed)
        gdc_tables.write_sample_sheet(folder / "gdc_sample_sheet.tsv", listed)
    if "slides" in items:
        gdc_tables.write_slides(folder / "slides.csv", items["slides"])
    if cases:
        gdc_tables.write_clinical(folder / "clinical.csv", cases)
    wanted, faults = _wanted(items, folder, web)
    faults += download_all(web, wanted, folder, watcher, n_workers)
    notes = [f"{asked.project}: {len(patients) or len(cases)} patients"]
    config = write_config(folder, _config_lines(asked, folder))
    n_files = sum(one.path.is_file() for one in wanted)
    return Fetched(n_files, tuple(notes), tuple(faults), config)


def list_files(project: str, kind: str, web: Web) -> list[Item]:
    """Return the files of one kind of a project, by patient and name.

    Raises:
        FetchError: no connection, an answer of another shape, or there is none.
    """
    terms = {"cases.project.project_id": project, **KINDS[kind]}
    hits = _hits("/files", {"filters": _filters(terms), "fields": ",".join(FIELDS)}, web)
    try:
        items = [gdc_tables.item_of(hit, kind) for hit in hits]
    except (KeyError, TypeError, ValueError, IndexError):
        raise _other_shape(web, "/files") from None
    if not items:
        found = ", ".join(f"{key} = {value}" for key, value in terms.items())
        raise FetchError(f"{web.base}/files: no file has {found}. Check the project's name.")
    return sorted(items, key=lambda one: (one.patient_id, one.entity, one.file_name))


def list_cases(project: str, web: Web) -> list[dict[str, Any]]:
    """Return the patients of a project with demographic data and diagnoses, by id.

    Raises:
        FetchError: no connection, an answer of another shape, or there is nobody.
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
    """Give every hit of a query, page after page; raise if pages do not add up."""
    key = "file_id" if path == "/files" else "case_id"
    start, total = 0, None
    seen: set[str] = set()
    while total is None or start < total:
        asked = {"format": "JSON", "from": start, "size": PAGE, "sort": f"{key}:asc", **query}
        answer = web.ask(path, asked)
        try:
            data = answer["data"]
            hits, total = list(data["hits"]), int(data["pagination"]["total"])
            seen.update(str(hit[key]) for hit in hits)
        except (KeyError, TypeError, ValueError):
            raise _other_shape(web, path) from None
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
) -> tuple[list[Wanted], list[str]]:
    """Return the open files as files to download, and a line for each other."""
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
            wanted.append(Wanted(path, (address,), one.size, one.md5, REFUSALS))
    return wanted, faults


def _config_lines(asked: Asked, folder: Path) -> list[str]:
    """Return a config of what lies in the folder; the GDC states no PAM50 subtype."""
    lines = [
        f"# Written by `crosstype fetch` for GDC project {asked.project}.",
        "# Paths are relative to this file.",
        "[cohort]",
        "# The GDC states no PAM50 subtype. Name a table that does and its column (docs/fetch.md),",
        "# then remove the # of these lines; or take a column of clinical.csv and other classes.",
        '# labels = "labels.csv"',
        'patient_column = "PATIENT"',
        '# label_column = "TCGA Subtype"',
    ]
    lines += ['slides = "slides.csv"'] if "slides" in asked.kinds else []
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
    if "slides" in asked.kinds:
        lines += ["", "[slides]", 'folder = "slides"', "", "[tiles]", "n_tiles = 35"]
        lines += ["", "[features]", 'encoder = "resnet50"']
    return lines


def _other_shape(web: Web, path: str) -> FetchError:
    return FetchError(
        f"{web.base}{path}: the answer is not what the GDC's API documents. {web.by_hand}"
    )
