"""How pages are filled in: whatever comes from tables is text to be shown, never markup."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined


def page_environment() -> Environment:
    """Return the templates; ids and labels come from users and are escaped everywhere."""
    return Environment(
        loader=PackageLoader("crosstype.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
