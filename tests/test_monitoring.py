"""What Grafana and Prometheus load holds against the service itself, and the runbook has what it is sent to."""

import json
import re
import shlex
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.metrics import MetricWrapperBase

from app.cli import parser_of
from app.core import metrics
from app.core.config import Settings
from app.main import create_app
from app.warehouse.engine import Database
from tests.api.conftest import KEYS, client, resources_for
from tests.fakes import bought, put
from tests.test_docs import anchors, blocks

OPERATIONS = Path(__file__).resolve().parents[1] / "docs" / "operations"
MONITORING, RUNBOOK = OPERATIONS / "MONITORING.md", OPERATIONS / "INCIDENT_RUNBOOK.md"
RULES = yaml.safe_load((OPERATIONS / "alerts.yaml").read_text())
DASHBOARD = json.loads((OPERATIONS / "grafana-dashboard.json").read_text())

#: What Prometheus adds by itself: a metric of each target, and labels of each sample.
OF_PROMETHEUS = {"up": "gauge"}
OWN_LABELS = {"job", "instance"}
SUFFIXES = {"histogram": ("_bucket", "_count", "_sum"), "counter": ("",), "gauge": ("",)}
#: Labels that take few values, which the metric's own explanation names.
NAMED_VALUES = {"reason", "cache", "result", "pool", "state"}

_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_SERIES = re.compile(r"(?<![\w.$])([a-zA-Z_:][\w:]*)\b(\{[^}]*\})?(?!\s*\()")
_MATCHER = re.compile(r'(\w+)\s*(=~|!=|!~|=)\s*"([^"]*)"')
_WORDS = {"and", "or", "unless", "bool", "offset"}


@dataclass(frozen=True)
class Exposed:
    """What GET /metrics shows. types, helps : by metric; labels : by metric, as the code gives them"""

    types: dict[str, str]
    helps: dict[str, str]
    labels: dict[str, set[str]]

    def of(self, series: str) -> str | None:
        """The metric that a series is of."""
        for name, kind in (self.types | OF_PROMETHEUS).items():
            if series in {name + suffix for suffix in SUFFIXES.get(kind, ())}:
                return name
        return None


@pytest.fixture(scope="module")
async def exposed(database: Database, settings: Settings) -> AsyncIterator[Exposed]:
    """Of a running service, asked as Prometheus asks."""
    await put(database, "watched", bought("ada", "o1", "2024-01-05", ("thread", "1", "5")))
    shown = settings.model_copy(update={"enable_prometheus_metrics": True})
    app = create_app(resources=resources_for(database, shown, "watched"))
    async with app.router.lifespan_context(app), client(app, KEYS["support"]) as asking:
        assert (await asking.get("/api/mcp/customer/ada")).status_code == 200
        answer = await asking.get("/metrics")
    assert answer.status_code == 200
    made = [
        each for each in [*vars(metrics).values(), *metrics.STANDING.values()] if isinstance(each, MetricWrapperBase)
    ]
    labels = {each._name + ("_total" if each._type == "counter" else ""): {*each._labelnames} for each in made}
    yield Exposed(
        types=dict(re.findall(r"^# TYPE (\S+) (\w+)$", answer.text, re.MULTILINE)),
        helps=dict(re.findall(r"^# HELP (\S+) (.+)$", answer.text, re.MULTILINE)),
        labels=labels,
    )


def series_of(expression: str) -> tuple[list[tuple[str, list[tuple[str, str, str]]]], set[str]]:
    """The series of a PromQL expression with their matchers, and the labels it groups by."""
    grouped = {
        label.strip() for listed in _GROUPING.findall(expression) for label in listed.split(",") if label.strip()
    }
    bare = re.sub(r"\[[^\]]*\]", "", _GROUPING.sub("", expression))
    found = [(name, _MATCHER.findall(given)) for name, given in _SERIES.findall(bare) if name not in _WORDS]
    return found, grouped


def expressions() -> Iterator[Any]:
    for group in RULES["groups"]:
        for rule in group["rules"]:
            yield pytest.param(rule["expr"], id=f"alert {rule['alert']}")
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", []):
            yield pytest.param(target["expr"], id=f"panel {panel['title']} {target['refId']}")


@pytest.mark.parametrize("expression", list(expressions()))
async def test_what_is_asked_of_prometheus_is_what_the_service_tells(exposed: Exposed, expression: str) -> None:
    found, grouped = series_of(expression)
    assert found
    known: set[str] = set(OWN_LABELS)
    for series, matchers in found:
        metric = exposed.of(series)
        assert metric is not None, f"{series} is no metric of ours"
        labels = exposed.labels.get(metric, set()) | ({"le"} if series.endswith("_bucket") else set()) | OWN_LABELS
        known |= labels
        for label, _, value in matchers:
            assert label in labels, f"{metric} has no label {label}"
            if label in NAMED_VALUES:
                assert all(each in exposed.helps[metric] for each in value.split("|")), (metric, value)
    assert grouped <= known


def test_expressions_are_taken_apart_as_prometheus_does() -> None:
    found, grouped = series_of(
        'histogram_quantile(0.95, sum by (le, route) (rate(a_bucket{route=~"/x/.+"}[10m]))) > 1.5e9 '
        'and on (route) max(b{job="c",state!="d"}) or vector(0)'
    )
    assert found == [
        ("a_bucket", [("route", "=~", "/x/.+")]),
        ("b", [("job", "=", "c"), ("state", "!=", "d")]),
    ]
    assert grouped == {"le", "route"}


def test_the_page_tells_every_metric_with_its_labels(exposed: Exposed) -> None:
    table = MONITORING.read_text().partition("| metric | labels | what it is |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| `(ci_\w+)` \|([^|]*)\| [^|]+ \|$", table, re.MULTILINE)
    told = {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in rows}
    assert told == exposed.labels
    assert set(told) == {name for name in exposed.types if name.startswith("ci_") and not name.endswith("_created")}


# Rules


def alerts() -> list[dict[str, Any]]:
    return [rule for group in RULES["groups"] for rule in group["rules"]]


def test_every_alert_says_what_is_wrong_and_where_the_runbook_tells_what_to_do() -> None:
    sections = anchors(RUNBOOK)
    names = [alert["alert"] for alert in alerts()]
    assert len(names) == len(set(names))
    for alert in alerts():
        assert set(alert) <= {"alert", "expr", "for", "labels", "annotations"}
        assert re.fullmatch(r"\d+[smhd]", alert.get("for", "0s"))
        assert set(alert["labels"]) == {"severity"}
        assert set(alert["annotations"]) == {"summary", "description"}
        (section,) = re.findall(r"Runbook: INCIDENT_RUNBOOK\.md#([a-z-]+)$", alert["annotations"]["description"])
        assert section in sections, alert["alert"]
        assert f"`{alert['alert']}`" in section_of(RUNBOOK, section), f"{section} does not speak of {alert['alert']}"


def section_of(page: Path, anchor: str) -> str:
    parts = re.split(r"^## ", page.read_text(), flags=re.MULTILINE)
    (one,) = [
        part
        for part in parts[1:]
        if re.sub(r"[^a-z0-9 -]", "", part.split("\n")[0].lower()).replace(" ", "-") == anchor
    ]
    return one


def test_the_page_tells_every_alert_with_its_severity() -> None:
    table = MONITORING.read_text().partition("| alert | severity | when |")[2].partition("\n\n")[0]
    told = dict(re.findall(r"^\| `(\w+)` \| (\w+) \| [^|]+ \|$", table, re.MULTILINE))
    assert told == {alert["alert"]: alert["labels"]["severity"] for alert in alerts()}


def test_the_example_of_prometheus_loads_the_rules_under_the_name_they_ask_for() -> None:
    (example,) = blocks(MONITORING, "yaml")
    read = yaml.safe_load(example)
    assert read["rule_files"] == ["alerts.yaml"]
    (job,) = read["scrape_configs"]
    asked = [alert["expr"] for alert in alerts()] + [
        target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])
    ]
    assert {name for each in asked for name in re.findall(r'job="([^"]+)"', each)} == {job["job_name"]}


# Dashboard


def test_the_dashboard_has_what_grafana_wants() -> None:
    assert re.fullmatch(r"[a-zA-Z0-9_-]{1,40}", DASHBOARD["uid"])
    assert DASHBOARD["title"]
    assert DASHBOARD["schemaVersion"] >= 36
    assert "id" not in DASHBOARD  # of one installation
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids)) > 20
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert panel["title"]
        assert place["x"] + place["w"] <= 24
        if panel["type"] != "row":
            assert panel["type"] in ("stat", "timeseries")
            assert panel["description"]
            assert panel["fieldConfig"]["defaults"]["unit"]
            assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"]) > 0


def test_no_panel_covers_another() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells


def test_the_dashboard_asks_whichever_prometheus_there_is_and_names_only_its_own_variables() -> None:
    variables = {each["name"] for each in DASHBOARD["templating"]["list"]}
    asked = {
        (target["datasource"]["uid"], target["expr"])
        for panel in DASHBOARD["panels"]
        for target in panel.get("targets", [])
    }
    assert {uid for uid, _ in asked} == {"${datasource}"}
    named = {name for _, expression in asked for name in re.findall(r"\$(\w+)", expression)}
    assert named - {"__rate_interval"} <= variables


async def test_the_dashboards_variables_are_labels_there_are(exposed: Exposed) -> None:
    for each in DASHBOARD["templating"]["list"]:
        if each["type"] == "query":
            series, label = re.findall(r"^label_values\((\w+), (\w+)\)$", each["definition"])[0]
            metric = exposed.of(series)
            assert metric is not None
            assert label in exposed.labels[metric]


# Pages


def commands() -> Iterator[Any]:
    for page in (MONITORING, RUNBOOK):
        for command in re.findall(r"python -m app ([^`\n|]+)", page.read_text()):
            yield pytest.param(command.strip(), id=f"{page.name}: {command.strip()[:50]}")


@pytest.mark.parametrize("command", list(commands()))
def test_every_command_of_these_pages_is_one(command: str) -> None:
    parser_of(shlex.split(command)[0]).parse_args(shlex.split(command))


def test_every_route_of_these_pages_is_one() -> None:
    described = {
        (method.upper(), re.sub(r"\{\w+\}", "_", path))
        for path, operations in create_app(Settings(_env_file=None)).openapi()["paths"].items()
        for method in operations
    }
    for page in (MONITORING, RUNBOOK):
        text = page.read_text()
        told = re.findall(r"`(GET|POST) (/[\w/{}.-]+)", text)
        asked = re.findall(r"curl -s (?:-X (POST) )?[^\n]*?http://127\.0\.0\.1:8080(/[\w/.$-]+)", text)
        for method, path in [*told, *asked]:
            plain = re.sub(r"\{\w+\}|\$\w+", "_", path)
            assert (method or "GET", plain) in described, f"{page.name}: {method} {path}"
        assert told or asked
