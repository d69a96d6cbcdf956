"""Download over HTTPS, from public addresses only.

The name is resolved here, every address it has is checked, and the connection goes to the checked address itself, so a
name that answers differently the second time (DNS rebinding) gains nothing. Each redirect is checked the same way.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpcore
import httpx

from media.addresses import is_public, resolve_within
from media.fetch_policy import Budget, FetchPolicy, FetchUnavailable
from media.types import MediaError

MAX_REDIRECTS = 3
CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 20.0
"""Longest silence of a server."""
PORTS = frozenset({80, 443, 8080, 8443})
"""Ports that may be named: others are other services, that a request could be made to speak to."""
_LATER = frozenset({408, 409, 423, 425, 429, 500, 502, 503, 504})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


def download(uri: str, policy: FetchPolicy, budget: Budget) -> Iterator[bytes]:
    """The body of `uri`, in chunks, as the server sent it.

    Raises:
        MediaError, FetchUnavailable: see `media.fetch.fetch`.
    """
    try:
        url = httpx.URL(uri)
    except (httpx.InvalidURL, ValueError):
        raise MediaError("unsupported", "the media URI is malformed") from None
    # No proxies and no credentials from the environment: the checked address is what is connected to.
    transport = _HurriedTransport(budget, verify=_trust(policy), trust_env=False, http2=False)
    with httpx.Client(transport=transport, follow_redirects=False, trust_env=False) as client:
        for _ in range(MAX_REDIRECTS + 1):
            with _unavailable(), _requested(client, url, policy, budget) as response:
                if response.status_code not in _REDIRECTS:
                    _check(response, budget)
                    for chunk in response.iter_raw():
                        budget.left_s()
                        yield chunk
                    return
                url = _redirected(url, response)
    raise MediaError("unsupported", f"it redirects more than {MAX_REDIRECTS} times")


class _HurriedStream(httpcore.NetworkStream):
    """A connection on which nothing waits longer than the budget lasts.

    A timeout of the library's counts from the last byte: a server that sends one now and then, in its headers say,
    would hold a thread for ever.
    """

    def __init__(self, stream: httpcore.NetworkStream, budget: Budget) -> None:
        self._stream = stream
        self._budget = budget

    def _within(self, timeout: float | None) -> float:
        left = self._budget.left_s()
        return left if timeout is None else min(timeout, left)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            return self._stream.read(max_bytes, self._within(timeout))
        except httpcore.ReadTimeout:
            self._budget.left_s()  # not a pause of the server's, but the end of its time
            raise

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._within(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _HurriedStream(self._stream.start_tls(ssl_context, server_hostname, self._within(timeout)), self._budget)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _HurriedBackend(httpcore.SyncBackend):
    def __init__(self, budget: Budget) -> None:
        self._budget = budget

    def connect_tcp(self, *args: Any, **options: Any) -> httpcore.NetworkStream:
        return _HurriedStream(super().connect_tcp(*args, **options), self._budget)


class _HurriedTransport(httpx.HTTPTransport):
    """httpx's transport on such connections: it has no public way to say so."""

    def __init__(self, budget: Budget, **options: Any) -> None:
        super().__init__(**options)
        self._pool._network_backend = _HurriedBackend(budget)


def _trust(policy: FetchPolicy) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(policy.ca_file)) if policy.ca_file else ssl.create_default_context()


@contextmanager
def _requested(client: httpx.Client, url: httpx.URL, policy: FetchPolicy, budget: Budget) -> Iterator[httpx.Response]:
    address = _checked_address(url, policy, budget)
    left = budget.left_s()
    # As ASCII: an international name is sent, and certified, in its encoded form.
    name = url.raw_host.decode("ascii")
    host = f"[{name}]" if ":" in name else name
    request = client.build_request(
        "GET",
        url.copy_with(host=address, username=None, password=None, fragment=None),
        # Without compression: the size cap is on what comes over the line, and a bomb would grow after it.
        headers={"Host": f"{host}:{url.port}" if url.port else host, "Accept-Encoding": "identity"},
        timeout=httpx.Timeout(min(READ_TIMEOUT_S, left), connect=min(CONNECT_TIMEOUT_S, left)),
        # The certificate must be the name's, though the connection goes to the address.
        extensions={"sni_hostname": name},
    )
    response = client.send(request, stream=True)
    try:
        yield response
    finally:
        response.close()


def _checked_address(url: httpx.URL, policy: FetchPolicy, budget: Budget) -> str:
    if url.scheme != "https" and not (url.scheme == "http" and policy.allow_http):
        raise MediaError("unsupported", f"{url.scheme}:// is not allowed here: use https://")
    if url.scheme == "https" and not policy.allow_https:
        raise MediaError("unsupported", "https:// is not allowed by the settings")
    port = url.port or (443 if url.scheme == "https" else 80)
    if port not in PORTS and not policy.allow_private:
        raise MediaError("unsupported", f"port {port} is not allowed: use 443")
    if not url.host:
        raise MediaError("unsupported", "the media URI names no host")
    addresses = _addresses(url.host, port, policy, budget)
    # One private address among them is reason enough: no honest host has both.
    if not policy.allow_private and not all(map(is_public, addresses)):
        raise MediaError("unsupported", "the host is not on the public internet")
    return addresses[0]


def _addresses(host: str, port: int, policy: FetchPolicy, budget: Budget) -> list[str]:
    try:
        return [str(ipaddress.ip_address(host))]
    except ValueError:
        pass
    try:
        found = list(resolve_within(policy.resolver, host, port, min(CONNECT_TIMEOUT_S, budget.left_s())))
    except socket.gaierror as error:
        if error.errno in {socket.EAI_NONAME, socket.EAI_NODATA}:
            raise MediaError("unsupported", "the host of the media URI does not exist") from None
        raise FetchUnavailable("the host's name cannot be resolved now") from error
    except OSError as error:
        raise FetchUnavailable("the host's name cannot be resolved now") from error
    if not found:
        raise MediaError("unsupported", "the host of the media URI does not exist")
    return found


def _check(response: httpx.Response, budget: Budget) -> None:
    status = response.status_code
    if status in _LATER:
        raise FetchUnavailable(f"the server answered {status}")
    if status in {404, 410}:
        raise MediaError("unsupported", f"there is no such file on the server ({status})")
    if status in {401, 403}:
        raise MediaError(
            "unsupported", f"the server refuses it ({status}): use a URI that needs no login, or a signed one"
        )
    if status != 200:
        raise MediaError("unsupported", f"the server answered {status}")
    if response.headers.get("content-encoding", "identity").strip().lower() not in {"", "identity"}:
        raise MediaError("unsupported", "the server compresses it though it was asked not to")
    length = response.headers.get("content-length", "")
    if length.isdigit():
        budget.check_size(int(length))


def _redirected(url: httpx.URL, response: httpx.Response) -> httpx.URL:
    try:
        return url.join(response.headers["location"])
    except (KeyError, httpx.InvalidURL, ValueError):
        raise MediaError("unsupported", "the server redirects to nowhere") from None


@contextmanager
def _unavailable() -> Iterator[None]:
    """Turn the transport's errors into ours."""
    try:
        yield
    except httpx.TransportError as error:
        if isinstance(error.__cause__, ssl.SSLCertVerificationError) or "CERTIFICATE_VERIFY_FAILED" in str(error):
            raise MediaError("unsupported", "the server's certificate is not valid") from None
        raise FetchUnavailable(f"the server did not answer: {type(error).__name__}") from error
    except httpx.InvalidURL:
        raise MediaError("unsupported", "the media URI is malformed") from None
