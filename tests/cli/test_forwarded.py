"""Who asks is who a proxy says it is, if that is a proxy of ours, and else whoever sent the request."""

import asyncio
import time
from pathlib import Path

import httpx

from tests.faults.service import Service, serving

FAILURES = 3
#: Far more than a few requests take.
SOME_SECONDS = 15
NO_DATABASE = "postgresql://shop@127.0.0.1:1/none"


async def tried(service: Service, number: int) -> int:
    """What is answered to a wrong key that comes with an address of its own making."""
    headers = {"X-API-Key": "wrong", "X-Forwarded-For": f"203.0.113.{number}"}
    answer: httpx.Response = await service.asking.get("/api/models", headers=headers)
    return answer.status_code


async def within_a_minute() -> None:
    """Until enough of this minute is left for what follows: what is counted is counted anew with the next."""
    left = 60 - time.time() % 60
    if left < SOME_SECONDS:
        await asyncio.sleep(left)


async def test_what_a_proxy_that_is_not_listed_says_is_not_believed(tmp_path: Path) -> None:
    """Whoever tries keys would choose another address for each."""
    limits = {"FORWARDED_ALLOW_IPS": "10.0.0.0/8,192.0.2.1", "FAILED_KEYS_PER_MINUTE": str(FAILURES)}
    async with serving(tmp_path, "--no-worker", DATABASE_URL=NO_DATABASE, **limits) as service:
        await within_a_minute()
        assert [await tried(service, number) for number in range(5)] == [401] * FAILURES + [429] * 2


async def test_what_a_proxy_that_is_listed_says_is_believed(tmp_path: Path) -> None:
    limits = {"FORWARDED_ALLOW_IPS": "127.0.0.0/8,192.0.2.1", "FAILED_KEYS_PER_MINUTE": str(FAILURES)}
    async with serving(tmp_path, "--no-worker", DATABASE_URL=NO_DATABASE, **limits) as service:
        await within_a_minute()
        assert [await tried(service, number) for number in range(5)] == [401] * 5
        assert [await tried(service, 0) for _ in range(FAILURES)] == [401] * (FAILURES - 1) + [429]
