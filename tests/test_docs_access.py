"""What the documentation says of keys, errors, the audit log and jobs is what the code does."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.core import problems
from app.core.config import Environment, Settings
from app.core.errors import AppError
from app.core.keys import Scope
from app.main import create_app
from app.warehouse.jobs import Job
from tests.core.test_problems import WHERE, every_error

ROOT = Path(__file__).resolve().parents[1]
API = (ROOT / "docs" / "API_DOCUMENTATION.md").read_text()
AUTHENTICATION = (ROOT / "docs" / "AUTHENTICATION.md").read_text()
#: Met on the command line or in a job's `failure`, never over HTTP; and those that only gather others.
NOT_OVER_HTTP = {
    *("unreadable-file", "wrong-columns", "rows-rejected", "not-enough-customers", "not-enough-history"),
    *("prediction-in-progress", "run-ended", "run-overtaken", "outdated-predictions"),
    *(
        "configuration-error",
        "port-in-use",
        "no-room-for-metrics",
        "alert-refused",
        "alert-not-told",
        "embedded-database-error",
    ),
    *("backup-too-new", "database-not-empty", "store-busy"),
    *("invalid-input", "not-found", "conflict", "unavailable"),
}
#: What HTTP itself has a word for.
OF_HTTP = (400, 404, 405, 408, 413, 415, 431, 500)


def route_rows() -> list[str]:
    """A row of Markdown for each route that needs a key: which scopes it lets in."""
    app = create_app(Settings(_env_file=None, env=Environment.development))
    rows = []
    for path, operations in app.openapi()["paths"].items():
        for method, operation in operations.items():
            if needed := {*operation["x-scopes"]}:
                cells = [" x |" if scope in needed | {Scope.admin} else " |" for scope in Scope]
                rows.append(f"| `{method.upper()} {path}` |{''.join(cells)}")
    return rows


def test_the_table_of_routes_and_scopes_is_what_is_checked() -> None:
    head = f"| route | {' | '.join(Scope)} |\n| {' | '.join(['---'] * (len(Scope) + 1))} |\n"
    table = AUTHENTICATION.partition(head)[2].partition("\n\n")[0]
    assert table.splitlines() == route_rows(), "\n".join(route_rows())


def documented_problems() -> dict[str, int]:
    rows = re.findall(r"^\| (\d{3}) \| (`[^|]+`) \| [^|]+ \|$", API.partition("\n## Errors\n")[2], flags=re.MULTILINE)
    return {slug: int(status) for status, slugs in rows for slug in re.findall(r"`([a-z-]+)`", slugs)}


def test_every_type_of_problem_is_told_with_its_status() -> None:
    ours = {error.slug(): error.status for error in every_error() if error.slug() not in NOT_OVER_HTTP}
    plain = [problems.plain_problem(status, **WHERE) for status in OF_HTTP]
    assert documented_problems() == ours | {each.type.removeprefix("/problems/"): each.status for each in plain}


def test_what_is_never_told_over_http_exists_all_the_same() -> None:
    assert {error.slug() for error in every_error()} >= NOT_OVER_HTTP
    assert AppError.slug() not in documented_problems()


def noted_actions() -> Iterator[str]:
    """What the code notes in the audit log: `audit.read(caller, action, ...)`, `noted(caller, action, ...)`."""
    for path in sorted((ROOT / "app").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and len(node.args) > 1:
                what = ast.unparse(node.func)
                if what.endswith("audit.read") or what in ("noted", "_noted"):
                    action = node.args[1]
                    if isinstance(action, ast.Constant):
                        yield action.value


def test_every_action_of_the_audit_log_is_told() -> None:
    rows = re.findall(r"^\| (`[^|]+`) \|", API.partition("| action | when |")[2].partition("\n\n")[0], re.MULTILINE)
    assert sorted(re.findall(r"`([a-z_.]+)`", " ".join(rows))) == sorted(set(noted_actions()))


def test_every_job_is_told() -> None:
    table = API.partition("| job | what it does | when |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == set(Job)


@pytest.mark.parametrize("page", [API, AUTHENTICATION], ids=["API_DOCUMENTATION", "AUTHENTICATION"])
def test_limits_are_told_as_they_are_set(page: str) -> None:
    for name in ("rate_limit_per_minute", "failed_keys_per_minute"):
        most = Settings.model_fields[name].default
        assert re.search(rf"`{name.upper()}` times[^(]*\({most:,}\)", page), name
