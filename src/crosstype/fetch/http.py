"""HTTP client for public servers: retries of transient errors, checked redirects."""

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
"""Statuses of transient errors, which are retried."""

MOST_REDIRECTS = 10
MOST_ANSWER_BYTES = 256 << 20


class BrokenOffError(FetchError):
    """A request failed transiently; `wait_s` is the wait requested by the server, or 0."""

    def __init__(self, message: str, wait_s: float = 0.0) -> None:
        """Store the message and the wait in seconds."""
        super().__init__(message)
        self.wait_s = wait_s


class RefusedError(FetchError):
    """A request failed permanently; `status` is the HTTP status."""

    def __init__(self, message: str, status: int = 0) -> None:
        """Store the message and the status."""
        super().__init__(message)
        self.status = status


class StoppedError(FetchError):
    """The download was stopped; partial files are kept."""


@dataclass(frozen=True)
class RetryPolicy:
    """Settings of retries.

    Attributes:
        n_tries: number of requests in a row that may fail without progress.
        first_wait_s: wait after the first failure, in seconds; doubled after each further one.
        longest_wait_s: upper limit of the wait.
        longest_requested_s: upper limit of the wait requested by a server (Retry-After).
        timeout_s: timeout of a connection, in seconds.
        sleep: function that waits.
    """

    n_tries: int = 5
    first_wait_s: float = 1.0
    longest_wait_s: float = 60.0
    longest_requested_s: float = 600.0
    timeout_s: float = 60.0
    sleep: Callable[[float], None] = time.sleep


RETRY_POLICY = RetryPolicy()


class Retries:
    """Exponential backoff with jitter over failures in a row."""

    def __init__(self, retry_policy: RetryPolicy) -> None:
        """Start without failures."""
        self._policy = retry_policy
        self._n_failed = 0

    def progressed(self) -> None:
        """Reset the count of failures after progress."""
        self._n_failed = 0

    def wait(self, fault: BrokenOffError) -> None:
        """Wait before the next try.

        Raises:
            FetchError: there were too many failures, or the server requests too long a wait.
        """
        self._n_failed += 1
        if self._n_failed >= self._policy.n_tries:
            raise FetchError(f"{fault}, {self._n_failed} times in a row") from fault
        if fault.wait_s > self._policy.longest_requested_s:
            raise FetchError(f"{fault}, and asks to wait {fault.wait_s:.0f} s") from fault
        longest = min(
            self._policy.first_wait_s * 2 ** (self._n_failed - 1), self._policy.longest_wait_s
        )
        # Jitter, so that workers do not retry all at once.
        backoff = longest * (0.5 + random.random() / 2)
        self._policy.sleep(max(backoff, fault.wait_s))


class Web:
    """Client of one server or a mirror of it."""

    def __init__(
        self,
        base: str,
        manual_instructions: str,
        retry_policy: RetryPolicy | None = None,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        """Set up the client, without a request.

        Args:
            base: base URL. Plain http is used only if it is plain http.
            manual_instructions: instructions for a manual download, for messages.
            retry_policy: settings of retries; None: the default.
            transport: of requests; None: the network.
        """
        self.base = base.rstrip("/")
        self.manual_instructions = manual_instructions
        self.retry_policy = retry_policy or RETRY_POLICY
        self._is_plain = self.base.startswith("http://")
        self._client = httpx2.Client(
            headers={
                "User-Agent": f"crosstype/{__version__}",
                "Accept-Encoding": "identity",  # offsets of ranges count the bytes that are sent
            },
            timeout=self.retry_policy.timeout_s,
            transport=transport,
        )

    def __enter__(self) -> Self:
        """Return the client."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connections."""
        self._client.close()

    def get_json(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Request a path and return its JSON.

        Args:
            path: starts with a slash; may have a query.
            body: sent as JSON with POST; None: GET.

        Raises:
            FetchError: no connection, a refusal, or no JSON, after retries.
        """
        address = self.base + path
        retries = Retries(self.retry_policy)
        try:
            while True:
                try:
                    return self._get_once(address, body)
                except BrokenOffError as fault:
                    retries.wait(fault)
        except FetchError as fault:
            raise FetchError(f"{fault}. {self.manual_instructions}") from fault

    def other_shape(self, path: str, whose: str) -> FetchError:
        """Return the fault of an answer that is not as documented."""
        found = f"the answer is not what {whose} API documents"
        return FetchError(f"{self.base}{path}: {found}. {self.manual_instructions}")

    def _get_once(self, address: str, body: Mapping[str, Any] | None) -> Any:
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
        """Yield the streamed response to one request, after redirects.

        Raises:
            BrokenOffError: no connection, interrupted or too slow; or a transient status.
            RefusedError: any other status than 200 and 206, or a redirect from https to http.
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
        """Send a request and follow redirects, each checked."""
        url = self._checked(address, address)
        for _ in range(MOST_REDIRECTS):
            if self._client.is_closed:  # interrupted, while a worker still retries
                raise StoppedError(f"{address}: stopped")
            method = "GET" if body is None else "POST"
            request = self._client.build_request(method, url, headers=headers, json=body)
            response = self._client.send(request, stream=True)
            if not response.has_redirect_location:
                return response
            response.close()
            target = response.headers["Location"]
            try:
                url = self._checked(address, str(url.join(target)))
            except httpx2.InvalidURL:
                raise RefusedError(f"{address}: leads to {target!r}, no address") from None
            if body is not None and response.status_code not in (307, 308):
                # Following it would turn POST into GET and drop the body.
                raise RefusedError(f"{address}: moved to {url}. Name it with --base")
        raise RefusedError(f"{address}: leads on through more than {MOST_REDIRECTS} redirects")

    def _checked(self, address: str, target: str) -> httpx2.URL:
        """Return the URL of a request; raise if it is invalid or unsafe."""
        try:
            url = httpx2.URL(target)
        except httpx2.InvalidURL as fault:
            raise RefusedError(f"{address}: no web address ({fault})") from None
        if url.scheme not in ("http", "https") or not url.host:
            raise RefusedError(f"{address}: leads to {target!r}, no web address")
        if url.scheme == "http" and not self._is_plain:
            raise RefusedError(f"{address}: leads to {target}, which is plain http and unsafe")
        return url


def _check_status(address: str, response: httpx2.Response) -> None:
    """Raise unless the status is 200 or 206."""
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
    """Return the seconds of a Retry-After header, given as seconds or as a date."""
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
