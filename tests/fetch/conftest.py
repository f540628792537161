"""A server on this machine that speaks figshare's and the GDC's documented shapes, and stumbles."""

from __future__ import annotations

import hashlib
import json
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from crosstype.cli.app import main
from crosstype.fetch.http import RetryPolicy, Web

TIMEOUT_S = 0.4
STATUSES = {"403": 403, "404": 404, "416": 416, "500": 500, "502": 502, "503": 503, "504": 504}


class Quiet(ThreadingHTTPServer):
    """Clients that leave in the middle are what is tested: nothing is printed about them."""

    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing."""


@dataclass
class Server:
    """Content by path, and the faults that the next requests of a path meet.

    Faults of a path are used up one by one; `always` ones are not. `log` holds
    (method, path, Range header) of every request.
    """

    content: dict[str, bytes] = field(default_factory=dict)
    answers: dict[str, Callable[[dict[str, Any]], Any]] = field(default_factory=dict)
    faults: dict[str, list[str]] = field(default_factory=dict)
    always: dict[str, str] = field(default_factory=dict)
    log: list[tuple[str, str, str]] = field(default_factory=list)
    base: str = ""
    release: threading.Event = field(default_factory=threading.Event)

    def fault_of(self, path: str) -> str:
        waiting = self.faults.get(path)
        return waiting.pop(0) if waiting else self.always.get(path, "")

    def n_asked(self, path: str) -> int:
        return sum(one[1] == path for one in self.log)

    def serve_figshare(self, article: int, files: Mapping[str, bytes], **odd: Any) -> None:
        """Serve an article as `GET /v2/articles/{id}` and `.../files?page=&page_size=` do."""
        listed = []
        for number, (name, data) in enumerate(files.items(), 1001):
            self.content[f"/files/{number}"] = data
            listed.append(
                {
                    "id": number,
                    "name": name,
                    "size": len(data),
                    "is_link_only": False,
                    "download_url": f"{self.base}/files/{number}",
                    "supplied_md5": md5(data),
                    "computed_md5": md5(data),
                    "mimetype": "application/octet-stream",
                    **odd.get(name.split(".")[0], {}),
                }
            )
        about = {
            "id": article,
            "title": "An  article",
            "doi": f"10.6084/m9.figshare.{article}.v1",
            "license": {
                "value": 1,
                "name": "CC BY 4.0",
                "url": "https://creativecommons.org/licenses/by/4.0/",
            },
            "files": listed[:10],
        }

        def page(query: dict[str, Any]) -> Any:
            size, number = int(query["page_size"]), int(query["page"])
            return listed[size * (number - 1) : size * number]

        self.answers[f"/v2/articles/{article}"] = lambda _: about
        self.answers[f"/v2/articles/{article}/files"] = page

    def serve_gdc(
        self, files: Sequence[dict[str, Any]], cases: Sequence[dict[str, Any]] = ()
    ) -> None:
        """Serve `POST /files` and `POST /cases` with filters, sort and pages."""
        self.answers["/files"] = lambda query: hits_of(query, files)
        self.answers["/cases"] = lambda query: hits_of(query, cases)


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


def values_at(record: Any, path: Sequence[str]) -> list[Any]:
    """Return all values under a dotted field, lists searched through, as the GDC's index does."""
    if isinstance(record, list):
        return [value for one in record for value in values_at(one, path)]
    if not path:
        return [record]
    return values_at(record[path[0]], path[1:]) if path[0] in record else []


def hits_of(query: dict[str, Any], records: Sequence[dict[str, Any]]) -> Any:
    """Answer a query as the GDC documents it: data.hits, data.pagination, warnings."""
    assert query["filters"]["op"] == "and"
    found = list(records)
    for term in query["filters"]["content"]:
        assert term["op"] == "in"
        path = term["content"]["field"].split(".")
        wanted = set(term["content"]["value"])
        found = [one for one in found if wanted & set(values_at(one, path))]
    key, _, order = query["sort"].partition(":")
    assert order == "asc"
    found.sort(key=lambda one: one[key])
    start, size = query["from"], query["size"]
    hits = found[start : start + size]
    return {
        "data": {
            "hits": [{"id": one[key], **one} for one in hits],
            "pagination": {
                "count": len(hits),
                "total": len(found),
                "size": size,
                "from": start,
                "sort": query["sort"],
                "page": start // size + 1,
                "pages": -(-len(found) // size),
            },
        },
        "warnings": {},
    }


class Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    protocol_version = "HTTP/1.1"
    server_of_test: Server

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
        self.answer(parts.path, query)

    def do_POST(self) -> None:
        assert self.headers["Content-Type"] == "application/json"
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(self.path, json.loads(body))

    def answer(self, path: str, query: dict[str, Any]) -> None:
        test = self.server_of_test
        test.log.append((self.command, path, self.headers.get("Range", "")))
        fault = test.fault_of(path)
        if self.stumble(path, fault):
            return
        if path in test.answers:
            data = json.dumps(test.answers[path](query)).encode()
            self.send(200, data[: len(data) // 2] if fault == "junk" else data)
        elif path in test.content:
            self.send_file(test.content[path], fault)
        else:
            self.send(404, b"")

    def stumble(self, path: str, fault: str) -> bool:
        """Answer with a fault that brings no content at all; return whether it was one."""
        if fault in STATUSES:
            self.send(STATUSES[fault], b"")
        elif fault.startswith("429"):
            self.send(429, b"slow down", {"Retry-After": fault[3:].strip() or "7"})
        elif fault == "waf":
            self.send(202, b"", {"x-amzn-waf-action": "challenge"})
        elif fault == "redirect":
            content = self.server_of_test.content  # there before the answer: clients are quick
            content[f"/moved{path}"] = content.get(path, b"")
            self.send(302, b"", {"Location": f"/moved{path}"})
        elif fault.startswith("to "):
            self.send(302, b"", {"Location": fault[3:]})
        elif fault == "stall":
            time.sleep(2 * TIMEOUT_S)
            self.close_connection = True
        elif fault == "hang up":
            self.close_connection = True
        else:
            return False
        return True

    def send_file(self, data: bytes, fault: str) -> None:
        """Send a file or the requested range of it."""
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(match[1]) if match and "no range" not in fault else 0
        if start and start >= len(data):
            self.send(416, b"", {"Content-Range": f"bytes */{len(data)}"})
            return
        body = data[start:]
        if fault == "wrong":
            body = body[:-1] + bytes([body[-1] ^ 1])
        elif fault == "longer":
            body += b"surplus"
        elif fault == "short":
            body = body[: len(body) // 2]
        headers = {}
        if fault == "hold":
            self.hold(body)
            return
        if start:
            first = start + (fault == "bad range")
            headers["Content-Range"] = f"bytes {first}-{len(data) - 1}/{len(data)}"
        self.send(206 if start else 200, body, headers, cut="cut" in fault)

    def hold(self, body: bytes) -> None:
        """Send half of a file and then nothing until the test continues."""
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2])
        self.wfile.flush()
        self.server_of_test.release.wait(60)
        self.close_connection = True

    def send(
        self,
        status: int,
        body: bytes,
        headers: Mapping[str, str] | None = None,
        *,
        cut: bool = False,
    ) -> None:
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: (len(body) + 1) // 2] if cut else body)
        if cut:
            self.close_connection = True


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server on this machine; proxies of the environment are not used for it."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    one = Server()
    handler = type("Bound", (Handler,), {"server_of_test": one})
    with Quiet(("127.0.0.1", 0), handler) as listening:
        one.base = f"http://127.0.0.1:{listening.server_address[1]}"
        thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
        thread.start()
        yield one
        listening.shutdown()
        thread.join()


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Nobody waits in a test: the waits are noted here."""
    noted: list[float] = []
    quick = RetryPolicy(n_tries=4, timeout_s=TIMEOUT_S, sleep=noted.append)
    monkeypatch.setattr("crosstype.fetch.http.RETRY_POLICY", quick)
    return noted


@pytest.fixture
def web(server: Server, waits: list[float]) -> Iterator[Web]:
    """The server as fetch sees it."""
    with Web(server.base, "By hand: do it.") as one:
        yield one


@pytest.fixture
def call(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], waits: list[float]
) -> Callable[..., tuple[int, str, str]]:
    """Call the command line in this process; return exit code, output and errors."""
    monkeypatch.setattr("sys.excepthook", sys.excepthook)

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["crosstype", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
        said = capsys.readouterr()
        return int(str(left.value.code or 0)), said.out, said.err

    return run


def left_overs(folder: Path) -> list[str]:
    """Return names of files that are neither finished nor ours to keep."""
    return sorted(one.name for one in folder.rglob("*") if one.name.endswith((".tmp", ".arrived")))
