"""Whether a host is this machine or on its own network: what we call by its address must not be made to call those."""

from ipaddress import IPv4Address, IPv6Address, ip_address

_INNER_NAMES = (".localhost", ".internal", ".local")


def is_loopback(host: str) -> bool:
    address = _address(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def is_inside(host: str) -> bool:
    """As far as it can be told of a name without asking for its address; of an address it can."""
    address = _address(host)
    return host == "localhost" or host.endswith(_INNER_NAMES) or (address is not None and not address.is_global)


def _address(host: str) -> IPv4Address | IPv6Address | None:
    """None of a name."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
