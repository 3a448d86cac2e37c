"""Redis dies, stands still or forgets under a service that is being asked, and nobody who asks can tell."""

import asyncio
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from tests.cli.test_serve import asked, free_port, printed_until_up, run, running
from tests.faults.conftest import Keeping
from tests.faults.proxy import Mode
from tests.redis_server import RedisServer

KEYS = {"API_KEY": "an-agents-key", "ADMIN_KEY": "an-admins-key"}
PATHS = ("/api/mcp/customer/C0000001", "/api/mcp/archetypes/top", "/api/mcp/segments", "/api/analytics/cohorts")
#: What Redis may cost a question that it does not answer, and what a busy machine may add. Who is waited for in vain
#: costs ten seconds: app/cache.py.
PATIENCE_SECONDS, SLACK_SECONDS = 0.1, 1.0
SECONDS = 20


@dataclass(frozen=True)
class Service:
    address: str
    redis: RedisServer
    pid: int

    def told(self, path: str, key: str = KEYS["API_KEY"]) -> tuple[int, str]:
        return asked(f"{self.address}{path}", key)

    def cache(self) -> str:
        """Where answers are kept, as the service itself says."""
        status, text = self.told("/health")
        assert status == 200
        health = json.loads(text)
        assert (health["status"] == "degraded") == (health["cache"] == "degraded")
        return str(health["cache"])

    def until(self, state: str) -> None:
        end = time.monotonic() + SECONDS
        while self.cache() != state:
            assert time.monotonic() < end, f"the cache is not {state}"
            time.sleep(0.05)

    def asked_of_redis(self) -> int:
        """How many questions have asked Redis, whatever they had from it."""
        status, text = self.told("/metrics", KEYS["ADMIN_KEY"])
        assert status == 200
        return sum(int(float(n)) for n in re.findall(r'^ci_cache_requests_total{cache="redis",.*} (\S+)$', text, re.M))

    def nothing_kept(self) -> None:
        """As after a change: everything is to be worked out anew, and Redis to be asked."""
        status, _ = asked_by_post(f"{self.address}/api/admin/cache/flush", KEYS["ADMIN_KEY"])
        assert status == 200


def asked_by_post(address: str, key: str) -> tuple[int, str]:
    with urlopen(Request(address, headers={"X-API-Key": key}, method="POST"), timeout=10) as answer:  # noqa: S310
        return answer.status, answer.read().decode()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The built-in shop, a small one, segmented and served, with a Redis of its own."""
    folder = tmp_path_factory.mktemp("redis")
    for command in (("sample", "--customers", "300"), ("segment", "--min-population", "100")):
        done = run(folder, *command)
        assert done.returncode == 0, done.stderr
    with RedisServer() as redis:
        port = free_port()
        settings = {"PORT": str(port), "REDIS_URL": redis.url, "RATE_LIMIT_PER_MINUTE": "0", **KEYS}
        settings["ENABLE_PROMETHEUS_METRICS"] = "true"
        with running(Path(folder), "serve", "--no-worker", **settings) as process:
            printed_until_up(process)
            served = Service(f"http://127.0.0.1:{port}", redis, process.pid)
            served.until("redis")
            yield served
            assert process.poll() is None  # the same process, all the time
            process.terminate()  # killed, it would leave its database running
            assert process.wait(timeout=60) == 0


@dataclass
class Traffic:
    """What those who ask all the time were told."""

    told: dict[str, set[str]] = field(default_factory=dict)
    statuses: set[int] = field(default_factory=set)
    n: int = 0


@contextmanager
def traffic(service: Service) -> Iterator[Traffic]:
    found, stop, lock = Traffic(), threading.Event(), threading.Lock()

    def ask(path: str) -> None:
        while not stop.is_set():
            status, text = service.told(path)
            with lock:
                found.statuses.add(status)
                found.told.setdefault(path, set()).add(text)
                found.n += 1

    threads = [threading.Thread(target=ask, args=(path,)) for path in PATHS]
    for thread in threads:
        thread.start()
    try:
        yield found
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def asked_some_more(found: Traffic, n: int = 40) -> None:
    end, before = time.monotonic() + SECONDS, found.n
    while found.n < before + n:
        assert time.monotonic() < end, "nothing is answered any more"
        time.sleep(0.02)


def until_kept_there(service: Service) -> None:
    """Until an answer is kept in Redis. What a change is to be forgotten by may come a moment after an answer did."""
    end = time.monotonic() + SECONDS
    with service.redis.client() as client:
        while not client.keys("ci:*/api/*"):
            assert time.monotonic() < end, "Redis is not used again"
            service.nothing_kept()
            time.sleep(0.3)


def assert_nobody_could_tell(found: Traffic) -> None:
    assert found.statuses == {200}
    assert {path: len(told) for path, told in found.told.items()} == dict.fromkeys(PATHS, 1)


def test_killed_in_the_midst_it_costs_no_error_and_is_used_again_when_it_is_back(service: Service) -> None:
    service.until("redis")
    with traffic(service) as found:
        asked_some_more(found)
        service.redis.kill()
        try:
            service.nothing_kept()
            asked_some_more(found)
            service.until("degraded")
            asked_some_more(found)
        finally:
            service.redis.start()
        service.until("redis")
        until_kept_there(service)
    assert_nobody_could_tell(found)


def test_standing_still_it_costs_a_tenth_of_a_second_once(service: Service) -> None:
    service.until("redis")
    service.nothing_kept()
    alone = {path: timed(service, path) for path in PATHS}
    service.redis.stand_still()
    try:
        before = service.asked_of_redis()
        service.nothing_kept()
        for path in PATHS:
            assert timed(service, path) < PATIENCE_SECONDS + alone[path] + SLACK_SECONDS
        service.until("degraded")
        with traffic(service) as found:
            for _ in range(3):
                service.nothing_kept()
                asked_some_more(found)
        assert_nobody_could_tell(found)
        assert service.asked_of_redis() - before <= 1
    finally:
        service.redis.go_on()
    service.until("redis")


@pytest.mark.parametrize(
    ("path", "status"),
    [("/api/mcp/archetypes/top?limit=0", 422), ("/api/mcp/archetypes/arch_000000", 404)],
)
def test_what_is_refused_is_refused_again_at_once(service: Service, path: str, status: int) -> None:
    service.until("redis")
    for _ in range(2):
        began = time.monotonic()
        assert service.told(path)[0] == status
        assert time.monotonic() - began < 5  # ten, where it waits for what it was to be told by another


async def test_far_away_it_costs_no_question_more_than_its_patience(keeping: Keeping) -> None:
    """Told of a change, looked into, told of eras, looked into again, locked, written to, unlocked: seven at most."""
    service = keeping.service
    paths = PATHS[1:]
    right = {path: (await service.asking.get(path)).text for path in paths}
    for seconds_late in (0.03, 0.08):  # there and back: within its patience, and beyond it
        keeping.proxy.fail(Mode.latency, by=seconds_late)
        for _ in range(5):
            assert (await service.asking.post("/api/admin/cache/flush")).status_code == 200
            for _ in range(2):
                for path, (answer, seconds) in zip(
                    paths, await asyncio.gather(*(service.timed(path) for path in paths)), strict=True
                ):
                    assert (answer.status_code, answer.text) == (200, right[path])
                    assert seconds < 7 * PATIENCE_SECONDS + SLACK_SECONDS
        keeping.proxy.fail(Mode.open)
        await keeping.until("redis")


def timed(service: Service, path: str) -> float:
    began = time.monotonic()
    assert service.told(path)[0] == 200
    return time.monotonic() - began
