"""What a user may set about the report."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ReportSpec:
    """How the report presents itself."""

    title: str = "Breast cancer subtypes from slides and expression"
    """Heading of the page."""

    patient_pages: bool = True
    """A page for each patient, in OUT/patients, to which the report leads."""

    figure_page: bool = True
    """A page of the paper's figures from this run's own data, OUT/figures.html."""
