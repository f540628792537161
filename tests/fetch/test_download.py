"""One file and many: whatever a server does, a finished file is the original or is not there."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest

from crosstype.cli.progress_bars import Bars
from crosstype.errors import FetchError
from crosstype.fetch import download as crew
from crosstype.fetch.download import RemoteFile, checked_name, download, download_all, format_bytes
from crosstype.fetch.http import RETRY_POLICY, RetryPolicy, Web
from crosstype.progress import NoProgress

from .conftest import Server, md5

DATA = random.Random(5).randbytes(300_000)


class Notes(NoProgress):
    """Records progress."""

    def __init__(self) -> None:
        self.started: tuple[int, int] = (0, 0)
        self.pieces: list[str] = []
        self.notes: list[str] = []

    def start(self, stage: str, total: int, done: int = 0) -> None:
        assert stage == "fetch"
        self.started = (total, done)

    def step(self, piece: str) -> None:
        self.pieces.append(piece)

    def note(self, text: str) -> None:
        self.notes.append(text)


def wanted_at(server: Server, folder: Path, data: bytes = DATA, name: str = "a.bin") -> RemoteFile:
    server.content[f"/{name}"] = data
    return RemoteFile(folder / name, (f"{server.base}/{name}",), len(data), md5(data))


def get(web: Web, wanted: RemoteFile) -> int:
    """Download and return the sum of the bytes that were counted."""
    counted: list[int] = []
    download(web, wanted, counted.append)
    return sum(counted)


def test_a_file_arrives_whole(server: Server, web: Web, tmp_path: Path) -> None:
    wanted = wanted_at(server, tmp_path)
    assert get(web, wanted) == len(DATA)
    assert wanted.path.read_bytes() == DATA
    assert wanted.is_there
    assert [one.name for one in tmp_path.iterdir()] == ["a.bin"]


def test_an_empty_file_arrives(server: Server, web: Web, tmp_path: Path) -> None:
    wanted = wanted_at(server, tmp_path, b"")
    assert get(web, wanted) == 0
    assert wanted.path.read_bytes() == b""


@pytest.mark.parametrize(
    "faults",
    [
        ["500", "502", "503"],
        ["504", "hang up", "stall"],
        ["cut"] * 12,
        ["cut", "no range"],
        ["cut", "bad range"],
        ["cut", "416"],
        ["cut", "no range, cut", "cut", "500", "no range, cut"],
        ["wrong"],
        ["cut", "wrong"],
        ["short"],
        ["longer"],
        ["redirect"],
        ["cut", "redirect"],
    ],
)
def test_faults_that_pass(
    server: Server, web: Web, waits: list[float], tmp_path: Path, faults: list[str]
) -> None:
    wanted = wanted_at(server, tmp_path)
    server.faults["/a.bin"] = faults.copy()
    assert get(web, wanted) == len(DATA)
    assert wanted.path.read_bytes() == DATA
    assert not server.faults["/a.bin"]
    assert not wanted.part.exists()


def test_a_cut_download_goes_on_where_it_broke_off(
    server: Server, web: Web, tmp_path: Path
) -> None:
    wanted = wanted_at(server, tmp_path)
    server.faults["/a.bin"] = ["cut"]
    get(web, wanted)
    assert [one[2] for one in server.log] == ["", f"bytes={len(DATA) // 2}-"]


def test_a_second_program_goes_on_with_the_part(server: Server, web: Web, tmp_path: Path) -> None:
    wanted = wanted_at(server, tmp_path)
    wanted.part.write_bytes(DATA[:1234])
    assert get(web, wanted) == len(DATA)
    assert server.log[0][2] == "bytes=1234-"
    assert wanted.path.read_bytes() == DATA


@pytest.mark.parametrize("part", [b"x" * 1000, b"x" * len(DATA), b"x" * (len(DATA) + 1)])
def test_a_part_of_another_file_is_thrown_away(
    server: Server, web: Web, tmp_path: Path, part: bytes
) -> None:
    wanted = wanted_at(server, tmp_path)
    wanted.part.write_bytes(part)
    assert get(web, wanted) == len(DATA)
    assert wanted.path.read_bytes() == DATA


def test_waits_grow_and_are_never_in_step(
    server: Server, web: Web, waits: list[float], tmp_path: Path
) -> None:
    wanted = wanted_at(server, tmp_path)
    server.faults["/a.bin"] = ["503", "503", "503"]
    get(web, wanted)
    for number, wait in enumerate(waits):
        assert 2**number / 2 <= wait <= 2**number
    assert len(waits) == 3


def test_retry_after_is_honoured(
    server: Server, web: Web, waits: list[float], tmp_path: Path
) -> None:
    wanted = wanted_at(server, tmp_path)
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    server.faults["/a.bin"] = ["429 11", f"429 {date}", "429 soon"]
    get(web, wanted)
    assert waits[0] == 11
    assert 60 < waits[1] <= 90
    assert waits[2] < 11


def test_a_requested_wait_of_hours_is_an_error(server: Server, web: Web, tmp_path: Path) -> None:
    wanted = wanted_at(server, tmp_path)
    server.faults["/a.bin"] = ["429 7200"]
    with pytest.raises(FetchError, match=r"a\.bin: .* 429 .*asks to wait 7200 s\. By hand: do it"):
        get(web, wanted)
    assert server.n_asked("/a.bin") == 1


@pytest.mark.parametrize(
    ("fault", "said", "n_asked"),
    [
        ("wrong", "twice, expected", 2),
        ("500", "500 Internal Server Error, 4 times in a row", 4),
        ("stall", "ReadTimeout", 4),
        ("hang up", "broke off", 4),
        ("403", "403 Forbidden", 1),
        ("404", "404 Not Found", 1),
        ("waf", "firewall lets no programs in", 1),
        ("short", "has no more than 299991 bytes, expected 300000", None),
    ],
)
def test_faults_that_stay_are_one_line_and_no_file(
    server: Server, web: Web, tmp_path: Path, fault: str, said: str, n_asked: int | None
) -> None:
    wanted = wanted_at(server, tmp_path)
    server.always["/a.bin"] = fault
    if fault == "short":  # the file is shorter than announced
        server.content["/a.bin"] = DATA[:-9]
        server.always["/a.bin"] = ""
    with pytest.raises(FetchError) as caught:
        get(web, wanted)
    line = str(caught.value)
    assert line.startswith("a.bin: ")
    assert said in line
    assert "\n" not in line
    assert not wanted.path.exists()
    assert n_asked in (None, server.n_asked("/a.bin"))


def test_a_refusal_has_its_meaning(server: Server, web: Web, tmp_path: Path) -> None:
    server.always["/a.bin"] = "403"
    one = RemoteFile(
        tmp_path / "a.bin", (f"{server.base}/a.bin",), 1, "0" * 32, {403: "Controlled."}
    )
    with pytest.raises(FetchError, match=r"403 Forbidden\. Controlled\.$"):
        get(web, one)


def test_the_next_address_is_tried_where_one_refuses(
    server: Server, web: Web, tmp_path: Path
) -> None:
    server.content["/b.bin"] = DATA
    server.always["/a.bin"] = "waf"
    addresses = (f"{server.base}/a.bin", f"{server.base}/b.bin")
    one = RemoteFile(tmp_path / "a.bin", addresses, len(DATA), md5(DATA))
    get(web, one)
    assert one.path.read_bytes() == DATA


def test_without_checksum_nothing_is_resumed(server: Server, web: Web, tmp_path: Path) -> None:
    server.content["/a.bin"] = DATA
    server.faults["/a.bin"] = ["cut", "cut"]
    one = RemoteFile(tmp_path / "a.bin", (f"{server.base}/a.bin",))
    one.part.write_bytes(b"of yesterday")
    assert get(web, one) == len(DATA)
    assert one.path.read_bytes() == DATA
    assert {entry[2] for entry in server.log} == {""}


def test_a_file_without_end_is_cut_short(
    server: Server, web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crosstype.fetch.download.MOST_UNSTATED_BYTES", 1000)
    server.content["/a.bin"] = DATA
    one = RemoteFile(tmp_path / "a.bin", (f"{server.base}/a.bin",))
    with pytest.raises(FetchError, match="more than 1,000 bytes"):
        get(web, one)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "name", ["", "../x", "a/b", "a\\b", ".x", "..", "C:x", "a\0", "a\nb", " a"]
)
def test_names_that_are_no_plain_names(name: str) -> None:
    with pytest.raises(FetchError, match="not a plain file name"):
        checked_name(name)


def refused(base: str, location: str, status: int = 302, body: Any = None) -> str:
    """Follow one redirect from a base that a stand-in for the network plays."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.url.path == "/x":
            return httpx2.Response(status, headers={"Location": location})
        assert bool(request.read()) == bool(body)
        return httpx2.Response(200, stream=httpx2.ByteStream(b"{}"))

    with Web(base, "By hand: do it.", transport=httpx2.MockTransport(answer)) as web:
        try:
            return str(web.get_json("/x", body))
        except FetchError as fault:
            return str(fault)


def test_redirects_stay_safe() -> None:
    assert refused("https://a.org", "https://b.org/y") == "{}"
    assert refused("https://a.org", "/y") == "{}"
    assert refused("http://a.org", "https://b.org/y") == "{}"
    assert refused("http://a.org", "http://b.org/y") == "{}"
    assert "plain http and unsafe" in refused("https://a.org", "http://b.org/y")
    assert "no web address" in refused("https://a.org", "file:///etc/passwd")
    assert "no address" in refused("https://a.org", "https://a.org:port/")
    assert "more than 10 redirects" in refused("https://a.org", "/x")
    assert "no web address" in refused("ftp://a.org", "/y")
    assert "no web address" in refused("nonsense", "/y")


def test_a_query_that_moved_is_sent_whole_or_not_at_all() -> None:
    assert refused("https://a.org", "/y", 307, {"q": 1}) == "{}"
    assert refused("https://a.org", "/y", 308, {"q": 1}) == "{}"
    for status in (301, 302, 303):
        line = refused("https://a.org", "/y", status, {"q": 1})
        assert "moved to https://a.org/y. Name it with --base" in line


def test_no_connection_names_the_address(waits: list[float]) -> None:
    with Web("http://127.0.0.1:9", "By hand: do it.") as web, pytest.raises(FetchError) as caught:
        web.get_json("/articles/1")
    line = str(caught.value)
    assert line.startswith("http://127.0.0.1:9/articles/1: no connection")
    assert "4 times in a row" in line
    assert line.endswith("By hand: do it.")
    assert len(waits) == 3


def test_malformed_json_is_requested_again_then_an_error(server: Server, web: Web) -> None:
    server.answers["/list"] = lambda _: {"key": "value"}
    server.faults["/list"] = ["junk", "500"]
    assert web.get_json("/list") == {"key": "value"}
    server.always["/list"] = "junk"
    with pytest.raises(FetchError, match="which is no JSON"):
        web.get_json("/list")


def test_the_usual_patience_is_patient() -> None:
    assert RetryPolicy() == RETRY_POLICY
    assert RETRY_POLICY.n_tries >= 3
    assert RETRY_POLICY.longest_wait_s <= 60


def many(server: Server, folder: Path, n: int = 7) -> tuple[list[RemoteFile], list[bytes]]:
    rng = random.Random(n)
    datas = [rng.randbytes(rng.randint(1, 20_000)) for _ in range(n)]
    return [
        wanted_at(server, folder, data, f"{number}.bin") for number, data in enumerate(datas)
    ], datas


def test_many_files_and_a_second_run_requests_nothing(
    server: Server, web: Web, tmp_path: Path
) -> None:
    wanted, datas = many(server, tmp_path)
    progress = Notes()
    assert download_all(web, wanted, tmp_path, progress, 3) == []
    assert [one.path.read_bytes() for one in wanted] == datas
    assert progress.started == (7, 0)
    assert sorted(progress.pieces) == [one.path.name for one in wanted]
    assert progress.notes[0].endswith(f" of {format_bytes(sum(map(len, datas)))}")
    server.log.clear()
    progress = Notes()
    assert download_all(web, wanted, tmp_path, progress, 3) == []
    assert progress.started == (7, 7)
    (tmp_path / crew.MEMORY).write_text("damaged")
    assert download_all(web, wanted, tmp_path, Notes(), 3) == []
    assert not server.log


def test_a_file_that_was_changed_is_fetched_again(server: Server, web: Web, tmp_path: Path) -> None:
    wanted, datas = many(server, tmp_path)
    download_all(web, wanted, tmp_path, NoProgress())
    wanted[2].path.write_bytes(b"?" * len(datas[2]))
    server.log.clear()
    assert download_all(web, wanted, tmp_path, NoProgress()) == []
    assert wanted[2].path.read_bytes() == datas[2]
    assert [one[1] for one in server.log] == ["/2.bin"]


@pytest.mark.parametrize("seed", range(12))
def test_files_are_the_originals_or_absent_whatever_happens(
    server: Server, web: Web, tmp_path: Path, seed: int
) -> None:
    rng = random.Random(seed)
    wanted, datas = many(server, tmp_path, 9)
    kinds = ["403", "404", "416", "500", "503", "429", "waf", "redirect", "hang up"]
    kinds += ["cut", "no range", "no range, cut", "bad range", "wrong", "short", "longer", ""]
    for number in range(len(wanted)):
        server.faults[f"/{number}.bin"] = rng.choices(kinds, k=rng.randint(0, 9))
    for _ in range(3):
        faults = download_all(web, wanted, tmp_path, NoProgress(), rng.randint(1, 5))
        said = {line.partition(":")[0] for line in faults}
        for one, data in zip(wanted, datas, strict=True):
            if one.path.exists():
                assert one.path.read_bytes() == data
                assert one.path.name not in said
            else:
                assert one.path.name in said
    server.faults.clear()
    assert download_all(web, wanted, tmp_path, NoProgress()) == []
    assert [one.path.read_bytes() for one in wanted] == datas
    assert not list(tmp_path.glob("*.part"))


def test_two_files_of_one_name(server: Server, web: Web, tmp_path: Path) -> None:
    twice = [wanted_at(server, tmp_path, name=name) for name in ("a.bin", "A.bin")]
    with pytest.raises(FetchError, match="two files of this name"):
        download_all(web, twice, tmp_path, NoProgress())


def test_a_disk_without_room_is_an_error_before_any_request(
    server: Server, web: Web, tmp_path: Path
) -> None:
    one = RemoteFile(tmp_path / "a.bin", (f"{server.base}/a.bin",), 10**18, "0" * 32)
    with pytest.raises(FetchError, match=r"has room for .* but 1000000\.0 TB are missing"):
        download_all(web, [one], tmp_path, NoProgress())
    assert not server.log


def test_a_disk_that_fills_up_stops_with_one_line_and_keeps_the_parts(
    server: Server, web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, datas = many(server, tmp_path)
    real = os.fsync

    def full(number: int) -> None:
        if Path(f"/proc/self/fd/{number}").readlink().name == "3.bin.part":
            raise OSError(errno.ENOSPC, "No space left on device")
        real(number)

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(FetchError, match=r"3\.bin: No space left on device\. Stopped; free space"):
        download_all(web, wanted, tmp_path, NoProgress(), 1)
    assert (tmp_path / "3.bin.part").read_bytes() == datas[3]
    assert not (tmp_path / "3.bin").exists()
    monkeypatch.setattr("os.fsync", real)
    assert download_all(web, wanted, tmp_path, NoProgress()) == []
    assert [one.path.read_bytes() for one in wanted] == datas


def test_an_interruption_keeps_the_parts_and_what_is_finished(
    server: Server, web: Web, tmp_path: Path
) -> None:
    wanted, datas = many(server, tmp_path)
    server.faults["/1.bin"] = ["cut", "500", "500", "500", "500"]

    class Impatient(Notes):
        def step(self, piece: str) -> None:
            super().step(piece)
            if len(self.pieces) == 3:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download_all(web, wanted, tmp_path, Impatient(), 1)
    assert wanted[0].path.read_bytes() == datas[0]
    n_half = (len(datas[1]) + 1) // 2
    assert wanted[1].part.read_bytes() == datas[1][:n_half]
    server.log.clear()
    assert download_all(web, wanted, tmp_path, NoProgress()) == []
    assert [one.path.read_bytes() for one in wanted] == datas
    asked: dict[str, Any] = {one[1]: one[2] for one in server.log}
    assert "/0.bin" not in asked
    assert asked["/1.bin"] == f"bytes={n_half}-"


@pytest.mark.parametrize(
    ("n_bytes", "words"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 KB"),
        (1_234_567, "1.2 MB"),
        (2e15, "2000.0 TB"),
    ],
)
def test_bytes_in_words(n_bytes: float, words: str) -> None:
    assert format_bytes(int(n_bytes)) == words


def test_a_server_that_is_gone_is_given_up_after_some_files(
    server: Server, web: Web, tmp_path: Path
) -> None:
    wanted, _ = many(server, tmp_path, 40)
    for number in range(2, 40):
        server.always[f"/{number}.bin"] = "404"
    faults = download_all(web, wanted, tmp_path, NoProgress(), 1)
    assert len(faults) == 26
    assert faults[-1].startswith("25 files in a row failed, so the 13 after them")


def test_a_folder_that_cannot_be_written_is_one_line(
    server: Server, web: Web, tmp_path: Path
) -> None:
    one = wanted_at(server, tmp_path)
    (tmp_path / "a.bin.part").mkdir()
    with pytest.raises(FetchError, match=r"a\.bin: .*irectory.*\. Stopped; correct this"):
        download_all(web, [one], tmp_path, NoProgress())


def test_two_programs_do_not_fetch_into_one_folder(
    server: Server, web: Web, tmp_path: Path
) -> None:
    one = wanted_at(server, tmp_path)

    class Second(Notes):
        def step(self, piece: str) -> None:
            with pytest.raises(FetchError, match="another crosstype fetch is at work"):
                download_all(web, [one], tmp_path, NoProgress())

    assert download_all(web, [one], tmp_path, Second()) == []
    assert download_all(web, [one], tmp_path, NoProgress()) == []


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_program_that_is_stopped_leaves_a_part_from_which_the_next_goes_on(
    server: Server, web: Web, tmp_path: Path, how: signal.Signals
) -> None:
    server.serve_figshare(7, {"a.bin": DATA})
    server.faults["/files/1001"] = ["hold"]
    command = [sys.executable, "-c", "from crosstype.cli.app import main; main()", "fetch"]
    command += ["figshare", "--article", "7", "--out", str(tmp_path), "--base", f"{server.base}/v2"]
    part = tmp_path / "a.bin.part"
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        until = time.monotonic() + 60
        while time.monotonic() < until and not (part.exists() and part.stat().st_size):
            time.sleep(0.01)
        process.send_signal(how)
        _, err = process.communicate(timeout=30)
    server.release.set()
    assert process.returncode == (130 if how == signal.SIGINT else -how)
    assert "Traceback" not in err
    assert ("the same command resumes" in err) == (how == signal.SIGINT)
    n_bytes = part.stat().st_size
    assert part.read_bytes() == DATA[:n_bytes]
    assert not (tmp_path / "a.bin").exists()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "a.bin").read_bytes() == DATA
    assert server.log[-1][2] == f"bytes={n_bytes}-"


def test_the_bar_shows_bytes_on_a_terminal_only(capsys: pytest.CaptureFixture[str]) -> None:
    with Bars() as bars:
        bars.note("nothing began")
        bars.start("fetch", 1)
        bars.note("1.0 MB of 2.0 MB")
        bars.step("a.bin")
    assert capsys.readouterr().err == "fetch 1/1: a.bin\n"
