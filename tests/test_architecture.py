"""House rules that a machine can hold."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_imports_point_one_way() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter, "--no-logo"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_a_module_that_belongs_nowhere_breaks_the_contract(tmp_path: Path) -> None:
    """The layers are exhaustive: the check can fail."""
    linter = Path(sys.executable).with_name("lint-imports")
    for name in ("app", "pyproject.toml"):
        subprocess.run(["cp", "-r", ROOT / name, tmp_path / name], check=True)
    (tmp_path / "app" / "utils.py").write_text('"""Belongs nowhere."""\n')
    command = [linter, "--no-logo", "--no-cache"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 1
    assert "utils" in done.stdout


def test_only_the_settings_read_the_environment() -> None:
    readers = [
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "app").rglob("*.py")
        if re.search(r"os\.environ|os\.getenv|\bgetenv\(", path.read_text())
    ]
    assert readers == ["app/core/config.py"]


def test_only_the_clock_reads_the_clock() -> None:
    readers = [
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "app").rglob("*.py")
        if re.search(r"datetime\.now\(|date\.today\(|utcnow\(", path.read_text())
    ]
    assert readers == ["app/core/clock.py"]


def test_pinned_requirements_carry_hashes_and_no_address() -> None:
    for name in ("requirements.txt", "requirements-test.txt"):
        text = (ROOT / name).read_text()
        assert not re.search(r"https?://|file:|--(extra-)?index-url|--find-links|--trusted-host", text), name
        pins = re.findall(r"^[a-z0-9][^\s=]*==\S+", text, flags=re.MULTILINE)
        hashed = re.findall(r"^[a-z0-9][^\s=]*==[^\n]*\\\n    --hash=sha256:", text, flags=re.MULTILINE)
        assert len(pins) == len(hashed) > 10, name


def test_every_dependency_has_its_line_of_reason() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    named = re.findall(r'^  "([a-z-]+)[^"]*",?$', project.split("[project.scripts]")[0], flags=re.MULTILINE)
    listed = [name for name in named if name != "customer-intelligence"]  # its own extras
    reasons = (ROOT / "docs" / "DEPENDENCIES.md").read_text()
    explained = set(re.findall(r"[a-z-]+", " ".join(re.findall(r"^\| ([^|]+) \|", reasons, flags=re.MULTILINE))))
    assert len(listed) > 15
    assert set(listed) <= explained
