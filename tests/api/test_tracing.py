"""Spans go where the settings say, or the service says why they cannot."""

import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from queue import Queue

import pytest

from app.core.config import Settings, load_settings
from app.core.errors import ConfigurationError
from app.main import create_app
from app.warehouse.engine import Database
from tests.api.conftest import client, resources_for


@pytest.fixture
def collector() -> Iterator[tuple[str, "Queue[str]"]]:
    """Its address, and the paths that something is sent to."""
    sent: Queue[str] = Queue()

    class Taking(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.end_headers()
            sent.put(self.path)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Taking) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", sent
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(("below", "path"), [("", "/v1/traces"), ("/otlp/", "/otlp/v1/traces")])
async def test_a_collector_that_is_named_in_the_file_alone_is_sent_to(
    database: Database,
    settings: Settings,
    store_id: str,
    collector: tuple[str, "Queue[str]"],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    below: str,
    path: str,
) -> None:
    address, sent = collector
    (tmp_path / ".env").write_text(f"OTEL_EXPORTER_OTLP_ENDPOINT={address}{below}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    told = {"otel_exporter_otlp_endpoint": load_settings().otel_exporter_otlp_endpoint}
    app = create_app(resources=resources_for(database, settings.model_copy(update=told), store_id))
    async with app.router.lifespan_context(app), client(app) as asking:
        assert (await asking.get("/health/live")).status_code == 200
    assert sent.get(timeout=20) == path


def test_without_what_sends_them_it_is_said_how_to_install_it(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    told = Settings(otel_exporter_otlp_endpoint="http://collector:4318").otel_exporter_otlp_endpoint
    with pytest.raises(ConfigurationError, match=r"pip install -e '\.\[telemetry\]'"):
        create_app(settings.model_copy(update={"otel_exporter_otlp_endpoint": told}))
