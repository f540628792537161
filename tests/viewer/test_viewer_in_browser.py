"""The viewer in a real browser: pickers, overlay, zoom, search, expression, and no script run."""

from __future__ import annotations

from typing import Any

import pytest

from ..browsing import HOSTILE, QUOTED, opened

pytestmark = pytest.mark.xdist_group("viewer")  # they share one extracted run
FILLED = """() => {
  const it = document.querySelector('#overlay');
  const data = it.getContext('2d').getImageData(0, 0, it.width, it.height).data;
  const sums = [0, 0, 0, 0];
  for (let i = 0; i < data.length; i++) sums[i % 4] += data[i];
  return sums;
}"""


FRAMES = """new Promise((done) => {
  let left = 6;
  const next = () => (left-- ? requestAnimationFrame(next) : done());
  next();
})"""


def _painted(page: Any) -> tuple[int, ...]:
    """Return sums of red, green, blue and opacity of the overlay, once it is drawn anew."""
    page.evaluate(FRAMES)  # OpenSeadragon draws with the frame that follows a change
    return tuple(page.evaluate(FILLED))


@pytest.mark.parametrize("width", [1440, 390])
def test_maps_are_picked_and_drawn(browser: Any, address: str, width: int) -> None:
    from playwright.sync_api import expect

    with opened(browser, address, width) as it:
        page = it.page
        overlay = page.locator("#overlay")
        expect(overlay).to_have_attribute("data-drawn", "4")
        assert page.locator("#map option").all_inner_texts() == ["none", HOSTILE, "image_only"]
        sets = [f"gene set {QUOTED}", "gene set HALLMARK"]
        shows = page.locator("#shows")
        assert shows.locator("option").all_inner_texts() == ["attention", "contribution", *sets]
        page.wait_for_load_state("networkidle")
        page.locator("#outlines").uncheck()
        attention = _painted(page)
        page.locator("#opacity").fill("10")
        assert _painted(page)[3] < attention[3]
        page.locator("#opacity").fill("100")
        seen = {_painted(page)}
        for name, n_drawn in (("contribution", 4), (sets[0], 1), (sets[1], 2)):
            shows.select_option(label=name)
            expect(overlay).to_have_attribute("data-drawn", str(n_drawn))
            seen.add(_painted(page))
        expect(page.locator("#about")).to_contain_text("gene set HALLMARK")
        expect(page.locator("#about")).to_contain_text("25%")
        page.locator("#map").select_option("image_only")
        seen.add(_painted(page))
        assert len(seen) == 5
        expect(page.locator("#about")).to_contain_text("75%")
        page.locator("#map").select_option("")
        expect(overlay).to_have_attribute("data-drawn", "0")
        assert _painted(page) == (0, 0, 0, 0)
        assert not it.faults


def test_the_slide_is_zoomed_and_its_outline_shown(browser: Any, address: str) -> None:
    with opened(browser, address, 390) as it:  # so narrow that not every pixel is shown at first
        page = it.page
        page.wait_for_load_state("networkidle")
        page.locator("#map").select_option("")
        page.locator("#outlines").uncheck()
        assert _painted(page) == (0, 0, 0, 0)
        page.locator("#tissue").check()
        assert _painted(page)[3] > 0
        far = {one for one in it.asked if one.endswith(".jpg")}
        level = max(int(one.split("/")[-2]) for one in far)
        for _ in range(3):
            page.locator("#zoom").dblclick()
        page.wait_for_load_state("networkidle")
        near = {one for one in it.asked if one.endswith(".jpg")} - far
        assert max(int(one.split("/")[-2]) for one in near) > level
        assert not it.faults


def test_patients_are_found_and_their_expression_stands_beside(browser: Any, address: str) -> None:
    from playwright.sync_api import expect

    with opened(browser, address) as it:
        page = it.page
        names = page.locator("#patients button")
        expect(page.locator("#genes tbody tr")).to_have_count(12)
        total = names.count()
        page.locator("#search").fill("SYN-004")
        expect(names).to_have_count(1)
        names.first.click()
        expect(page.locator("#name")).to_have_text("SYN-004")
        expect(page.locator("#genes tbody tr")).to_have_count(12)
        page.locator("#gene").fill("gene000")
        expect(page.locator("#genes tbody th").first).to_have_text("GENE0002")
        page.locator("#search").fill("")
        for show, word in (("wrong", "called wrongly"), ("right", "called rightly")):
            page.locator("#show").select_option(label=word)
            n_wrong = page.locator("#patients small.wrong").count()
            assert n_wrong == (names.count() if show == "wrong" else 0)
            assert 0 < names.count() < total
        page.locator("#show").select_option(f"class {HOSTILE}")
        assert all(f"{HOSTILE}, called" in one for one in names.all_inner_texts())
        assert not it.faults


@pytest.mark.parametrize("width", [1440, 390])
def test_axe_finds_nothing_grave_and_nothing_is_cut_off(
    browser: Any, address: str, width: int
) -> None:
    with opened(browser, address, width) as it:
        it.page.wait_for_load_state("networkidle")
        assert it.page.evaluate("document.documentElement.scrollWidth") <= width
        assert it.grave() == []


def test_hostile_names_are_text(browser: Any, address: str) -> None:
    from playwright.sync_api import expect

    with opened(browser, address) as it:
        page = it.page
        expect(page.locator("#name")).to_have_text(HOSTILE)  # the patient
        expect(page.locator("#which option")).to_have_text([QUOTED])  # its slide
        assert QUOTED in page.locator("#facts").inner_text()  # its site
        assert page.locator("#said thead th").all_inner_texts()[1] == HOSTILE  # the class
        assert page.locator("#said tbody th").first.inner_text() == HOSTILE  # the model
        page.locator("#gene").fill("<scr")
        expect(page.locator("#genes tbody th")).to_have_text([HOSTILE])
        page.locator("#shows").select_option(label=f"gene set {QUOTED}")
        expect(page.locator("#about")).to_contain_text(QUOTED)
        page.locator("#search").fill(QUOTED)
        expect(page.locator("#patients button")).to_have_count(1)
        assert page.locator("[onmouseover]").count() == 0
        assert page.locator("script").count() == 2
        assert not it.faults
