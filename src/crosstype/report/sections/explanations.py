"""Which genes the models go by and which maps were drawn, as the report shows it."""

from urllib.parse import quote

import polars as pl

from crosstype.report.formatting import number
from crosstype.report.run_tables import FOLDER, ExplanationTables
from crosstype.report.tables import Cell, PageTable

MOST_GENES = 20
NO_PICTURE = "geojson"


def gene_tables(explained: ExplanationTables) -> list[PageTable]:
    """Return the genes of highest attribution, a table per model that sees genes."""
    tables = []
    for (model,), part in explained.attributions.group_by("model", maintain_order=True):
        first = part.sort("rank").head(MOST_GENES)
        rows = tuple(
            (
                Cell(row["gene"], row["gene_sets"] or ""),
                Cell(str(row["rank"]), "", row["rank"]),
                Cell(number(row["mean_absolute"]), "", row["mean_absolute"]),
            )
            for row in first.iter_rows(named=True)
        )
        caption = f"Genes by which {model} goes: first {first.height} of {part.height}"
        tables.append(PageTable(caption, ("Gene", "Rank", "Mean absolute part of a logit"), rows))
    return tables


def picture_table(explained: ExplanationTables) -> PageTable:
    """Return the maps and strips that were drawn, each led to by a link."""
    rows = tuple(
        (
            Cell(row["file"].rpartition("/")[2], link=f"{FOLDER}/{quote(row['file'])}"),
            Cell(row["kind"]),
            Cell(row["patient_id"]),
            Cell(row["model"]),
        )
        for row in explained.drawn.filter(pl.col("kind") != NO_PICTURE).iter_rows(named=True)
    )
    return PageTable("Maps and strips that were drawn", ("File", "What", "Patient", "Model"), rows)
