"""A message into Slack, by an incoming webhook. Its address is a secret: whoever has it can write there."""

import asyncio
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import httpx
from pydantic import SecretStr

from app.core.hosts import is_inside

TIMEOUT_SECONDS = 10.0
#: When to try again where Slack does not say, and the latest it may say.
RETRY_AFTER_SECONDS, LONGEST_RETRY_SECONDS = 60, 3_600
_TOLD = "ok"
# One word, such as no_service: what Slack answers with. Pages of a proxy in between may repeat the address.
_WORD = re.compile(r"[a-z_]{1,40}")
_WORDS_READ = 200

# They log the address of every request, and the headers of answers, which may repeat it.
for _library in ("httpx", "httpcore"):
    logging.getLogger(_library).setLevel(logging.WARNING)


class Outcome(StrEnum):
    """told: Slack said so. not_told: it is known not to stand there, and may go through later. unknown: it may stand
    there. refused: it never will."""

    told = "told"
    not_told = "not_told"
    unknown = "unknown"
    refused = "refused"


@dataclass(frozen=True, slots=True)
class Answer:
    """said : why it was not told, without the address"""

    outcome: Outcome
    said: str = ""
    retry_after_seconds: int = RETRY_AFTER_SECONDS


def escaped(words: str) -> str:
    """Words as they stand: no link, no mention."""
    return words.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


class _LeadsInside(Exception):
    """What the address names is this machine or on its own network."""


class _Watched:
    """Looks where a connection has led before anything is sent over it: who answers for a name may say one thing when
    it is looked up and another when it is called. Of a proxy it is for the proxy to say whom it reaches.
    """

    def __init__(self, host: str) -> None:
        self._host = host
        self._calls_it = False

    async def __call__(self, happened: str, told: Mapping[str, Any]) -> None:
        if happened == "connection.connect_tcp.started":
            self._calls_it = told["host"] == self._host
        elif happened == "connection.connect_tcp.complete" and self._calls_it:
            stream = told["return_value"]
            if is_inside(stream.get_extra_info("server_addr")[0]):
                await stream.aclose()
                raise _LeadsInside


async def post(url: SecretStr, message: dict[str, Any]) -> Answer:
    """Send a message once. Whatever happens is in the answer: an exception would carry the address."""
    try:
        host = httpx.URL(url.get_secret_value()).raw_host.decode("ascii")
        # An address of this machine's own is one that settings allow.
        watched = {} if is_inside(host) else {"trace": _Watched(host)}
        async with (
            asyncio.timeout(TIMEOUT_SECONDS),
            httpx.AsyncClient(timeout=TIMEOUT_SECONDS, follow_redirects=False) as client,
            client.stream("POST", url.get_secret_value(), json=message, extensions=watched) as response,
        ):
            body = b""
            async for piece in response.aiter_bytes():
                body += piece
                if len(body) > _WORDS_READ:
                    break
            return _read(response, body[:_WORDS_READ].decode("utf-8", "replace").strip())
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError):
        return Answer(Outcome.not_told, "Slack cannot be reached")
    except _LeadsInside:
        return Answer(Outcome.refused, "its name leads to this machine or its own network")
    except (httpx.InvalidURL, httpx.UnsupportedProtocol):
        return Answer(Outcome.refused, "the address is none")
    except (TimeoutError, httpx.TimeoutException):
        return Answer(Outcome.unknown, f"Slack did not answer within {TIMEOUT_SECONDS:g} seconds")
    except httpx.HTTPError as error:
        return Answer(Outcome.unknown, f"the connection to Slack broke ({type(error).__name__})")


def _read(response: httpx.Response, body: str) -> Answer:
    status = response.status_code
    if status == httpx.codes.OK and body == _TOLD:
        return Answer(Outcome.told)
    word = f" {body}" if _WORD.fullmatch(body) else ""
    said = f"HTTP {status}{word}"
    if status == httpx.codes.TOO_MANY_REQUESTS:
        return Answer(Outcome.not_told, said, _wait(response))
    if status == httpx.codes.REQUEST_TIMEOUT or response.is_server_error:
        return Answer(Outcome.unknown, said, _wait(response))
    # A redirect is not followed: what is told goes to the address that was set, or nowhere.
    return Answer(Outcome.refused, said)


def _wait(response: httpx.Response) -> int:
    """Seconds, as Slack writes them in Retry-After."""
    said = response.headers.get("Retry-After", "")
    return min(max(int(said), 1), LONGEST_RETRY_SECONDS) if said.isascii() and said.isdigit() else RETRY_AFTER_SECONDS
