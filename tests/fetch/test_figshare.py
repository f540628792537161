"""`crosstype fetch figshare` and `hallmark` through the command line, against a local server."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import openpyxl
import polars as pl
import pytest

from crosstype.config.read import read_config
from crosstype.fetch import figshare, gdc, hallmark

from .conftest import Server, left_overs

Call = Callable[..., tuple[int, str, str]]
PATIENTS = ("TCGA-A2-A04N", "TCGA-A2-A04P")
SLIDES = tuple(f"{one}-01Z-00-DX1" for one in PATIENTS)


def xlsx(names: tuple[str, ...], *rows: tuple[object, ...]) -> bytes:
    book = openpyxl.Workbook()
    for row in (names, *rows):
        book.worksheets[0].append(row)
    data = io.BytesIO()
    book.save(data)
    return data.getvalue()


def zip_of(members: dict[str, bytes]) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return data.getvalue()


def archive_files(filenames: tuple[str, ...] = SLIDES) -> dict[str, bytes]:
    """Return the paper's archive in small: its names, columns and quirks."""
    labels = [
        (PATIENTS[0], f"{PATIENTS[0]}-01", "BRCA.LumA", 1),
        (PATIENTS[1], f"{PATIENTS[1]}-01", "BRCA.Basal", 0),
    ]
    tiles = {f"BLOCKS_NORM_MACENKO/{one}/{one}_(0,256).jpg": b"jpeg" for one in SLIDES}
    return {
        "TCGA-BRCA-RNA-Seq.csv": b"gene\tTCGA-A2-A04N-01\tTCGA-A2-A04P-01\nESR1\t-1.5\t0.25\n",
        "TCGA-BRCA-A2-target_variable.xlsx": xlsx(
            ("PATIENT", "Sample ID", "TCGA Subtype", "Class"), *labels
        ),
        "TCGA-BRCA-A2-CLINI.xlsx": xlsx(("PATIENT", "SITE"), *[(one, "A2") for one in PATIENTS]),
        "TCGA-BRCA-A2_SLIDE.xlsx": xlsx(
            ("PATIENT", "FILENAME"), *zip(PATIENTS, filenames, strict=True)
        ),
        "TCGA-BRCA-A2-DEEPMED-TILES.zip": zip_of(tiles),
    }


def fetch(call: Call, server: Server, out: Path, *more: object) -> tuple[int, str, str]:
    base = f"{server.base}/v2"
    return call("fetch", "figshare", "--out", out, "--base", base, *more)


def test_the_papers_archive_and_its_config(call: Call, server: Server, tmp_path: Path) -> None:
    files = archive_files()
    server.serve_figshare(28050083, files)
    out = tmp_path / "paper"
    code, said, err = fetch(call, server, out)
    assert code == 0, err
    assert {name: (out / name).read_bytes() for name in files} == files
    assert "licence: CC BY 4.0 (https://creativecommons.org/licenses/by/4.0/)" in err
    assert "5 files in" in said
    spec = read_config(out / "crosstype.toml")
    assert spec.cohort.labels == out / "TCGA-BRCA-A2-target_variable.xlsx"
    assert spec.cohort.label_column == "TCGA Subtype"  # `Class` is coded in reverse
    assert spec.cohort.expression == out / "TCGA-BRCA-RNA-Seq.csv"
    assert spec.cohort.slides == out / "TCGA-BRCA-A2_SLIDE.xlsx"
    assert spec.slides.folder == out / "TCGA-BRCA-A2-DEEPMED-TILES.zip"
    assert spec.tiles.n_tiles == 35
    assert {one.name: one.labels for one in spec.cohort.classes} == {
        "Luminal": ("BRCA.LumA", "BRCA.LumB"),
        "Basal/Her2": ("BRCA.Basal", "BRCA.Her2"),
    }
    assert not left_overs(out)


def test_a_second_run_downloads_nothing_and_keeps_a_changed_config(
    call: Call, server: Server, tmp_path: Path
) -> None:
    server.serve_figshare(28050083, archive_files())
    fetch(call, server, tmp_path)
    config = tmp_path / "crosstype.toml"
    first = config.read_text()
    server.log.clear()
    assert fetch(call, server, tmp_path)[0] == 0
    assert {one[1] for one in server.log} == {
        "/v2/articles/28050083",
        "/v2/articles/28050083/files",
    }
    assert sorted(one.name for one in tmp_path.glob("*.toml")) == ["crosstype.toml"]
    config.write_text(first + "# mine\n")
    code, said, _ = fetch(call, server, tmp_path)
    assert code == 0
    assert config.read_text() == first + "# mine\n"
    assert (tmp_path / "crosstype.fetched.toml").read_text() == first
    assert "crosstype.fetched.toml" in said


def test_a_slides_table_that_names_other_slides_is_not_used(
    call: Call, server: Server, tmp_path: Path
) -> None:
    server.serve_figshare(28050083, archive_files(tuple(f"{one}.9E9B.svs" for one in SLIDES)))
    code, _, err = fetch(call, server, tmp_path)
    assert code == 0
    assert "TCGA-BRCA-A2_SLIDE.xlsx is not used: 2 of 2 slides with tiles" in err
    assert read_config(tmp_path / "crosstype.toml").cohort.slides is None


def test_everything_in_one_zip_with_a_member_that_leads_out(
    call: Call, server: Server, tmp_path: Path
) -> None:
    files = archive_files()
    server.serve_figshare(7, {"all.zip": zip_of({**files, "../evil.csv": b"x", "/abs": b"x"})})
    out = tmp_path / "deep" / "out"
    code, _, err = fetch(call, server, out, "--article", 7)
    assert code == 1
    lines = [line for line in err.splitlines() if line.startswith("Skipped: ")]
    assert lines == [
        "Skipped: all.zip: member '../evil.csv' leads out of the zip; left out.",
        "Skipped: all.zip: member '/abs' is an absolute path; left out.",
    ]
    assert not list(tmp_path.rglob("evil.csv"))
    spec = read_config(out / "crosstype.toml")
    assert spec.cohort.expression == out / "all" / "TCGA-BRCA-RNA-Seq.csv"
    assert spec.slides.folder == out / "all" / "TCGA-BRCA-A2-DEEPMED-TILES.zip"


def test_tiles_unpacked_beside_the_tables(call: Call, server: Server, tmp_path: Path) -> None:
    files = archive_files()
    with zipfile.ZipFile(io.BytesIO(files.pop("TCGA-BRCA-A2-DEEPMED-TILES.zip"))) as tiles:
        files |= {name: tiles.read(name) for name in tiles.namelist()}
    server.serve_figshare(7, {"all.zip": zip_of(files)})
    assert fetch(call, server, tmp_path, "--article", 7)[0] == 0
    assert read_config(tmp_path / "crosstype.toml").slides.folder == tmp_path / "all"


def test_many_files_come_page_by_page(call: Call, server: Server, tmp_path: Path) -> None:
    files = {f"{number:03d}.txt": b"%d" % number for number in range(203)}
    server.serve_figshare(7, files)
    code, said, err = fetch(call, server, tmp_path, "--article", 7)
    assert code == 0
    assert "203 files" in said
    assert "no config was written" in err
    assert {one.name: one.read_bytes() for one in tmp_path.glob("*.txt")} == files
    assert server.n_asked("/v2/articles/7/files") == 3


def test_one_bad_file_is_one_line_and_the_others_are_done(
    call: Call, server: Server, tmp_path: Path
) -> None:
    odd = {"TCGA-BRCA-A2-CLINI": {"computed_md5": "0" * 32}}
    server.serve_figshare(28050083, archive_files(), **odd)
    code, said, err = fetch(call, server, tmp_path)
    assert code == 1
    faults = [line for line in err.splitlines() if line.startswith("Skipped: ")]
    assert len(faults) == 1
    assert "TCGA-BRCA-A2-CLINI.xlsx" in faults[0]
    assert "twice" in faults[0]
    assert not (tmp_path / "TCGA-BRCA-A2-CLINI.xlsx").exists()
    assert "4 files in" in said
    read_config(tmp_path / "crosstype.toml")


def test_names_and_links_that_are_not_followed(call: Call, server: Server, tmp_path: Path) -> None:
    files = {"../evil": b"x", "linked.csv": b"y", "good.csv": b"z"}
    server.serve_figshare(7, files, linked={"is_link_only": True})
    code, _, err = fetch(call, server, tmp_path / "out", "--article", 7)
    assert code == 1
    assert "'../evil': not a plain file name" in err
    assert "linked.csv: figshare only links to it. Fetch it by hand: http" in err
    assert sorted(one.name for one in tmp_path.rglob("*.csv")) == ["good.csv"]
    assert not (tmp_path / "evil").exists()


def test_the_api_serves_what_the_download_host_refuses(
    call: Call, server: Server, tmp_path: Path
) -> None:
    server.serve_figshare(7, {"a.csv": b"a"})
    server.content["/v2/file/download/1001"] = b"a"
    server.always["/files/1001"] = "waf"
    assert fetch(call, server, tmp_path, "--article", 7)[0] == 0
    assert (tmp_path / "a.csv").read_bytes() == b"a"


@pytest.mark.parametrize(
    ("fault", "said"),
    [("404", "404 Not Found"), ("junk", "no JSON"), ("503", "503"), ("429 9999", "9999 s")],
)
def test_an_article_that_cannot_be_had_is_one_line(
    call: Call, server: Server, tmp_path: Path, fault: str, said: str
) -> None:
    server.serve_figshare(28050083, archive_files())
    server.always["/v2/articles/28050083"] = fault
    code, out, err = fetch(call, server, tmp_path / "out")
    assert (code, out) == (1, "")
    assert len(err.strip().splitlines()) == 1
    assert said in err
    assert "https://doi.org/10.6084/m9.figshare.28050083" in err
    assert "--local" in err


def test_missing_files_are_noted_and_a_bad_slides_table_is_not_used(
    call: Call, server: Server, tmp_path: Path
) -> None:
    files = archive_files()
    files["TCGA-BRCA-A2_SLIDE.xlsx"] = xlsx(("PATIENT", "NAME"), ("a", "b"))
    tiles = files.pop("TCGA-BRCA-A2-DEEPMED-TILES.zip")
    server.serve_figshare(7, {**files, "bad.zip": b"not a zip"})
    code, _, err = fetch(call, server, tmp_path, "--article", 7)
    assert code == 1
    assert "bad.zip: damaged zip" in err
    assert "the slides table is not used: TCGA-BRCA-A2_SLIDE.xlsx: no column 'FILENAME'" in err
    spec = read_config(tmp_path / "crosstype.toml")
    assert spec.cohort.slides is None
    assert spec.slides.folder is None
    # Tiles and a folder of images that hold none of them: the first zip of tiles is taken.
    (tmp_path / "tiles.zip").write_bytes(tiles)
    (tmp_path / "bad.zip").unlink()
    (tmp_path / "TCGA-BRCA-A2_SLIDE.xlsx").unlink()
    assert fetch(call, server, tmp_path, "--local")[0] == 0
    spec = read_config(tmp_path / "crosstype.fetched.toml")
    assert spec.slides.folder == tmp_path / "tiles.zip"


@pytest.mark.parametrize("answer", [[], {"files": []}, "text", [{"name": "a"}], [7]])
def test_an_answer_of_another_shape_is_one_line(
    call: Call, server: Server, tmp_path: Path, answer: object
) -> None:
    server.serve_figshare(28050083, {})
    server.answers["/v2/articles/28050083/files"] = lambda _: answer
    code, _, err = fetch(call, server, tmp_path / "out")
    assert code == (0 if answer == [] else 1)
    assert "Traceback" not in err
    assert answer == [] or "not what figshare's API documents" in err


def test_an_article_of_another_shape_is_one_line(
    call: Call, server: Server, tmp_path: Path
) -> None:
    server.answers["/v2/articles/28050083"] = lambda _: ["no", "article"]
    code, _, err = fetch(call, server, tmp_path / "out")
    assert code == 1
    assert "not what figshare's API documents" in err


def test_what_was_put_there_by_hand_is_enough(call: Call, server: Server, tmp_path: Path) -> None:
    for name, data in archive_files().items():
        (tmp_path / name).write_bytes(data)
    code, _, err = fetch(call, server, tmp_path, "--local")
    assert code == 0, err
    assert not server.log
    read_config(tmp_path / "crosstype.toml")
    code, _, err = fetch(call, server, tmp_path / "absent", "--local")
    assert code == 2
    assert "no such folder" in err


def test_ctrl_c_is_one_line(
    call: Call, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("crosstype.fetch.figshare.download_all", interrupted)
    server.serve_figshare(28050083, archive_files())
    code, _, err = fetch(call, server, tmp_path)
    assert code == 130
    assert "the same command resumes" in err
    assert "Traceback" not in err


GMT = "".join(f"HALLMARK_{i}\thttp://x.org\tESR1\tG{i}\n" for i in range(50))


def test_hallmark_sets_arrive_once(call: Call, server: Server, tmp_path: Path) -> None:
    server.content["/h.gmt"] = GMT.encode()
    out = tmp_path / "sets" / "h.gmt"
    code, _, err = call("fetch", "hallmark", "--out", out, "--url", f"{server.base}/h.gmt")
    assert code == 0, err
    assert "CC BY 4.0" in err
    assert out.read_text() == GMT
    code, _, err = call("fetch", "hallmark", "--out", out, "--url", f"{server.base}/h.gmt")
    assert code == 0
    assert "already" in err
    assert server.n_asked("/h.gmt") == 1
    assert [one.name for one in out.parent.iterdir()] == ["h.gmt"]


@pytest.mark.parametrize(
    "content",
    [
        GMT.replace("HALLMARK_7\t", "OTHER\t"),
        GMT.replace("HALLMARK_7\t", "HALLMARK_8\t"),
        "".join(GMT.splitlines(keepends=True)[:49]),
        GMT.replace("\t", " "),
        "<html>sign in</html>",
        "",
        "\udcff",
    ],
)
def test_what_is_not_the_hallmark_gmt_is_not_kept(
    call: Call, server: Server, tmp_path: Path, content: str
) -> None:
    server.content["/h.gmt"] = content.encode("utf-8", "surrogateescape")
    out = tmp_path / "h.gmt"
    code, _, err = call("fetch", "hallmark", "--out", out, "--url", f"{server.base}/h.gmt")
    assert code == 1
    assert "Expected a GMT file of 50 sets" in err
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_something_else_is_not_replaced(
    call: Call, server: Server, tmp_path: Path
) -> None:
    out = tmp_path / "mine.gmt"
    out.write_text("mine")
    code, _, err = call("fetch", "hallmark", "--out", out, "--url", f"{server.base}/h.gmt")
    assert code == 1
    assert "mine.gmt: line 1" in err
    assert out.read_text() == "mine"
    assert not server.log


@pytest.mark.parametrize("command", ["figshare", "gdc", "hallmark"])
def test_help_has_a_sentence_an_example_and_the_address(call: Call, command: str) -> None:
    code, out, err = call("fetch", command, "--help")
    assert (code, err) == (0, "")
    assert f"Example: crosstype fetch {command}" in out
    assert "--url" in out if command == "hallmark" else "--base" in out


def test_the_commands_use_the_public_servers_by_default(call: Call) -> None:
    assert figshare.BASE in call("fetch", "figshare", "--help")[1]
    assert gdc.BASE in call("fetch", "gdc", "--help")[1]
    for one in (figshare.BASE, gdc.BASE, hallmark.URL):
        assert one.startswith("https://")


@pytest.mark.real
def test_the_real_layout_from_server_to_features_and_cohort(
    call: Call, server: Server, real_data: Path, tmp_path: Path
) -> None:
    folder = real_data / "figshare_28050083_layout"
    files = {one.name: one.read_bytes() for one in sorted(folder.iterdir())}
    server.serve_figshare(28050083, files)
    for number in (1001, 1002, 1003):
        server.faults[f"/files/{number}"] = ["cut", "503", "cut"]
    data = tmp_path / "paper"
    code, _, err = fetch(call, server, data)
    assert code == 0, err
    assert {name: (data / name).read_bytes() for name in files} == files
    config = data / "crosstype.toml"
    written = config.read_text()
    # There are no weights here; four patients of this copy have tiles.
    text = written.replace('encoder = "resnet50"', 'encoder = "colour_texture"')
    config.write_text(text)
    out = tmp_path / "out"
    code, _, err = call("features", config, "--out", out)
    assert code == 0, err
    features = pl.read_csv(out / "features.csv", infer_schema=False)
    assert features["patient_id"].to_list() == [
        "TCGA-A7-A13E", "TCGA-A7-A13F", "TCGA-AC-A2FO", "TCGA-AO-A0J2",
    ]  # fmt: skip
    assert features["n_tiles"].to_list() == ["9"] * 4
    # All patients of the same tables, with features that exist for nearly all of them.
    text = re.sub(r"\[slides\]\n(.*\n)*", "", written).replace("# slides =", "slides =")
    folder = real_data / "tcga_brca" / "features_hipt_vit256"
    config.write_text(f'{text}\n[features]\nfolder = "{folder}"\n')
    out = tmp_path / "cohort"
    code, _, err = call("cohort", config, "--out", out)
    assert "Traceback" not in err
    cohort = pl.read_csv(out / "cohort.csv", infer_schema=False)
    a2 = cohort.filter(pl.col("patient_id").str.starts_with("TCGA-A2"))["label"].to_list()
    assert (a2.count("Luminal"), a2.count("Basal/Her2")) == (63, 28)
    assert code == 0, err


@pytest.mark.real
def test_the_real_hallmark_sets_are_recognised(
    call: Call, server: Server, real_data: Path, tmp_path: Path
) -> None:
    data = (real_data / "reference" / "hallmark_v7.0.gmt").read_bytes()
    server.content["/h.gmt"] = data
    out = tmp_path / "h.gmt"
    assert call("fetch", "hallmark", "--out", out, "--url", f"{server.base}/h.gmt")[0] == 0
    assert out.read_bytes() == data
