"""The page on logging tells every event there is, how grave it is and what it says."""

import ast
import functools
import json
import re
from collections.abc import Iterator
from pathlib import Path

from app.core.config import Settings
from tests.test_docs import blocks

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reference" / "STRUCTURED_LOGGING.md"
LEVELS = {"debug": "debug", "info": "info", "warning": "warning", "error": "error", "exception": "error"}

#: {event: its levels, and the facts that are named where it is said}
Events = dict[str, tuple[set[str], set[str]]]


def of_log(node: ast.expr) -> str | None:
    """The level of `log.info`; None for anything else."""
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "log":
        return LEVELS.get(node.attr)
    return None


def said_in(tree: ast.AST) -> Iterator[tuple[str, set[str], set[str]]]:
    """Event, levels and facts of each call of the log, also by a name that is one of its levels or another."""
    names = {
        target.id: {level for part in ast.walk(node.value) if (level := of_log(part))}  # type: ignore[arg-type]
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name) and isinstance(node.value, ast.IfExp)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not node.args or not isinstance(node.args[0], ast.Constant):
            continue
        level = of_log(node.func)
        levels = {level} if level else names.get(node.func.id, set()) if isinstance(node.func, ast.Name) else set()
        if levels:
            facts = {keyword.arg for keyword in node.keywords if keyword.arg and keyword.arg != "exc_info"}
            if level == "error" and (isinstance(node.func, ast.Attribute) and node.func.attr == "exception"):
                facts.add("exception")
            if any(keyword.arg == "exc_info" for keyword in node.keywords):
                facts.add("exception")
            yield node.args[0].value, levels, facts


@functools.cache
def events() -> Events:
    found: Events = {}
    for path in sorted((ROOT / "app").rglob("*.py")):
        for event, levels, facts in said_in(ast.parse(path.read_text())):
            before = found.setdefault(event, (set(), set()))
            before[0].update(levels)
            before[1].update(facts)
    return found


def documented() -> Events:
    table = PAGE.read_text().partition("| event | level | facts | when |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| `([\w.]+)` \| ([a-z, ]+) \|([^|]*)\| [^|]+ \|$", table, re.MULTILINE)
    return {event: (set(levels.split(", ")), set(re.findall(r"`(\w+)`", facts))) for event, levels, facts in rows}


def test_every_event_is_told_with_its_level() -> None:
    assert {event: levels for event, (levels, _) in documented().items()} == {
        event: levels for event, (levels, _) in events().items()
    }


def test_every_fact_that_is_named_where_an_event_is_said_is_told() -> None:
    told = documented()
    assert {event: facts - told[event][1] for event, (_, facts) in events().items() if facts - told[event][1]} == {}


def test_the_example_has_the_facts_of_the_line_of_a_request() -> None:
    (example,) = blocks(PAGE, "json")
    of_every_line = {"event", "level", "timestamp"}
    assert set(json.loads(example)) == documented()["request"][1] | of_every_line
    table = PAGE.read_text().partition("## The line of a request")[2].partition("## ")[0]
    told = set(re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (`[^|]+) \|", table, re.MULTILINE))))
    assert told == documented()["request"][1]


def test_the_settings_of_logs_are_there() -> None:
    assert {"log_level", "json_logs", "railway_environment", "otel_exporter_otlp_endpoint"} <= set(
        Settings.model_fields
    )
    for name in ("LOG_LEVEL", "JSON_LOGS", "RAILWAY_ENVIRONMENT", "OTEL_EXPORTER_OTLP_ENDPOINT"):
        assert name in PAGE.read_text()
