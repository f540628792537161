"""The pages in a real browser: alone, sorted, enlarged, saved, read aloud, and never run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

import numpy as np
import polars as pl
import pytest
from PIL import Image

from crosstype.explain.maps import plot_strip, write_svg
from crosstype.expression.matrix import AlignedExpression, save_expression
from crosstype.report.pages.patient import patient_page_names
from crosstype.report.pages.study import write_study_page
from crosstype.report.pages.validation import write_validation_page
from crosstype.report.report import write_report
from crosstype.report.spec import ReportSpec
from crosstype.types import file_name_of

from ..browsing import HOSTILE, QUOTED, Opened, address_of, opened
from .conftest import write_run
from .test_groups import add_groups

pytestmark = pytest.mark.xdist_group("report in a browser")  # they share pages and a browser
CLASSES = ("Luminal", HOSTILE)
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every kind of page, of data whose names would run if they were markup."""
    out = write_run(tmp_path_factory.mktemp("shown") / "run", classes=CLASSES, site=QUOTED)
    add_groups(out, word=HOSTILE)
    _rename(out, "TCGA-A2-A000", HOSTILE)
    _rename(out, "TCGA-A2-A001", QUOTED)
    _rename(out, "late", QUOTED)
    ids = pl.read_csv(out / "cohort.csv")["patient_id"].to_list()
    values = np.random.default_rng(0).normal(size=(len(ids), 4)).astype(np.float32)
    genes = (HOSTILE, QUOTED, "G1", "G2")
    save_expression(out / "expression.npz", AlignedExpression(values, tuple(ids), genes, "log"))
    _explain(out)
    report = write_report(out, ReportSpec(title=HOSTILE))
    return {
        "report": report,
        "patient": out / patient_page_names(out)[0],
        "quoted patient": out / patient_page_names(out)[1],
        "study": write_study_page(out / "study.html", "ablation", _study(), 0.95, [HOSTILE]),
        "validation": _validation(out),
    }


def _rename(out: Path, old: str, new: str) -> None:
    """Rename a patient or a model in every table."""
    for path in sorted(out.glob("*.csv")):
        table = pl.read_csv(path, infer_schema=False)
        table.with_columns(
            pl.when(pl.col(name) == f"{old}-01Z")
            .then(pl.lit(f"{new}-01Z"))
            .otherwise(pl.col(name).replace({old: new}))
            .alias(name)
            for name in table.columns
        ).write_csv(path)


def _explain(out: Path) -> None:
    """Draw a map and a strip of the first patient, and list them as the explanation does."""
    slide, patient = file_name_of(f"{HOSTILE}-01Z"), file_name_of(HOSTILE)
    files = {"attention": f"maps/{slide}.concat.png", "strip": f"strips/{patient}.concat.svg"}
    for name in files.values():
        (out / "explanation" / name).parent.mkdir(parents=True)
    Image.new("RGB", (1200, 800), "#94bb71").save(out / "explanation" / files["attention"])
    strip = plot_strip(f"{HOSTILE} {QUOTED}", np.array([0.5, 0.3, 0.2]), None)
    write_svg(out / "explanation" / files["strip"], strip)
    drawn = [("concat", HOSTILE, f"{HOSTILE}-01Z", *one) for one in files.items()]
    head = ["model", "patient_id", "slide_id", "kind", "file"]
    pl.DataFrame(drawn, schema=head, orient="row").write_csv(out / "explanation" / "drawn.csv")


def _study() -> pl.DataFrame:
    rows = [
        {"row": name, "about": HOSTILE, "against": QUOTED, "model": HOSTILE, "protocol": QUOTED}
        | {"absent": HOSTILE * (name == "absent"), "metric": metric, "value": 0.8, "low": 0.7}
        | {"high": 0.9, "difference": 0.1, "difference_low": 0.0, "difference_high": 0.2}
        | {"p": 0.1, "p_adjusted": 0.2}
        for name in (HOSTILE, QUOTED, "absent")
        for metric in ("f1", "pr_auc", "auroc", "mcc", "accuracy")
    ]
    return pl.DataFrame(rows)


def _validation(out: Path) -> Path:
    """Write a page of a validation from the run's own tables."""
    shifted = ("mean_training", "sd_training", "mean_here", "sd_here", "standardised_difference")
    shift = pl.DataFrame({"input": [HOSTILE, QUOTED], "kind": "gene", "share_missing": 0.0})
    shift.with_columns(pl.lit(0.5).alias(name) for name in shifted).write_csv(out / "shift.csv")
    about = {"artefact": QUOTED, "model": HOSTILE, "synthetic": True, "classes": CLASSES}
    about |= {key: [HOSTILE, QUOTED] for key in ("lines", "warnings", "notes", "faults")}
    about |= {key: {HOSTILE: 3, QUOTED: 4} for key in ("training_classes", "counts")}
    about |= {"n_training": 7, "n_left_out": 0, "confidence": 0.95, "crosstype": "0"}
    (out / "validation.json").write_text(json.dumps(about), encoding="utf-8")
    return write_validation_page(out)


def test_the_report_fetches_nothing_sorts_and_leads_to_a_patient(
    pages: dict[str, Path], browser: Any
) -> None:
    with opened(browser, address_of(pages["report"])) as it:
        page = it.page
        assert it.asked == [address_of(pages["report"])]
        table = page.locator("#patients table")
        head = table.get_by_role("button", name="Probability of")

        def shares() -> list[float]:
            return [float(one) for one in table.locator("td:last-child").all_inner_texts()]

        before = shares()
        for order, reverse in (("ascending", False), ("descending", True)):
            head.click()
            assert table.locator(f"th[aria-sort={order}]").count() == 1
            assert shares() == sorted(before, reverse=reverse) != before
        page.get_by_role("link", name=HOSTILE).click()
        assert page.locator("h1").inner_text() == HOSTILE
        assert page.url == address_of(pages["patient"])
        page.get_by_role("link", name="All patients").click()
        assert page.url == address_of(pages["report"])
        assert not it.faults


def test_a_figure_is_enlarged_by_key_and_by_click(pages: dict[str, Path], browser: Any) -> None:
    with opened(browser, address_of(pages["report"])) as it:
        page = it.page
        figure = page.locator("figure").first
        button = figure.get_by_role("button", name="Enlarge")
        button.focus()
        small = figure.locator("svg").bounding_box()
        page.keyboard.press("Enter")
        dialog = page.get_by_role("dialog")
        large = dialog.locator("svg").bounding_box()
        assert large["height"] > 1.3 * small["height"]
        assert figure.locator("svg").count() == 0  # moved: its ids stay unique
        page.keyboard.press("Escape")
        assert not dialog.is_visible()
        assert figure.locator("svg").bounding_box() == small
        assert button.evaluate("it => it === document.activeElement")
        figure.locator("svg").click()
        assert dialog.is_visible()
        dialog.get_by_role("button", name="Close").click()
        assert not dialog.is_visible()
        page.emulate_media(media="print")
        assert figure.locator("svg").is_visible()
        assert not page.locator("figcaption button:visible").count()
        assert not it.faults


def test_a_figure_is_saved_as_an_svg_that_stands_alone(
    pages: dict[str, Path], browser: Any
) -> None:
    with opened(browser, address_of(pages["report"])) as it:
        names = []
        for figure in it.page.locator("figure").all()[:4]:
            with it.page.expect_download() as waiting:
                figure.get_by_role("button", name="SVG").click()
            names.append(waiting.value.suggested_filename)
            drawn = ElementTree.parse(waiting.value.path()).getroot()
            assert drawn.tag == f"{SVG}svg"
            assert drawn.get("width", "").endswith("pt")
            shown = figure.locator("svg text").all_text_contents()
            assert [one.text for one in drawn.iter(f"{SVG}text")] == shown
        assert "forest.svg" in names
        assert len(set(names)) == 4
        assert not it.faults


def test_a_patients_maps_are_enlarged_and_can_be_kept(pages: dict[str, Path], browser: Any) -> None:
    with opened(browser, address_of(pages["patient"])) as it:
        figures = it.page.locator("figure")
        assert figures.count() == 2
        for figure in figures.all():
            picture = figure.locator("img")
            picture.scroll_into_view_if_needed()
            assert picture.evaluate("async it => (await it.decode(), it.naturalWidth)") > 0
            figure.get_by_role("button", name="Enlarge").click()
            assert it.page.locator("dialog[open] img").is_visible()
            it.page.keyboard.press("Escape")
        link = unquote(figures.first.get_by_role("link").get_attribute("href"))
        assert (pages["patient"].parent / link).is_file()
        assert not it.faults


@pytest.mark.parametrize("width", [1440, 390])
def test_axe_finds_nothing_grave(pages: dict[str, Path], browser: Any, width: int) -> None:
    names = ("report", "patient", "study", "validation")
    for name in names if width == 390 else names[:2]:
        with opened(browser, address_of(pages[name]), width) as it:
            assert it.grave() == [], name
            wide = it.page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, f"{name} is cut off"
            if name == "study":
                it.page.locator("figure button").first.click()
                assert it.grave() == [], f"{name}, a figure enlarged"


@pytest.mark.parametrize("name", ["report", "patient", "quoted patient", "study", "validation"])
def test_hostile_names_are_text(pages: dict[str, Path], browser: Any, name: str) -> None:
    with opened(browser, address_of(pages[name])) as it:
        text = it.page.evaluate("document.body.textContent")
        assert HOSTILE in text or name == "quoted patient"
        assert QUOTED in text
        _touch(it)
        assert not it.injected()
        assert not it.faults


def _touch(it: Opened) -> None:
    """Move the mouse over everything that a hostile name could have made."""
    it.page.evaluate(
        "document.querySelectorAll('body *').forEach(it => it.dispatchEvent("
        "new MouseEvent('mouseover', { bubbles: false })))"
    )
