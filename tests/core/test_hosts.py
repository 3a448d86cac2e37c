"""What is called inside: this machine and its own network."""

import pytest

from app.core.hosts import is_inside, is_loopback

INSIDE = (
    *("localhost", "app.localhost", "db.internal", "printer.local", "127.0.0.1", "127.8.0.1", "::1"),
    *("10.0.0.7", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "fd00::1", "fe80::1", "fe80::1%eth0"),
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1"),
    *("0.0.0.0", "::"),  # noqa: S104
)


@pytest.mark.parametrize("host", INSIDE)
def test_this_machine_and_its_network_are_inside(host: str) -> None:
    assert is_inside(host)


@pytest.mark.parametrize("host", ["8.8.8.8", "2606:4700::1", "::ffff:8.8.8.8"])
def test_what_is_elsewhere_is_not(host: str) -> None:
    assert not is_inside(host)


@pytest.mark.parametrize(
    "host", ["hooks.slack.com", "127.0.0.1.nip.io", "127.1", "2130706433", "0x7f.1", "localhost.", ""]
)
def test_what_is_a_name_is_not_wherever_it_leads(host: str) -> None:
    """What is no address as such is looked up, and where it leads to is seen when it is called (app/jobs/slack.py)."""
    assert not is_inside(host)


def test_only_this_machine_is_loopback() -> None:
    assert {host for host in INSIDE if is_loopback(host)} == {
        *("localhost", "127.0.0.1", "127.8.0.1", "::1", "::ffff:127.0.0.1")
    }
