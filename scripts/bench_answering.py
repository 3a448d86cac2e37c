"""How fast requests are answered under everything that stands around them: keys, limits, log, metrics, marks."""

import json
import secrets
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.request import Request, urlopen

from app.core.keys import new_key
from scripts.bench_discovery import SIZE, discover
from scripts.bench_measured import apart, note
from scripts.bench_page import Figure, Section
from scripts.bench_predicting import train
from scripts.bench_server import CONSTANT
from scripts.bench_service import get, load, serving
from scripts.bench_serving import settings_for, write_paths
from scripts.bench_shops import Shop, Shops

CUSTOMERS = 5_000
CONNECTIONS = 32
LOAD_SECONDS = 4.0
ASKED = 2_000  # different customers, in turn
#: Answers about the shop as a whole, of which the first is what the limits are about.
AGGREGATES = (
    "/api/mcp/archetypes/top",
    "/api/mcp/churn/aggregate",
    "/api/analytics/cohorts",
    "/api/analytics/anomalies",
)
BAD_KEYS_PER_SECOND, GOOD_PER_SECOND, BAD_KEY_SECONDS = 1_000, 50, 30
MANY, SOME = 200_000, 20_000

_LOADED = ("--seconds", str(LOAD_SECONDS), "--connections", str(CONNECTIONS))
_SERVER = "scripts.bench_server"


def measure(shops: Shops, repeat: int) -> Section:
    small, large = shops.of(CUSTOMERS), shops.sized(SIZE)
    for shop in (small, large):
        apart(discover, shop.url)
        note(f"predicting of the shop '{shop.name}'")
        apart(train, shop.url)
    with tempfile.TemporaryDirectory() as folder:
        figures = (
            *_profiles(small, Path(folder), repeat),
            *_aggregates(large, Path(folder), repeat),
            *_bad_keys(small, Path(folder), repeat),
            _memory(small, Path(folder)),
        )
    return Section(
        name="answering",
        title="Answering",
        told=f"{CONNECTIONS} connections on loopback, one process that serves, with keys, limits, request ids, a log "
        "line in JSON and metrics for every request. Profiles are those of the built-in shop of "
        f"{CUSTOMERS:,} customers, {ASKED:,} of them in turn, beside a constant route of the same app and beside bare "
        "Starlette with the same bytes; answers about a shop as a whole are of the documents' size.",
        figures=figures,
    )


def _settings(shop: Shop, folder: Path, **more: str) -> dict[str, str]:
    """As in production, but for limits, which are not to be what is measured."""
    plain = {"LOG_LEVEL": "INFO", "JSON_LOGS": "true", "ENABLE_PROMETHEUS_METRICS": "true"}
    return settings_for(shop, str(folder)) | plain | more


def _profiles(shop: Shop, folder: Path, repeat: int) -> list[Figure]:
    settings = _settings(shop, folder)
    key = settings["API_KEY"]
    body, constant, profiles = (folder / name for name in ("body", "constant", "profiles"))
    body.write_text("{}")
    constant.write_text(CONSTANT)
    write_paths(profiles, ASKED)
    app, bare = [_SERVER, "app", "--body", str(body)], [_SERVER, "bare", "--body", str(body)]
    with serving(app, settings, ready=CONSTANT, unheard=True) as port:
        body.write_bytes(get(port, "/api/mcp/customer/C0000001", key))
    rounds = []
    with (
        serving(app, settings | {"ENABLE_CACHE": "false"}, ready=CONSTANT, unheard=True) as unkept,
        serving(app, settings, ready=CONSTANT, unheard=True) as kept,
        serving(bare, settings, ready=CONSTANT, unheard=True) as plain,
    ):
        same = folder / "same"
        same.write_text("/api/mcp/customer/C0000001")
        has_it = f"X-API-Key: {key}\r\nIf-None-Match: {_etag(kept, same.read_text(), key)}"
        for port in (unkept, kept):
            load(port, profiles, *_LOADED, key=key)
        for number in range(repeat):
            note(f"profiles under load, {number + 1} of {repeat}")
            rounds.append(
                {
                    "profile": load(unkept, profiles, *_LOADED, key=key),
                    "constant": load(unkept, constant, *_LOADED, key=key),
                    "kept": load(kept, profiles, *_LOADED, key=key),
                    "bare": load(plain, constant, *_LOADED),
                    "304": load(kept, same, *_LOADED, "--header", has_it, "--expect", "304"),
                }
            )
    _all_answered(rounds)
    rates = {name: statistics.median(found[name]["per_second"] for found in rounds) for name in rounds[0]}

    def share(one: str, other: str) -> tuple[float, ...]:
        return tuple(found[one]["per_second"] / found[other]["per_second"] for found in rounds)

    def said(one: str, other: str) -> str:
        return f"{one} {rates[one]:,.0f}/s, {other} {rates[other]:,.0f}/s"

    p99 = {name: tuple(found[name]["p99_ms"] for found in rounds) for name in ("profile", "kept")}
    size = f"{body.stat().st_size:,} bytes"
    return [
        Figure(
            "profiles, read each time, to a constant route",
            share("profile", "constant"),
            "{:.2f}",
            at_least=0.4,
            where=said("profile", "constant"),
        ),
        Figure(
            f"profiles, read each time, to bare Starlette, {size}",
            share("profile", "bare"),
            "{:.2f}",
            at_least=0.13,
            where=said("profile", "bare"),
        ),
        Figure("profiles, read each time, p99", p99["profile"], "{:.0f} ms", at_most=30),
        Figure(
            "profiles, kept in the process, to a constant route",
            share("kept", "constant"),
            "{:.2f}",
            at_least=0.7,
            where=said("kept", "constant"),
        ),
        Figure(
            f"profiles, kept in the process, to bare Starlette, {size}",
            share("kept", "bare"),
            "{:.2f}",
            at_least=0.2,
            where=said("kept", "bare"),
        ),
        Figure("profiles, kept in the process, p99", p99["kept"], "{:.0f} ms"),
        Figure(
            "profiles that who asks has already (304), to bare Starlette",
            share("304", "bare"),
            "{:.2f}",
            where=said("304", "bare"),
        ),
    ]


def _etag(port: int, path: str, key: str) -> str:
    request = Request(f"http://127.0.0.1:{port}{path}", headers={"X-API-Key": key})
    with urlopen(request, timeout=10) as answer:  # noqa: S310  our own server
        return str(answer.headers["etag"])


def _aggregates(shop: Shop, folder: Path, repeat: int) -> list[Figure]:
    figures = []
    settings = _settings(shop, folder)
    key, admin = settings["API_KEY"], settings["ADMIN_KEY"]
    with (
        serving(
            ["app", "serve", "--no-worker"], settings | {"ENABLE_CACHE": "false"}, ready="/health/ready", unheard=True
        ) as unkept,
        serving(["app", "serve", "--no-worker"], settings, ready="/health/ready", unheard=True) as kept,
    ):
        for path in AGGREGATES:
            file = folder / "aggregate"
            file.write_text(path)
            alone, cold, warm, crowd = [], [], [], []
            for port in (unkept, kept):
                get(port, path, key)  # what a process loads once is not of interest
            for number in range(repeat):
                note(f"{path}, {number + 1} of {repeat}")
                alone.append(statistics.median(_seconds(unkept, path, key) for _ in range(5)))
                cold.append(load(unkept, file, *_LOADED, key=key))
                _flush(kept, admin)
                crowd.append(_crowd(kept, path, key))
                warm.append(load(kept, file, *_LOADED, key=key))
            _all_answered([{"cold": one, "warm": other} for one, other in zip(cold, warm, strict=True)])
            times = tuple(b["per_second"] / a["per_second"] for a, b in zip(cold, warm, strict=True))
            stampede = tuple(each / one for each, one in zip(crowd, alone, strict=True))
            rates = f"kept {statistics.median(each['per_second'] for each in warm):,.0f}/s, " + (
                f"read each time {statistics.median(each['per_second'] for each in cold):,.1f}/s"
            )
            name = path.removeprefix("/api/").removeprefix("mcp/")
            figures += [
                Figure(f"{name}, one that is not kept", tuple(1000 * each for each in alone), "{:.0f} ms", at_most=150),
                Figure(f"{name}, kept: how many times as many", times, "{:.0f}", at_least=50, where=rates),
                Figure(
                    f"{name}, the slowest of {CONNECTIONS} who ask at once when nothing is kept, times one",
                    stampede,
                    "{:.1f}",
                    at_most=3,
                ),
            ]
    return figures


def _seconds(port: int, path: str, key: str) -> float:
    began = time.perf_counter()
    get(port, path, key)
    return time.perf_counter() - began


def _crowd(port: int, path: str, key: str) -> float:
    """How long the slowest waits of as many as there are connections, who ask at the same moment."""
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        return max(pool.map(lambda _: _seconds(port, path, key), range(CONNECTIONS)))


def _flush(port: int, admin: str) -> None:
    request = Request(f"http://127.0.0.1:{port}/api/admin/cache/flush", method="POST", headers={"X-API-Key": admin})
    with urlopen(request, timeout=10) as answer:  # noqa: S310  our own server
        json.loads(answer.read())


def _bad_keys(shop: Shop, folder: Path, repeat: int) -> list[Figure]:
    """A good key's requests, 50 a second, quiet and beside a thousand wrong keys a second."""
    settings = _settings(shop, folder)
    key = settings["API_KEY"]
    paths, keys = folder / "paths", folder / "keys"
    write_paths(paths, ASKED)
    keys.write_text("\n".join(f"X-API-Key: {new_key()[1]}" for _ in range(5_000)))
    good = ("--rate", str(GOOD_PER_SECOND), "--seconds", str(BAD_KEY_SECONDS))
    bad = ("--rate", str(BAD_KEYS_PER_SECOND), "--seconds", str(BAD_KEY_SECONDS + 1), "--headers", str(keys))
    quiet, busy, refused = [], [], []
    with serving(["app", "serve", "--no-worker"], settings, ready="/health/ready", unheard=True) as port:
        load(port, paths, "--seconds", "2", key=key)
        for number in range(repeat):
            note(f"a good key beside bad ones, {number + 1} of {repeat}")
            quiet.append(load(port, paths, *good, key=key))
            with ThreadPoolExecutor(1) as pool:
                attack = pool.submit(load, port, paths, *bad)
                busy.append(load(port, paths, *good, key=key))
                refused.append(attack.result())
    _all_answered([{"quiet": one, "busy": other} for one, other in zip(quiet, busy, strict=True)])
    if any(each["not_ok"] != each["requests"] for each in refused):
        raise RuntimeError("a wrong key was let in")
    times = tuple(b["p99_ms"] / a["p99_ms"] for a, b in zip(quiet, busy, strict=True))
    rate = statistics.median(each["per_second"] for each in refused)
    where = f"quiet {statistics.median(each['p99_ms'] for each in quiet):.1f} ms, {rate:,.0f} wrong keys a second"
    return [Figure("a good key's p99 beside wrong keys, times quiet", times, "{:.1f}", at_most=2, where=where)]


def _memory(shop: Shop, folder: Path) -> Figure:
    """Of the process that serves, after so many requests against after a tenth of them: known and unknown customers,
    good and wrong keys.
    """
    note("memory over many requests")
    settings = _settings(shop, folder)
    key = settings["API_KEY"]
    paths, headers = folder / "mixed", folder / "mixed-headers"
    known = [f"/api/mcp/customer/C{number:07}" for number in range(1, ASKED + 1)]
    unknown = [f"/api/mcp/customer/{secrets.token_hex(8)}" for _ in range(ASKED)]
    paths.write_text("\n".join(path for pair in zip(known, unknown, strict=True) for path in pair))
    good = f"X-API-Key: {key}"
    headers.write_text("\n".join(good if number % 5 else f"X-API-Key: {new_key()[1]}" for number in range(4_003)))
    command = ["app", "serve", "--no-worker"]
    with serving(command, settings, ready="/health/ready", unheard=True) as port:
        held = []
        for n in (SOME, MANY - SOME):
            load(port, paths, "--requests", str(n), "--connections", str(CONNECTIONS), "--headers", str(headers))
            held.append(_resident_mib(port))
    return Figure(
        f"memory after {MANY:,} requests, times that after {SOME:,}",
        (held[1] / held[0],),
        "{:.2f}",
        at_most=1.1,
        where=f"{held[0]:.0f} MiB, then {held[1]:.0f} MiB",
    )


def _resident_mib(port: int) -> float:
    (line,) = [
        each for each in get(port, "/metrics", "").splitlines() if each.startswith(b"process_resident_memory_bytes ")
    ]
    return float(line.split()[1]) / 2**20


def _all_answered(rounds: Sequence[Mapping[str, Mapping[str, float]]]) -> None:
    wrong = sum(each["not_ok"] for found in rounds for each in found.values())
    if wrong:
        raise RuntimeError(f"{wrong:.0f} requests were not answered as they should be")
