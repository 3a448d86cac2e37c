"""Who asks is who a proxy says it is, if that is a proxy of ours, and else whoever sent the request."""

from pathlib import Path

import httpx
import pytest

from tests.faults.service import Service, serving

FAILURES = 3
NO_DATABASE = "postgresql://shop@127.0.0.1:1/none"


async def tried(service: Service, number: int) -> int:
    """What is answered to a wrong key that comes with an address of its own making."""
    headers = {"X-API-Key": "wrong", "X-Forwarded-For": f"203.0.113.{number}"}
    answer: httpx.Response = await service.asking.get("/api/models", headers=headers)
    return answer.status_code


@pytest.mark.parametrize("proxies", ["10.1.2.3", "10.0.0.0/8,192.0.2.1"])
async def test_what_a_proxy_that_is_not_listed_says_is_not_believed(tmp_path: Path, proxies: str) -> None:
    """Whoever tries keys would choose another address for each."""
    limits = {"FORWARDED_ALLOW_IPS": proxies, "FAILED_KEYS_PER_MINUTE": str(FAILURES)}
    async with serving(tmp_path, "--no-worker", DATABASE_URL=NO_DATABASE, **limits) as service:
        assert [await tried(service, number) for number in range(5)] == [401] * FAILURES + [429] * 2


@pytest.mark.parametrize("proxies", ["127.0.0.1", "127.0.0.0/8,192.0.2.1"])
async def test_what_a_proxy_that_is_listed_says_is_believed(tmp_path: Path, proxies: str) -> None:
    limits = {"FORWARDED_ALLOW_IPS": proxies, "FAILED_KEYS_PER_MINUTE": str(FAILURES)}
    async with serving(tmp_path, "--no-worker", DATABASE_URL=NO_DATABASE, **limits) as service:
        assert [await tried(service, number) for number in range(5)] == [401] * 5
        assert [await tried(service, 0) for _ in range(FAILURES)] == [401] * (FAILURES - 1) + [429]
