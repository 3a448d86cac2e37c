"""`worker`, and the worker in `serve`, as people run them."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.cli.test_serve import asked, database_stopped, free_port, printed_until_up, run, running

PATIENCE_SECONDS = 180
KEYS = {"API_KEY": "agent-1", "ADMIN_KEY": "boss-1"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a small shop that has no segments yet."""
    folder = tmp_path_factory.mktemp("working")
    loaded = run(folder, "sample", "--customers", "150")
    assert loaded.returncode == 0, loaded.stderr
    return folder


def posted(address: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    headers = {"X-API-Key": "boss-1", "Content-Type": "application/json"}
    request = Request(address, data=json.dumps(body).encode(), headers=headers, method="POST")  # noqa: S310
    try:
        with urlopen(request, timeout=30) as answer:  # noqa: S310
            return answer.status, json.load(answer)
    except HTTPError as error:
        return error.code, json.load(error)


def test_of_two_services_asked_at_once_one_begins_the_discovery_and_both_answer_meanwhile(folder: Path) -> None:
    ports = free_port(), free_port()
    with (
        running(folder, "serve", PORT=str(ports[0]), **KEYS) as working,
        running(folder, "serve", "--no-worker", PORT=str(ports[1]), **KEYS) as serving,
    ):
        printed_until_up(working)
        printed_until_up(serving)
        addresses = [f"http://127.0.0.1:{port}" for port in ports]
        with ThreadPoolExecutor() as threads:
            answers = threads.map(lambda address: posted(f"{address}/api/admin/cluster", {"max_k": 2}), addresses)
        (accepted, run_), (refused, problem) = sorted(answers, key=lambda answer: answer[0])
        assert (accepted, refused) == (202, 409)
        assert f"run {run_['run_id']}" in problem["detail"]
        deadline = time.monotonic() + PATIENCE_SECONDS
        seen = set()
        while not seen & {"published", "failed"} and time.monotonic() < deadline:
            for address in addresses:
                code, told = asked(f"{address}{run_['status_url']}", "boss-1")
                assert code == 200
                seen.add(json.loads(told)["status"])
                assert asked(f"{address}/health", "agent-1")[0] == 200
            time.sleep(0.1)
        assert {"running", "published"} <= seen <= {"queued", "running", "published"}
        for address in addresses:  # both serve it, at once
            assert (
                json.loads(asked(f"{address}/api/admin/cluster/status", "boss-1")[1])["served"]["run_id"]
                == run_["run_id"]
            )
        for process in (serving, working):
            process.terminate()
            assert process.wait(timeout=60) == 0
    assert database_stopped(folder)


def test_a_worker_by_itself_works_until_it_is_told_to_stop(folder: Path) -> None:
    with running(folder, "worker") as worker:
        printed_until_up(worker)
        worker.terminate()
        assert worker.wait(timeout=60) == 0
    assert database_stopped(folder)
