"""Settings: each explained once, checked on the way in, and never repeated in an error."""

import re
from pathlib import Path

import pytest

from app.core.config import Environment, Settings, load_settings
from app.core.errors import ConfigurationError

ROOT = Path(__file__).resolve().parents[2]
LINE = re.compile(r"^([A-Z_]+)=(\S*(?: \S+){0,4}?)\s+# (\S.*)$")


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)


def example() -> dict[str, str]:
    lines = [line for line in (ROOT / ".env.example").read_text().splitlines() if line and not line.startswith("#")]
    found = [LINE.match(line) for line in lines]
    assert all(found), [line for line, match in zip(lines, found, strict=True) if not match]
    names = [match[1] for match in found if match]
    assert len(names) == len(set(names))
    return {match[1]: match[2] for match in found if match}


def test_the_example_names_every_setting_once_with_a_reason_and_no_other() -> None:
    assert set(example()) == {name.upper() for name in Settings.model_fields}


def test_the_example_shows_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    defaults = Settings()
    for name, value in example().items():
        if value:
            monkeypatch.setenv(name, value)
    assert Settings() == defaults


def test_an_empty_example_value_means_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in example().items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert settings == Settings()
    assert settings.database_url is None


def test_production_opens_more_connections_than_development() -> None:
    production, development = Settings(), Settings(env=Environment.development)
    assert (production.pool_size, production.pool_overflow) == (20, 10)
    assert (development.pool_size, development.pool_overflow) == (5, 5)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("STORE_TIMEZONE", "Mars/Olympus"),
        ("CURRENCY", "pounds"),
        ("DB_POOL_SIZE", "0"),
        ("DB_POOL_SIZE", "many"),
        ("ENV", "staging"),
        ("FUZZY_KERNEL", "square"),
        ("ARCHETYPE_MIN_MEMBERS", "0"),
        ("STORE_ID", "my shop; drop table"),
        ("LOG_LEVEL", "LOUD"),
        ("RESCORE_SCHEDULE", "daily"),
        ("RESCORE_SCHEDULE", "0 2 * *"),
        ("DISCOVERY_SCHEDULE", "0 0 31 2 *"),
        ("DISCOVERY_SCHEDULE", "R R * * *"),
        ("DATABASE_URL", "mysql://root:hunter2@localhost/shop"),
        ("DATABASE_URL", "postgresql://root:hunter2@localhost:notaport/shop"),
        ("DATABASE_URL", "postgresql://root:hunter2@[::1/shop"),
        ("DATABASE_URL", "postgresql://root:hun/ter2@localhost/shop"),
        ("DATABASE_URL", "postgresql://root:hunter2@localhost/shop?sslmode=please"),
        ("DATABASE_URL", "postgresql://root:hunter2@localhost/shop?connect_timeout=hunter2"),
    ],
)
def test_a_setting_that_makes_no_sense_is_named_and_its_value_kept_to_itself(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    message = str(caught.value)
    assert name in message
    assert "ter2" not in message


@pytest.mark.parametrize("env", list(Environment))
@pytest.mark.parametrize(
    "url",
    [
        *("https://169.254.169.254/latest", "https://10.0.0.7/hook", "https://192.168.1.1/x", "https://[fd00::1]/x"),
        *(
            "https://db.internal/x",
            "https://printer.local/x",
            "file:///etc/passwd",
            "http://hooks.slack.com/services/x",
        ),
    ],
)
def test_an_alert_is_never_told_to_the_network_it_runs_in(
    monkeypatch: pytest.MonkeyPatch, env: Environment, url: str
) -> None:
    monkeypatch.setenv("ENV", env.value)
    monkeypatch.setenv("SLACK_WEBHOOK_URL", url)
    with pytest.raises(ConfigurationError, match="SLACK_WEBHOOK_URL"):
        load_settings()


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/x", "http://localhost:9/x", "https://127.0.0.1/x"])
def test_an_alert_is_told_to_this_machine_in_development_alone(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("SLACK_WEBHOOK_URL", url)
    with pytest.raises(ConfigurationError, match="SLACK_WEBHOOK_URL"):
        load_settings()
    monkeypatch.setenv("ENV", "development")
    assert load_settings().slack_webhook_url is not None


def test_settings_cannot_be_changed_afterwards() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().store_id = "other"  # type: ignore[misc]


def test_a_settings_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"STORE_ID=\xff\xfe")
    with pytest.raises(ConfigurationError, match=r"\.env cannot be read"):
        load_settings()
