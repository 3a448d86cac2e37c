"""What docs/operations offers to run: settings that exist, commands the command line takes, units that hold."""

import configparser
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.api.routes import ROUTERS
from app.cli import parser_of
from app.core.config import Settings
from tests.test_deployment import DOCKERFILE, environment_of_the_image
from tests.yaml_subset import documents

ROOT = Path(__file__).resolve().parents[1]
OPERATIONS = ROOT / "docs" / "operations"
SETTINGS = {name.upper() for name in Settings.model_fields}
#: Which the service does not do without, or not well.
SECRETS = {"DATABASE_URL", "API_KEY", "ADMIN_KEY", "ID_HASH_SECRET", "SLACK_WEBHOOK_URL"}


def assert_taken(words: list[str]) -> None:
    """The command line takes them. Otherwise it ends the test with what it says."""
    assert words[:3] == ["python", "-m", "app"], words
    parser_of(words[3]).parse_args(words[3:])


# Pages


def commands_of_pages() -> Iterator[Any]:
    """Every `python -m app …` that a page shows, in a block or in a sentence."""
    for page in sorted(OPERATIONS.rglob("*.md")):
        for found in re.findall(r"python -m app ([^`\n|]+)", page.read_text()):
            command = re.sub(r"\$\([^)]*\)", "today", found).partition(" #")[0].strip()
            yield pytest.param(command, id=f"{page.name}: {command[:50]}")


@pytest.mark.parametrize("command", list(commands_of_pages()))
def test_every_command_of_a_page_is_one(command: str) -> None:
    assert_taken(["python", "-m", "app", *shlex.split(command)])


@pytest.mark.parametrize("page", sorted(OPERATIONS.rglob("*.md")), ids=lambda page: page.name)
def test_every_setting_and_file_that_a_page_names_is_there(page: Path) -> None:
    text = page.read_text()
    others = {"POSTGRES_PASSWORD", "SIGTERM", "SIGHUP", "TMPDIR", "PORT", "HOST", "COPY", "ENV"}
    named = set(re.findall(r"`([A-Z][A-Z_]{3,})(?:=[^`]*)?`", text)) | set(re.findall(r"\b([A-Z_]+)=", text))
    assert named - others <= SETTINGS
    for file in ("scripts/install.sh", "requirements.txt", "docs/operations/kubernetes.yaml"):
        assert file not in text or (ROOT / file).exists()


def test_migrations_are_undone_as_the_page_says(tmp_path: Path) -> None:
    (command,) = re.findall(r"^\.venv/bin/(alembic downgrade \d+)$", (OPERATIONS / "DEPLOYMENT.md").read_text(), re.M)
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "DATA_DIR": str(tmp_path), "LOG_LEVEL": "WARNING"}

    def run(*words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)

    assert run(sys.executable, "-m", "app", "migrate").returncode == 0
    done = run(sys.executable, "-m", *command.split())
    assert done.returncode == 0, done.stderr
    assert f"at revision {command.split()[-1]} " in run(sys.executable, "-m", "app", "doctor").stderr


# Kubernetes

MANIFEST = documents((OPERATIONS / "kubernetes.yaml").read_text())


def of_kind(kind: str) -> list[Any]:
    return [each for each in MANIFEST if each["kind"] == kind]


def pods() -> list[Any]:
    return [each["spec"]["template"]["spec"] for each in of_kind("Deployment")]


def containers() -> list[Any]:
    return [each for pod in pods() for each in (*pod.get("initContainers", []), *pod["containers"])]


def test_the_manifest_migrates_serves_and_works() -> None:
    assert [each["name"] for each in containers()] == ["migrate", "api", "worker"]
    for each in containers():
        assert_taken(each["command"])


def test_the_manifest_sets_what_can_be_set_and_keeps_secrets_apart() -> None:
    (plain,) = of_kind("ConfigMap")
    assert set(plain["data"]) <= SETTINGS - SECRETS
    values = {name.lower(): value for name, value in plain["data"].items()}
    Settings(_env_file=None, **values)
    for each in containers():
        assert [source["configMapRef"]["name"] for source in each["envFrom"]] == [plain["metadata"]["name"]]
        for variable in each["env"]:
            assert variable["name"] in SECRETS
            assert set(variable) == {"name", "valueFrom"}
            assert variable["valueFrom"]["secretKeyRef"]["key"] == variable["name"]
    needed = {each["name"]: {variable["name"] for variable in each["env"]} for each in containers()}
    assert needed["api"] == SECRETS - {"SLACK_WEBHOOK_URL"}
    assert needed["worker"] == SECRETS - {"API_KEY", "ADMIN_KEY"}
    named = set(re.findall(r"--from-literal=(\w+)", (OPERATIONS / "kubernetes.yaml").read_text()))
    assert named == SECRETS - {"SLACK_WEBHOOK_URL"}


def test_the_manifest_probes_routes_there_are_at_the_port_of_the_image() -> None:
    paths = {getattr(route, "path", "") for router in ROUTERS for route in router.routes}
    (api,) = (each for each in containers() if each["name"] == "api")
    probes = [api[name]["httpGet"] for name in ("startupProbe", "readinessProbe", "livenessProbe")]
    assert {probe["path"] for probe in probes} == {"/health/live", "/health/ready"} <= paths
    (port,) = api["ports"]
    assert {probe["port"] for probe in probes} == {port["name"]}
    assert str(port["containerPort"]) == environment_of_the_image()["PORT"]
    (service,) = of_kind("Service")
    assert service["spec"]["ports"][0]["targetPort"] == port["name"]


def test_the_manifests_pods_have_no_rights_they_do_not_need() -> None:
    (uid,) = re.findall(r"useradd --uid (\d+)", DOCKERFILE)
    for pod in pods():
        assert pod["automountServiceAccountToken"] is False
        assert pod["terminationGracePeriodSeconds"] >= 30
        allowed = pod["securityContext"]
        assert (allowed["runAsNonRoot"], allowed["runAsUser"]) == (True, int(uid))
        volumes = {each["name"] for each in pod["volumes"]}
        for each in (*pod.get("initContainers", []), *pod["containers"]):
            assert each["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert {"requests", "limits"} == set(each["resources"])
            mounts = {mount["name"]: mount["mountPath"] for mount in each["volumeMounts"]}
            assert mounts["data"] == environment_of_the_image()["DATA_DIR"]
            assert set(mounts) <= volumes


def test_what_the_manifest_selects_is_what_it_labels() -> None:
    labels = []
    for each in of_kind("Deployment"):
        assert each["spec"]["selector"]["matchLabels"] == each["spec"]["template"]["metadata"]["labels"]
        labels.append(each["spec"]["template"]["metadata"]["labels"])
    (service,) = of_kind("Service")
    assert labels.count(service["spec"]["selector"]) == 1


def test_all_of_the_manifests_processes_together_fit_a_server_as_it_is() -> None:
    (plain,) = of_kind("ConfigMap")
    each = int(plain["data"]["DB_POOL_SIZE"]) + int(plain["data"]["DB_MAX_OVERFLOW"])
    assert sum(deployment["spec"]["replicas"] for deployment in of_kind("Deployment")) * each <= 90  # of 100


# systemd

UNIT = OPERATIONS / "systemd" / "customer-intelligence.service"


@pytest.fixture
def unit() -> Any:
    read = configparser.RawConfigParser(strict=True)
    read.optionxform = str  # type: ignore[assignment,method-assign]
    read.read_string(UNIT.read_text())
    return read


def test_the_unit_serves_as_www_data_and_always_again(unit: Any) -> None:
    service = unit["Service"]
    assert (service["User"], service["Restart"]) == ("www-data", "always")
    program, *words = service["ExecStart"].split()
    assert program == f"{service['WorkingDirectory']}/.venv/bin/python"
    assert_taken(["python", *words])
    assert unit["Install"]["WantedBy"] == "multi-user.target"


def test_the_unit_may_write_to_its_own_folder_alone(unit: Any) -> None:
    service = unit["Service"]
    assert (service["ProtectSystem"], service["ProtectHome"], service["NoNewPrivileges"]) == ("strict", "yes", "yes")
    assert (service["StateDirectory"], service["StateDirectoryMode"]) == ("customer-intelligence", "0700")
    assert "DATA_DIR=/var/lib/customer-intelligence" in (OPERATIONS / "DEPLOYMENT.md").read_text()


def test_the_unit_has_the_time_to_stop_what_it_started(unit: Any) -> None:
    """The service alone is told, and it stops the database, which would otherwise be told at the same time."""
    assert unit["Service"]["KillMode"] == "mixed"
    assert int(unit["Service"]["TimeoutStopSec"]) >= 80


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed here")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    """With an interpreter that is there."""
    text = UNIT.read_text()
    python = re.search(r"^ExecStart=(\S+)", text, re.MULTILINE)
    assert python
    (tmp_path / UNIT.name).write_text(text.replace(python[1], "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", str(tmp_path / UNIT.name)], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
