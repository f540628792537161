"""The report stage: report.html and its companions, made from OUT's tables."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from crosstype.io.schema import TABLES
from crosstype.report.pages.patient import patient_page_names
from crosstype.report.pages.tripod import TRIPOD, write_tripod
from crosstype.report.paper.page import FIGURES, write_figures
from crosstype.report.report import write_report
from crosstype.workflow.explain import PICTURES
from crosstype.workflow.stage import Stage

READ = (*(table.path for table in TABLES), "run.json", "config.toml", *PICTURES)


class Report(Stage):
    """Write the pages: report.html, figures.html, tripod_ai.md and a page per patient."""

    name = "report"
    modules = (
        "crosstype.report.report",
        "crosstype.report.paper.page",
        "crosstype.report.pages.tripod",
    )

    def settings(self) -> Any:
        """Return the report's own settings."""
        return self.of.spec.report

    def inputs(self) -> dict[str, Path]:
        """Return the tables that are there."""
        return {name: self.of.out / name for name in READ if (self.of.out / name).exists()}

    def outputs(self) -> list[str]:
        """Return the pages."""
        spec = self.of.spec.report
        pages = patient_page_names(self.of.out) if spec.patient_pages else []
        return ["report.html", TRIPOD, *pages, *[FIGURES] * spec.figure_page]

    def run(self) -> Mapping[str, Any]:
        """Write the pages."""
        for write in (write_report, write_figures, write_tripod):
            write(self.of.out, self.of.spec.report)
        return {"summary": str(self.of.out / "report.html")}
