"""Zips from elsewhere: nothing lands outside the folder, every bad member is one line."""

from __future__ import annotations

import contextlib
import io
import random
import stat
import zipfile
from pathlib import Path

import pytest

from crosstype.errors import FetchError
from crosstype.fetch.archive import bad_members, is_tile_zip, members_of, tile_slides_in, unpack

GOOD = {"tables/a.csv": b"a,b\n1,2\n", "b.txt": b"x" * 1000, "empty": b""}


def make_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return path


def content_of(folder: Path) -> dict[str, bytes]:
    files = [one for one in folder.rglob("*") if one.is_file()]
    return {one.relative_to(folder).as_posix(): one.read_bytes() for one in files}


def test_members_arrive_and_are_not_written_twice(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", GOOD)
    out = tmp_path / "out"
    assert unpack(path, out) == []
    assert content_of(out) == GOOD
    times = {one: one.stat().st_mtime_ns for one in out.rglob("*")}
    assert unpack(path, out) == []
    assert {one: one.stat().st_mtime_ns for one in out.rglob("*")} == times
    (out / "b.txt").write_bytes(b"y" * 1000)
    assert unpack(path, out) == []
    assert content_of(out) == GOOD


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../x", "leads out of the zip"),
        ("a/../../x", "leads out of the zip"),
        ("/x", "is an absolute path"),
        ("C:/x", "no plain path"),
        ("a\\..\\x", "no plain path"),
        ("a//x", "no plain path"),
        ("./x", "no plain path"),
        ("B.TXT", "is repeated"),
    ],
)
def test_names_that_lead_astray_are_left_out(tmp_path: Path, name: str, reason: str) -> None:
    path = make_zip(tmp_path / "a.zip", {**GOOD, name: b"evil"})
    out = tmp_path / "deep" / "out"
    lines = unpack(path, out)
    assert len(lines) == 1
    assert lines[0].startswith("a.zip: member ")
    assert reason in lines[0]
    assert content_of(out) == GOOD
    assert set(content_of(tmp_path)) == {"a.zip"} | {f"deep/out/{one}" for one in GOOD}


def test_links_and_devices_are_left_out(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", GOOD)
    with zipfile.ZipFile(path, "a") as archive:
        for name, kind in (("link", stat.S_IFLNK), ("device", stat.S_IFCHR)):
            one = zipfile.ZipInfo(name)
            one.external_attr = (kind | 0o777) << 16
            archive.writestr(one, b"/etc/passwd")
    lines = unpack(path, tmp_path / "out")
    assert [line.split(";")[0] for line in lines] == [
        "a.zip: member 'link' is a link or a device",
        "a.zip: member 'device' is a link or a device",
    ]
    assert content_of(tmp_path / "out") == GOOD


def test_a_bomb_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crosstype.fetch.archive.SMALL_BYTES", 10_000)
    path = make_zip(tmp_path / "a.zip", {**GOOD, "bomb": bytes(1_000_000)})
    lines = unpack(path, tmp_path / "out")
    assert len(lines) == 1
    assert "member 'bomb' grows to 1.0 MB (expected at most" in lines[0]
    assert content_of(tmp_path / "out") == GOOD


@pytest.mark.parametrize(("limit", "value"), [("MOST_MEMBERS", 2), ("MOST_BYTES", 100)])
def test_a_zip_over_the_limits_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    monkeypatch.setattr(f"crosstype.fetch.archive.{limit}", value)
    path = make_zip(tmp_path / "a.zip", GOOD)
    with pytest.raises(FetchError, match="nothing was unpacked"):
        unpack(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_damaged_member_is_one_line_and_no_file(tmp_path: Path) -> None:
    noise = random.Random(1).randbytes(5000)
    path = make_zip(tmp_path / "a.zip", {"noise": noise, **GOOD})
    data = bytearray(path.read_bytes())
    data[2000] ^= 0xFF
    path.write_bytes(data)
    lines = unpack(path, tmp_path / "out")
    assert len(lines) == 1
    assert lines[0].startswith("a.zip: member 'noise' is damaged")
    assert content_of(tmp_path / "out") == GOOD


@pytest.mark.parametrize("seed", range(30))
def test_a_zip_with_flipped_bits_gives_originals_or_nothing(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    path = make_zip(tmp_path / "a.zip", {"noise": rng.randbytes(300), **GOOD})
    with zipfile.ZipFile(path) as archive:
        originals = {archive.read(one) for one in archive.namelist()}
    data = bytearray(path.read_bytes())
    for _ in range(3):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)
    with contextlib.suppress(FetchError):
        unpack(path, tmp_path / "out")
    assert set(content_of(tmp_path / "out").values()) <= originals
    outside = {one.name for one in tmp_path.iterdir()}
    assert outside <= {"a.zip", "out"}


def test_no_zip_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(b"not a zip")
    with pytest.raises(FetchError, match=r"a\.zip: damaged zip"):
        members_of(path)


def test_an_encrypted_member_is_left_out(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", {"b.txt": b"secret"})
    data = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + offset] |= 1
    path.write_bytes(data)
    assert "is encrypted" in unpack(path, tmp_path / "out")[0]


def test_zips_of_tiles_are_recognised(tmp_path: Path) -> None:
    tiles = {f"T/S{i}/S{i}_({x},0).jpg": b"j" for i in (2, 1) for x in (0, 256)}
    path = make_zip(tmp_path / "a.zip", tiles)
    members = members_of(path)
    assert is_tile_zip(members)
    assert tile_slides_in(members) == ["S1", "S2"]
    assert bad_members(path, members) == {}
    assert not is_tile_zip(members_of(make_zip(tmp_path / "b.zip", {**tiles, **GOOD})))
    assert not is_tile_zip(members_of(make_zip(tmp_path / "c.zip", {"S1/S2_(0,0).jpg": b""})))


def test_a_member_that_lies_where_a_folder_is(tmp_path: Path) -> None:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("a/b", b"1")
        archive.writestr("a", b"2")
    (tmp_path / "a.zip").write_bytes(data.getvalue())
    lines = unpack(tmp_path / "a.zip", tmp_path / "out")
    assert len(lines) == 1
    assert "has the path of a folder" in lines[0]
