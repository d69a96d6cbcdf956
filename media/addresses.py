"""Which network addresses may be fetched from: public ones, by whatever spelling."""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Callable, Sequence

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolver = Callable[[str, int], Sequence[str]]
"""Host and port to IP addresses, as text. Raises `socket.gaierror`."""

# IPv6 ranges that carry an IPv4 address, and the bits that it lies above: what it leads to is what must be public.
_CARRIERS = (
    (ipaddress.IPv6Network("64:ff9b::/96"), 0),  # NAT64, RFC 6052
    (ipaddress.IPv6Network("64:ff9b:1::/48"), 0),  # local NAT64, RFC 8215
    (ipaddress.IPv6Network("2002::/16"), 80),  # 6to4, RFC 3056
    (ipaddress.IPv6Network("::/96"), 0),  # IPv4-compatible, RFC 4291
)
_TEREDO = ipaddress.IPv6Network("2001::/32")


def is_public(address: str) -> bool:
    """Whether an address, given as text, is one that anybody on the internet may reach."""
    try:
        parsed: Address = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return _is_public(parsed)


def _is_public(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return _is_public(address.ipv4_mapped)
        if address in _TEREDO or address.is_site_local:
            return False
        for network, shift in _CARRIERS:
            if address in network:
                return _is_public(ipaddress.IPv4Address(int(address) >> shift & 0xFFFFFFFF))
    return address.is_global and not (
        address.is_multicast or address.is_reserved or address.is_private or address.is_unspecified
    )


def resolve(host: str, port: int) -> Sequence[str]:
    """The system's resolver."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def resolve_within(resolver: Resolver, host: str, port: int, seconds: float) -> Sequence[str]:
    """Resolve, but wait no longer than this: the system's resolver knows no deadline.

    Raises:
        TimeoutError: it took longer.
        OSError: what the resolver raised.
    """
    answer: list[Sequence[str]] = []
    failure: list[OSError] = []

    def ask() -> None:
        try:
            answer.append(resolver(host, port))
        except OSError as error:
            failure.append(error)
        except UnicodeError:
            failure.append(socket.gaierror(socket.EAI_NONAME, "no valid host name"))

    thread = threading.Thread(target=ask, daemon=True, name="resolve")
    thread.start()
    thread.join(seconds)
    if failure:
        raise failure[0]
    if not answer:
        raise TimeoutError("the name was not resolved in time")
    return answer[0]
