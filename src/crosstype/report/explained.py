"""What OUT/explanation holds, read when it is asked for; nothing of it need be there."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import polars as pl

from crosstype.report.columns import (
    ARCHITECTURE,
    ATTRIBUTIONS,
    DRAWN,
    EXAMPLES,
    EXPRESSION_SPREAD,
    EXPRESSION_STEPS,
    SAMPLE_PROFILE,
    VECTOR_MAPS,
    Columns,
)
from crosstype.tables import read_stage_table

FOLDER = "explanation"


@dataclass(frozen=True)
class Explained:
    """The tables and pictures of the explain stage; a table that is not there has no rows."""

    out: Path

    @cached_property
    def architecture(self) -> pl.DataFrame:
        """Modules of each network."""
        return self._read("architecture.csv", ARCHITECTURE)

    @cached_property
    def vector_maps(self) -> pl.DataFrame:
        """Places of out-of-fold patients on flat maps of the models' vectors."""
        return self._read("vector_maps.csv", VECTOR_MAPS)

    @cached_property
    def facts(self) -> dict[str, str]:
        """What is said of the examples, by key."""
        table = self._read("examples.csv", EXAMPLES)
        return dict(table.select("key", "value").iter_rows())

    @cached_property
    def profile(self) -> pl.DataFrame:
        """The sample patient's expression."""
        return self._read("sample_profile.csv", SAMPLE_PROFILE)

    @cached_property
    def spread(self) -> pl.DataFrame:
        """Quantiles of some genes before and after z-scoring."""
        return self._read("expression_spread.csv", EXPRESSION_SPREAD)

    @cached_property
    def steps(self) -> pl.DataFrame:
        """Some genes of some test patients, step by step."""
        return self._read("expression_steps.csv", EXPRESSION_STEPS)

    @cached_property
    def attributions(self) -> pl.DataFrame:
        """Genes by attribution; no rows where no model sees genes."""
        return self._read("attributions.csv", ATTRIBUTIONS)

    @cached_property
    def drawn(self) -> pl.DataFrame:
        """Maps and other pictures."""
        return self._read("drawn.csv", DRAWN)

    @property
    def slide_picture(self) -> Path | None:
        """The sample patient's slide in small, if there is one."""
        return self._picture("slide.jpg")

    @property
    def tile_picture(self) -> Path | None:
        """Tiles and their views, if there are any."""
        return self._picture("tiles.png")

    def _picture(self, name: str) -> Path | None:
        path = self.out / FOLDER / "examples" / name
        return path if path.exists() else None

    def _read(self, name: str, columns: Columns) -> pl.DataFrame:
        path = self.out / FOLDER / name
        empty = pl.DataFrame(schema=columns)
        if not path.exists():
            return empty
        # A table to which no model had anything to say has two columns and no rows.
        return read_stage_table(path, columns) if _has_rows(path) else empty


def _has_rows(path: Path) -> bool:
    with path.open("rb") as handle:
        handle.readline()
        return bool(handle.read(1))
