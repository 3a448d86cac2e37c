"""Asks every route once and says what came back: a first look at a running service.

    python scripts/quick_test_mcp.py --url http://127.0.0.1:8080 --key KEY
    python scripts/quick_test_mcp.py                  # serves a made-up shop of 300 customers itself, and forgets it

Needs a key of scope support. Changes nothing but one customer's score, which is worked out anew. Exit code 1 where a
route does not answer as it should.
"""

import argparse
import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import Request, urlopen

_TIMEOUT_SECONDS = 30
_ROOT = "/api/mcp"
_PROJECT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: Any
    milliseconds: float


class Service:
    """A running service, asked with one key."""

    def __init__(self, url: str, key: str) -> None:
        self._url, self._key = url.rstrip("/"), key

    def ask(self, method: str, path: str, *, key: bool = True) -> Answer:
        if not self._url.startswith(("http://", "https://")):
            raise ValueError(f"{self._url} is no address; write it as http://127.0.0.1:8080")
        headers = {"X-API-Key": self._key} if key else {}
        began = time.perf_counter()
        try:
            with urlopen(  # noqa: S310  the scheme was checked above
                Request(self._url + path, method=method, headers=headers),  # noqa: S310
                timeout=_TIMEOUT_SECONDS,
            ) as answer:
                status, text = answer.status, answer.read()
        except HTTPError as error:
            status, text = error.code, error.read()
        return Answer(status, json.loads(text), 1000 * (time.perf_counter() - began))


def look(service: Service, say: Callable[[str], None]) -> bool:
    """Ask every route; returns whether all answered as they should."""
    well = True

    def ask(method: str, path: str, tell: Callable[[Any], str], *, wanted: int = 200, key: bool = True) -> Any:
        nonlocal well
        answer = service.ask(method, path, key=key)
        right = answer.status == wanted
        well = well and right
        told = tell(answer.body) if right else json.dumps(answer.body)[:200]
        say(f"{'ok ' if right else 'BAD'} {answer.status} {answer.milliseconds:6.1f} ms  {method:4} {path}  {told}")
        return answer.body if right else {}

    ask("GET", "/health/live", lambda body: body["status"], key=False)
    ask("GET", "/health", lambda body: f"{body['status']}, {body['data_status']['customers_loaded']:,} customers")
    ask("GET", f"{_ROOT}/customer/random", lambda body: body["title"], wanted=401, key=False)

    someone = ask("GET", f"{_ROOT}/customer/random", lambda body: f"{body['customer_id']}, {body['ltv_tier']}")
    customer = quote(someone.get("customer_id", "nobody"), safe="")
    ask("GET", f"{_ROOT}/customer/{customer}", lambda body: body["interpretation"][:60])
    ask("GET", f"{_ROOT}/customer/{customer}/orders?limit=2", lambda body: f"{body['total_orders']} orders")
    ask("POST", f"{_ROOT}/customer/{customer}/refresh", lambda body: f"as of {body['as_of']}")
    ask("GET", f"{_ROOT}/customers/{customer}", lambda body: f"worth {body['ltv']:,.2f}")
    ask("GET", f"{_ROOT}/customers/search?query={customer}&limit=3", lambda body: f"{body['count']} found")
    ask("GET", f"{_ROOT}/customer/nobody-of-that-id", lambda body: body["title"], wanted=404)

    top = ask("GET", f"{_ROOT}/archetypes/top?limit=3", lambda body: f"{body['total_archetypes']} archetypes")
    archetype = next((each["archetype_id"] for each in top.get("archetypes", [])), "none")
    ask("GET", f"{_ROOT}/archetypes/{archetype}", lambda body: body["segment_name"])
    ask("GET", f"{_ROOT}/archetypes/{archetype}/members?limit=2", lambda body: f"{len(body['members'])} members")
    ask("GET", f"{_ROOT}/segments", lambda body: f"{len(body['segments'])} segments")
    ask("GET", f"{_ROOT}/segments/axes", lambda body: f"{len(body['axes'])} axes")
    ask("GET", f"{_ROOT}/segments/axes/purchase_value", lambda body: f"{len(body['segments'])} segments")
    ask("GET", f"{_ROOT}/archetypes/top?limit=0", lambda body: body["detail"][:60], wanted=422)
    return well


@contextmanager
def made_up_service() -> Iterator[Service]:
    """A shop of 300 customers in a scratch folder, segmented and served on a free port until the block ends."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    key = secrets.token_hex(24)
    with tempfile.TemporaryDirectory() as folder:
        settings = {"DATA_DIR": folder, "ENV": "development", "API_KEY": key, "PORT": str(port)}
        settings |= {"DEMO_CUSTOMERS": "300", "DATABASE_URL": "", "LOG_LEVEL": "WARNING"}
        process = subprocess.Popen([sys.executable, "-m", "app", "demo"], env=os.environ | settings, cwd=_PROJECT)
        try:
            _wait_until_served(process, port)
            yield Service(f"http://127.0.0.1:{port}", key)
        finally:
            process.terminate()
            process.wait(_TIMEOUT_SECONDS)


def _wait_until_served(process: "subprocess.Popen[bytes]", port: int) -> None:
    until = time.monotonic() + 120
    while time.monotonic() < until and process.poll() is None:
        with suppress(OSError), urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=1) as answer:
            if answer.status == 200:
                return
        time.sleep(0.2)
    raise TimeoutError("the scratch service did not come up")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", help="address of a running service")
    parser.add_argument("--key", help="a key of scope support")
    wanted = parser.parse_args()
    if bool(wanted.url) != bool(wanted.key):
        parser.error("--url and --key belong together")
    try:
        if wanted.url:
            well = look(Service(wanted.url, wanted.key), print)
        else:
            with made_up_service() as service:
                well = look(service, print)
    except (URLError, TimeoutError) as error:
        print(f"{wanted.url} does not answer: {error}", file=sys.stderr)
        return 1
    print("Every route answered as it should." if well else "Some routes did not answer as they should.")
    return 0 if well else 1


if __name__ == "__main__":
    raise SystemExit(main())
