"""The settings: one frozen object, read from the environment once, passed in everywhere else.

Each name stands once in `.env.example` with its reason; a test compares the two.
"""

import os
import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import parse_qsl, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator, Field, HttpUrl, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.core.errors import ConfigurationError
from app.core.hosts import is_inside, is_loopback


class Environment(StrEnum):
    development = "development"
    production = "production"


class FuzzyKernel(StrEnum):
    exponential = "exponential"
    gaussian = "gaussian"


class LtvTierMode(StrEnum):
    percentile = "percentile"
    absolute = "absolute"


def _a_time_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise ValueError(f"'{name}' is not a time zone; write a name such as Europe/London or UTC") from None
    return name


_POSTGRES_PARAMETERS = frozenset(
    {"host", "port", "ssl", "sslmode", "sslcert", "sslkey", "sslrootcert", "sslcrl", "sslpassword", "options"}
    | {"user", "password", "passfile", "dbname", "target_session_attrs"}
)
_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")


def _a_postgres_address(url: str | None) -> str | None:
    if url is None:
        return None
    if not url.startswith(("postgresql://", "postgres://", "postgresql+asyncpg://")):
        raise ValueError("it must begin with postgresql:// (other databases are sources to import from, not our own)")
    try:
        address = urlsplit(url)
        _ = address.port
    except ValueError:
        raise ValueError("its port is no number; write it as postgresql://user:password@host:5432/name") from None
    parameters = dict(parse_qsl(address.query, keep_blank_values=True))
    if odd := sorted(parameters.keys() - _POSTGRES_PARAMETERS):
        raise ValueError(
            f"nothing is known of its {', '.join(odd)}; known are {', '.join(sorted(_POSTGRES_PARAMETERS))}"
        )
    if {parameters.get("sslmode"), parameters.get("ssl")} - {None, *_SSL_MODES}:
        raise ValueError(f"its sslmode is none of {', '.join(_SSL_MODES)}")
    return url


def _a_key(key: SecretStr | None) -> SecretStr | None:
    if key is not None and not re.fullmatch(r"[!-~]{1,256}", key.get_secret_value()):
        raise ValueError("it travels in a header: up to 256 letters, digits and signs, without spaces")
    return key


def _a_cron_line(line: str) -> str:
    # Loaded here, because it takes a while and only who sets another schedule needs it.
    from croniter import croniter
    from croniter.croniter import CroniterError

    try:
        if not re.fullmatch(r"[\d*,/-]+( [\d*,/-]+){4}", line):
            raise ValueError
        croniter(line).get_next()  # some never come due, such as 31 February
    except (CroniterError, ValueError):
        raise ValueError(
            "it is no schedule that ever comes due; write five fields as in '0 2 * * *': minute, hour, day, month, "
            "weekday (0 is Sunday)"
        ) from None
    return line


def _a_horizon(value: object) -> object:
    return None if value == "individual" else value


def _a_redis_address(url: SecretStr | None) -> SecretStr | None:
    if url is not None and not url.get_secret_value().startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("it must begin with redis:// (or rediss:// for TLS), as in redis://localhost:6379/0")
    return url


def _a_slack_address(url: SecretStr | None) -> SecretStr | None:
    if url is not None:
        address = urlsplit(url.get_secret_value())
        if address.scheme != "https" or not address.hostname:
            loopback = address.scheme == "http" and address.hostname in {"127.0.0.1", "localhost", "::1"}
            if not loopback:
                raise ValueError("it must begin with https://; copy it from the incoming webhook's page in Slack")
    return url


TimeZoneName = Annotated[str, AfterValidator(_a_time_zone)]
STORE_NAME = r"^[A-Za-z0-9_.-]{1,64}$"
StoreId = Annotated[str, Field(pattern=STORE_NAME)]
CurrencyCode = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
PostgresUrl = Annotated[str | None, AfterValidator(_a_postgres_address)]
Key = Annotated[SecretStr | None, AfterValidator(_a_key)]
Horizon = Annotated[Annotated[int, Field(ge=1, le=365)] | None, BeforeValidator(_a_horizon)]
Cron = Annotated[str, AfterValidator(_a_cron_line)]
RedisUrl = Annotated[SecretStr | None, AfterValidator(_a_redis_address)]
SlackUrl = Annotated[SecretStr | None, AfterValidator(_a_slack_address)]


def _origins(listed: object) -> object:
    return tuple(each.strip() for each in listed.split(",") if each.strip()) if isinstance(listed, str) else listed


def _an_origin(origin: str) -> str:
    if not re.fullmatch(r"https?://[A-Za-z0-9.-]+(:\d+)?", origin):
        raise ValueError(f"'{origin}' is no origin; write it as https://shop.example, without a path, no * either")
    return origin


Origins = Annotated[tuple[Annotated[str, AfterValidator(_an_origin)], ...], NoDecode, BeforeValidator(_origins)]


class Settings(BaseSettings):
    """What can be set. Field names in capitals are the environment's names."""

    model_config = SettingsConfigDict(
        env_file=".env", env_file_encoding="utf-8", env_ignore_empty=True, extra="ignore", frozen=True
    )

    env: Environment = Environment.production
    data_dir: Path = Path(".data")
    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65_535)] = 8080
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    cors_origins: Origins = ()
    forwarded_allow_ips: str = "127.0.0.1"

    api_key: Key = None
    admin_key: Key = None
    id_hash_secret: SecretStr | None = None

    database_url: PostgresUrl = None
    db_pool_size: Annotated[int, Field(ge=1, le=500)] | None = None
    db_max_overflow: Annotated[int, Field(ge=0, le=500)] | None = None
    db_pool_timeout: Annotated[int, Field(ge=1)] = 30
    db_pool_recycle: Annotated[int, Field(ge=1)] = 1800
    db_pool_pre_ping: bool = True

    enable_cache: bool = True
    redis_url: RedisUrl = None
    cache_ttl: Annotated[int, Field(ge=1, le=86_400)] = 3600
    rate_limit_per_minute: Annotated[int, Field(ge=0)] = 3000
    failed_keys_per_minute: Annotated[int, Field(ge=0)] = 60

    store_id: StoreId = "default"
    store_timezone: TimeZoneName = "UTC"
    currency: CurrencyCode = "USD"

    demo_customers: Annotated[int, Field(ge=1)] = 5_000

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    json_logs: bool = False
    railway_environment: str | None = None
    enable_prometheus_metrics: bool = False
    prometheus_multiproc_dir: Path | None = None
    otel_exporter_otlp_endpoint: HttpUrl | None = None

    enable_dynamic_k_range: bool = True
    clustering_robust_scaling: bool = True
    fuzzy_kernel: FuzzyKernel = FuzzyKernel.exponential
    archetype_min_members: Annotated[int, Field(ge=1)] = 5
    ltv_tier_mode: LtvTierMode = LtvTierMode.percentile

    churn_horizon_days: Horizon = None

    rescore_schedule: Cron = "0 2 * * *"
    discovery_schedule: Cron = "0 3 * * 0"
    predict_schedule: Cron = "30 2 * * *"
    drift_threshold: Annotated[float, Field(gt=0)] = 0.25
    history_daily_days: Annotated[int, Field(ge=28)] = 90
    audit_days: Annotated[int, Field(ge=1, le=36_500)] = 365

    slack_webhook_url: SlackUrl = None
    alert_migration_share: Annotated[float, Field(gt=0, le=1)] = 0.2

    @model_validator(mode="after")
    def _tells_nobody_inside(self) -> "Settings":
        """What we call by its address must not be made to call this machine or its neighbours."""
        if self.slack_webhook_url is not None:
            host = urlsplit(self.slack_webhook_url.get_secret_value()).hostname or ""
            if is_inside(host) and not (self.env is Environment.development and is_loopback(host)):
                raise ValueError(
                    "SLACK_WEBHOOK_URL: it leads to this machine or its own network; copy it from the incoming "
                    "webhook's page in Slack (with ENV=development 127.0.0.1 will do)"
                )
        return self

    @property
    def logs_as_json(self) -> bool:
        """Where JSON_LOGS says so, and on Railway, which reads logs as JSON."""
        return self.json_logs or self.railway_environment is not None

    @property
    def pool_size(self) -> int:
        """Connections kept open: 20 in production, 5 in development, unless DB_POOL_SIZE says otherwise."""
        return self.db_pool_size or (20 if self.env is Environment.production else 5)

    @property
    def pool_overflow(self) -> int:
        """Connections opened beyond those under load: 10 in production, 5 in development, unless set."""
        if self.db_max_overflow is not None:
            return self.db_max_overflow
        return 10 if self.env is Environment.production else 5


def environment_with(told: Mapping[str, str]) -> dict[str, str]:
    """The environment of this process and what else is told, for one that it begins."""
    return os.environ | told


def told_when_begun(name: str) -> str | None:
    """What the environment says, for what has to be known before there are settings; None where it says nothing."""
    return os.environ.get(name)


def load_settings() -> Settings:
    """The settings of this process's environment and `.env` file.

    Raises ConfigurationError naming each setting that makes no sense; values are not repeated, they may be secrets.
    """
    try:
        return Settings()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"The file .env cannot be read ({error}). Save it as UTF-8 text.") from None
    except ValidationError as error:
        complaints = "; ".join(
            "".join((*(f"{part}: ".upper() for part in item["loc"][:1]), item["msg"].removeprefix("Value error, ")))
            for item in error.errors(include_input=False, include_url=False)
        )
        raise ConfigurationError(
            f"A setting makes no sense. {complaints}. Mend it in the environment or .env."
        ) from None
