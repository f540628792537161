"""Asking a public server: patient with faults that pass, one clear line about those that stay."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Self

import httpx2

from crosstype import __version__
from crosstype.errors import FetchError

PASSING = frozenset({408, 429, 500, 502, 503, 504})
"""Statuses of a server that is busy or stumbling: worth asking again."""

MOST_REDIRECTS = 10
MOST_ANSWER_BYTES = 256 << 20


class BrokenOffError(FetchError):
    """A request failed in a way that may pass; `wait_s` is what the server asks to wait, or 0."""

    def __init__(self, message: str, wait_s: float = 0.0) -> None:
        """Keep the message and the wait in seconds."""
        super().__init__(message)
        self.wait_s = wait_s


class RefusedError(FetchError):
    """The server answered, and asking again would give the same; `status` is its HTTP status."""

    def __init__(self, message: str, status: int = 0) -> None:
        """Keep the message and the status."""
        super().__init__(message)
        self.status = status


class StoppedError(FetchError):
    """Someone asked to stop; what came is kept."""


@dataclass(frozen=True)
class Patience:
    """How often a server is asked again, and how long is waited in between.

    Attributes:
        n_tries: requests in a row that may fail without one new byte.
        first_wait_s: wait after the first failure, in seconds; doubled after each further one.
        longest_wait_s: no wait of ours is longer.
        longest_asked_s: a server that asks (Retry-After) for more is given up.
        timeout_s: silence of a connection, in seconds, that counts as a failure.
        sleep: waits; tests put something quicker here.
    """

    n_tries: int = 5
    first_wait_s: float = 1.0
    longest_wait_s: float = 60.0
    longest_asked_s: float = 600.0
    timeout_s: float = 60.0
    sleep: Callable[[float], None] = time.sleep


PATIENCE = Patience()


class Tries:
    """Counts failures in a row and waits between them, longer each time and never in step."""

    def __init__(self, patience: Patience) -> None:
        """Begin without a failure."""
        self._patience = patience
        self._n_failed = 0

    def progressed(self) -> None:
        """Forget the failures: something new arrived."""
        self._n_failed = 0

    def wait(self, fault: BrokenOffError) -> None:
        """Wait before the next try.

        Raises:
            FetchError: there were enough tries, or the server asks for too long a wait.
        """
        self._n_failed += 1
        if self._n_failed >= self._patience.n_tries:
            raise FetchError(f"{fault}, {self._n_failed} times in a row") from fault
        if fault.wait_s > self._patience.longest_asked_s:
            raise FetchError(f"{fault}, and asks to wait {fault.wait_s:.0f} s") from fault
        longest = min(
            self._patience.first_wait_s * 2 ** (self._n_failed - 1), self._patience.longest_wait_s
        )
        # Half of it is chance, so that many workers do not come back all at once.
        own = longest * (0.5 + random.random() / 2)
        self._patience.sleep(max(own, fault.wait_s))


class Web:
    """One server, or a mirror of it."""

    def __init__(
        self,
        base: str,
        by_hand: str,
        patience: Patience | None = None,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        """Get ready; nothing is asked yet.

        Args:
            base: address under which everything is asked for. Unless it is plain http itself,
                nothing is fetched over plain http.
            by_hand: a sentence that says how to do without this program.
            patience: how often to ask again; None: the usual.
            transport: what carries the requests; None: the network.
        """
        self.base = base.rstrip("/")
        self.by_hand = by_hand
        self.patience = patience or PATIENCE
        self._is_plain = self.base.startswith("http://")
        self._client = httpx2.Client(
            headers={
                "User-Agent": f"crosstype/{__version__}",
                "Accept-Encoding": "identity",  # offsets of ranges count the bytes that are sent
            },
            timeout=self.patience.timeout_s,
            transport=transport,
        )

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connections."""
        self._client.close()

    def ask(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Return the JSON that the server gives for a path under its base.

        Args:
            path: begins with a slash; may hold a query.
            body: sent as JSON with POST; None: GET.

        Raises:
            FetchError: no connection, a refusal, or no JSON, also after several tries.
        """
        address = self.base + path
        tries = Tries(self.patience)
        try:
            while True:
                try:
                    return self._ask_once(address, body)
                except BrokenOffError as fault:
                    tries.wait(fault)
        except FetchError as fault:
            raise FetchError(f"{fault}. {self.by_hand}") from fault

    def _ask_once(self, address: str, body: Mapping[str, Any] | None) -> Any:
        data = bytearray()
        with self.open(address, body=body) as response:
            for chunk in response.iter_bytes():
                data += chunk
                if len(data) > MOST_ANSWER_BYTES:
                    raise RefusedError(f"{address}: the answer has no end")
        try:
            return json.loads(data)
        except ValueError:
            shown = bytes(data[:60]).decode("utf-8", "replace")
            raise BrokenOffError(f"{address}: answered {shown!r}, which is no JSON") from None

    @contextmanager
    def open(
        self,
        address: str,
        headers: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> Iterator[httpx2.Response]:
        """Give the answer to one request, redirects followed, its content still to be read.

        Raises:
            BrokenOffError: no connection, cut or too slow; or the server is busy or stumbled.
            RefusedError: any other status than 200 and 206, or plain http behind https.
        """
        response = None
        try:
            response = self._follow(address, headers, body)
            _check_status(address, response)
            yield response
        except (httpx2.TransportError, httpx2.DecodingError) as fault:
            found = f"{type(fault).__name__}: {fault}".rstrip(": ")
            raise BrokenOffError(f"{address}: no connection, or it broke off ({found})") from fault
        finally:
            if response is not None:
                response.close()

    def _follow(
        self, address: str, headers: Mapping[str, str] | None, body: Mapping[str, Any] | None
    ) -> httpx2.Response:
        """Send a request and follow redirects, each of them checked."""
        place = self._checked(address, address)
        for _ in range(MOST_REDIRECTS):
            if self._client.is_closed:  # by an interruption, while a worker still tries
                raise StoppedError(f"{address}: stopped")
            method = "GET" if body is None else "POST"
            request = self._client.build_request(method, place, headers=headers, json=body)
            response = self._client.send(request, stream=True)
            if not response.has_redirect_location:
                return response
            response.close()
            target = response.headers["Location"]
            try:
                place = self._checked(address, str(place.join(target)))
            except httpx2.InvalidURL:
                raise RefusedError(f"{address}: leads to {target!r}, no address") from None
            if body is not None and response.status_code not in (307, 308):
                # A browser would drop the query, and the answer would be to another question.
                raise RefusedError(f"{address}: moved to {place}. Name it with --base")
        raise RefusedError(f"{address}: leads on through more than {MOST_REDIRECTS} redirects")

    def _checked(self, address: str, place: str) -> httpx2.URL:
        """Return where a request goes; raise if it is no web address, or unsafe."""
        try:
            url = httpx2.URL(place)
        except httpx2.InvalidURL as fault:
            raise RefusedError(f"{address}: no web address ({fault})") from None
        if url.scheme not in ("http", "https") or not url.host:
            raise RefusedError(f"{address}: leads to {place!r}, no web address")
        if url.scheme == "http" and not self._is_plain:
            raise RefusedError(f"{address}: leads to {place}, which is plain http and unsafe")
        return url


def _check_status(address: str, response: httpx2.Response) -> None:
    """Raise unless the answer brings what was asked for."""
    status = response.status_code
    if status in (200, 206):
        return
    found = f"{address}: the server answers {status} {response.reason_phrase}".rstrip()
    if status in PASSING:
        raise BrokenOffError(found, _asked_wait_s(response.headers.get("Retry-After", "")))
    if response.headers.get("x-amzn-waf-action"):
        found += " (its firewall lets no programs in)"
    raise RefusedError(found, status)


def _asked_wait_s(text: str) -> float:
    """Return the seconds that a Retry-After header asks for, given as seconds or as a date."""
    text = text.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return max(0.0, (until - datetime.now(UTC)).total_seconds())
