"""Secrets: made up once, kept for their owner alone, never the example's in production."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from app.core.config import Environment, Settings
from app.core.errors import ConfigurationError
from app.core.secrets_file import id_hash_secret, serving_keys


def settings(folder: Path, env: Environment = Environment.development, **given: str) -> Settings:
    secret = {name: SecretStr(value) for name, value in given.items()}
    return Settings(_env_file=None, env=env, data_dir=folder).model_copy(update=secret)


def test_in_development_keys_are_made_up_once(tmp_path: Path) -> None:
    first, second = serving_keys(settings(tmp_path)), serving_keys(settings(tmp_path))
    assert first == second
    assert len({first.api_key, first.admin_key, first.analytics_key}) == 3
    assert all(key and key.startswith("ci_live_") for key in (first.api_key, first.admin_key, first.analytics_key))


def test_what_is_made_up_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    serving_keys(settings(tmp_path / "new"))
    assert (tmp_path / "new" / "secrets.json").stat().st_mode & 0o777 == 0o600


def test_a_key_that_is_set_is_used_and_not_kept(tmp_path: Path) -> None:
    keys = serving_keys(settings(tmp_path, api_key="mine"))
    assert keys.api_key == "mine"
    assert "mine" not in (tmp_path / "secrets.json").read_text()


def test_the_pseudonyms_secret_is_made_up_once_unless_it_is_set(tmp_path: Path) -> None:
    secret = id_hash_secret(settings(tmp_path))
    assert secret == id_hash_secret(settings(tmp_path))
    assert len(secret) == 64
    assert id_hash_secret(settings(tmp_path, id_hash_secret="own")) == b"own"
    assert serving_keys(settings(tmp_path)).api_key  # added to the same file
    assert id_hash_secret(settings(tmp_path)) == secret


def test_several_processes_that_ask_at_once_are_told_the_same(tmp_path: Path) -> None:
    program = (
        "import sys; from app.core.config import Settings; from app.core.secrets_file import id_hash_secret; "
        "print(id_hash_secret(Settings(_env_file=None, data_dir=sys.argv[1])).decode())"
    )
    asking = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    assert len({process.communicate()[0] for process in asking}) == 1


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({}, "API_KEY is unset"),
        ({"api_key": "quilt-1"}, "ADMIN_KEY is unset"),
        ({"api_key": "changeme", "admin_key": "quilt-2"}, "API_KEY still"),
        ({"api_key": "quilt-1", "admin_key": "Your-Admin-Key"}, "ADMIN_KEY still"),
        ({"api_key": "hunter2", "admin_key": "hunter2"}, "the same"),
    ],
)
def test_production_refuses_keys_that_protect_nothing_and_names_the_setting(
    tmp_path: Path, given: dict[str, str], named: str
) -> None:
    with pytest.raises(ConfigurationError, match=named) as caught:
        serving_keys(settings(tmp_path, Environment.production, **given))
    assert not any(value in str(caught.value) for value in given.values())
    assert not (tmp_path / "secrets.json").exists()


def test_production_makes_up_no_key(tmp_path: Path) -> None:
    keys = serving_keys(settings(tmp_path, Environment.production, api_key="one", admin_key="two"))
    assert (keys.api_key, keys.admin_key, keys.analytics_key) == ("one", "two", None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"api_key": 3}', '{"api_key": ""}'])
def test_a_damaged_file_is_named_and_not_overwritten(tmp_path: Path, damage: str) -> None:
    (tmp_path / "secrets.json").write_text(damage)
    with pytest.raises(ConfigurationError, match="damaged"):
        serving_keys(settings(tmp_path))
    assert (tmp_path / "secrets.json").read_text() == damage


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="DATA_DIR"):
        serving_keys(settings(tmp_path / "file" / "data"))


def test_a_file_cut_short_is_never_left(tmp_path: Path) -> None:
    serving_keys(settings(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["secrets.json", "secrets.lock"]
    assert set(json.loads((tmp_path / "secrets.json").read_text())) == {"api_key", "admin_key", "analytics_key"}


@pytest.mark.parametrize("secret", ["changeme", "change-me"])
def test_production_refuses_an_examples_secret_for_pseudonyms(tmp_path: Path, secret: str) -> None:
    """With it anyone could work out who a pseudonym is."""
    with pytest.raises(ConfigurationError, match="ID_HASH_SECRET still has an example's value"):
        id_hash_secret(settings(tmp_path, Environment.production, id_hash_secret=secret))
    assert id_hash_secret(settings(tmp_path, id_hash_secret=secret)) == secret.encode()


@pytest.mark.parametrize("env", Environment)
def test_one_key_for_reading_and_administration_is_refused_everywhere(tmp_path: Path, env: Environment) -> None:
    with pytest.raises(ConfigurationError, match="API_KEY and ADMIN_KEY are the same"):
        serving_keys(settings(tmp_path, env, api_key="k" * 20, admin_key="k" * 20))
