"""Requests as spans of OpenTelemetry, sent where OTEL_EXPORTER_OTLP_ENDPOINT says, by the extra `telemetry`.

A span says the route's template, never the path or the question, which may name somebody. What the framework would
trace by itself does, so that is turned off. Of who asks only which trace it belongs to is taken over, and nothing that
they put beside it (tracestate, baggage).
"""

from fastapi.telemetry import TelemetryConfig
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import __version__
from app.core.errors import ConfigurationError
from app.core.requests import method_told

_NAME = "customer-intelligence"
#: Of a collector, where it takes traces.
_TRACES_PATH = "/v1/traces"
_TRACES = TraceContextTextMapPropagator()
#: For `FastAPI(telemetry=...)`.
NOTHING_BY_ITSELF: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False}


class Traced:
    """A span for every request. provider : where they go"""

    def __init__(self, app: ASGIApp, provider: trace.TracerProvider) -> None:
        self._app = app
        self._tracer = provider.get_tracer(_NAME, __version__)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        told = [value.decode("latin-1") for name, value in scope["headers"] if name == b"traceparent"]
        before = _TRACES.extract({"traceparent": told[0]} if told else {})
        method = method_told(scope["method"])
        with self._tracer.start_as_current_span(
            method, before, SpanKind.SERVER, record_exception=False, set_status_on_exception=False
        ) as span:

            async def sending(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.set_attribute("http.response.status_code", message["status"])
                    if message["status"] >= 500:
                        span.set_status(StatusCode.ERROR)
                await send(message)

            try:
                await self._app(scope, receive, sending)
            finally:
                route = getattr(scope.get("route"), "path", "unmatched")
                span.update_name(f"{method} {route}")
                span.set_attributes({"http.request.method": method, "http.route": route})
                if caller := scope.get("caller"):
                    span.set_attribute("store", caller.store_id)
                if request_id := scope.get("request_id"):
                    span.set_attribute("request_id", request_id)


def exporting_to(collector: str) -> trace.TracerProvider:
    """collector : the address that OTEL_EXPORTER_OTLP_ENDPOINT says

    Raises ConfigurationError where the extra is not installed.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise ConfigurationError(
            "OTEL_EXPORTER_OTLP_ENDPOINT is set, and what sends traces is not installed. Install it with "
            "`.venv/bin/python -m pip install -e '.[telemetry]'` in the project's folder, or unset it."
        ) from None
    provider = TracerProvider(resource=Resource.create({"service.name": _NAME, "service.version": __version__}))
    # Said here, because the exporter by itself looks for it in the environment alone, and not in `.env`.
    exporter = OTLPSpanExporter(endpoint=collector.rstrip("/") + _TRACES_PATH)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider
