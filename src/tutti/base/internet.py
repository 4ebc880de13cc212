"""The public internet: its hosts and addresses. All code that connects for a client asks here."""

import asyncio
import ipaddress
import re
import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address

_NAME = re.compile(
    r"(?=.{1,253}\.?$)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z]([a-z0-9-]{0,61}[a-z0-9])?\.?"
)
_UNICAST = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")
_PROTOCOLS = ipaddress.IPv4Network("192.0.0.0/24")


def is_public(address: Address) -> bool:
    """Return True for addresses of the public internet (older Pythons' `is_global` has holes, closed
    here)."""
    if address.is_multicast or not address.is_global:
        return False
    return address not in _PROTOCOLS if isinstance(address, IPv4Address) else address in _UNICAST


def is_plain_host(host: str) -> bool:
    """Return True for a DNS name, or an address in its standard spelling: no octal, hexadecimal or short
    forms, no zones."""
    return literal(host) is not None or _NAME.fullmatch(host) is not None


def literal(host: str) -> Address | None:
    """Return the address that the host spells out; None for a name."""
    try:
        return None if "%" in host else ipaddress.ip_address(host)
    except ValueError:
        return None


async def resolve(host: str, port: int | None) -> Sequence[Address]:
    """Return the addresses of the host, at least one. Raises OSError and UnicodeError for an unknown name."""
    address = literal(host)
    if address is not None:
        return (address,)
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(ipaddress.ip_address(info[4][0]) for info in found))


def forms(address: Address) -> Sequence[Address]:
    """Return the addresses that packets to this one may end up at: IPv6 also carries IPv4 inside."""
    if isinstance(address, IPv4Address):
        return (address,)
    if address.ipv4_mapped is not None:
        return (address.ipv4_mapped,)
    if address in _NAT64:
        return (IPv4Address(int(address) & 0xFFFFFFFF),)
    return (address,) if address.sixtofour is None else (address, address.sixtofour)
