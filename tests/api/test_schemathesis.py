"""Schemathesis over every route of the API's description: whatever it allows is answered as it says, and nothing else
is accepted.

All checks there are, with requests that are valid and requests that are not, one by one and in a row, told from the
description alone. The same requests are made each time; SCHEMATHESIS_EXAMPLES=1000 makes more of them, by chance.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.core.config import Settings
from app.warehouse.engine import Database
from tests.api.conftest import KEYS, serving

HOOKS = Path(__file__).with_name("schemathesis_hooks.py")
MORE = os.environ.get("SCHEMATHESIS_EXAMPLES")
#: Requests that are made up for each route, beside those at the limits of its parameters, of which there are some 50.
EXAMPLES = MORE or "10"

CONFIGURATION = f"""
hooks = "{HOOKS}"
[generation]
deterministic = {"false" if MORE else "true"}
database = "none"
[cache]
enabled = false
"""


@pytest.fixture(scope="module")
def address(database: Database, settings: Settings, spare_shop: str) -> Iterator[str]:
    with serving(database, settings, spare_shop) as address:
        yield address


@pytest.mark.parametrize("scope", ["admin", "analytics"])
def test_every_route_does_what_its_description_says(address: str, tmp_path: Path, scope: str) -> None:
    """Once as identities are seen, and once as they are not."""
    configuration = tmp_path / "schemathesis.toml"
    configuration.write_text(CONFIGURATION)
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(configuration), "run"),
        *(f"{address}/openapi.json", "--header", f"X-API-Key: {key_for(address, scope)}"),
        *("--checks", "all", "--max-examples", EXAMPLES, "--continue-on-failure", "--no-color"),
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    described = httpx.get(f"{address}/openapi.json").json()["paths"].values()
    assert f"Tested: {sum(len(operations) for operations in described)}\n" in done.stdout


def key_for(address: str, scope: str) -> str:
    if scope == "admin":
        return KEYS["admin"]
    asked = {"scopes": [scope], "expires_in_days": 1}
    answer = httpx.post(f"{address}/api/admin/keys", json=asked, headers={"X-API-Key": KEYS["admin"]})
    return str(answer.json()["key"])
