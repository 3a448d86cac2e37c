"""The service over a real port: `with served(app) as base_url`, for tests that need a browser or a client."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from app.cli.connections import Guarded

STARTING_SECONDS = 60


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    """The address of the app on a free loopback port, in a thread with a loop of its own.

    The app must open its own resources there: `create_app(settings)`, without resources of this loop.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(app, http=Guarded, lifespan="on", log_config=None, access_log=False)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            deadline = time.monotonic() + STARTING_SECONDS
            while not server.started:
                if not thread.is_alive() or time.monotonic() > deadline:
                    raise RuntimeError("The service did not start.")
                time.sleep(0.01)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(timeout=30)
