"""A Postgres of a test's own, to be stopped, killed and frozen."""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from unittest.mock import patch

from app import embedded
from app.embedded import EmbeddedPostgres
from tests.cli.test_serve import free_port
from tests.jobs.processes import children_of, is_alive


class PrivatePostgres:
    """The packaged one, on a free port of this machine beside its socket.

    port : the same for as long as it lives; url : of its database `postgres`
    """

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"
        self._server = EmbeddedPostgres(folder, durable=False)

    @property
    def pgdata(self) -> Path:
        return self._server.folder / "pgdata"

    def start(self) -> None:
        own = {"listen_addresses": "127.0.0.1", "port": str(self.port), "max_connections": "40"}
        trusting = tuple(each.replace("--auth-host=reject", "--auth-host=trust") for each in embedded.INITDB)
        with patch.dict(embedded.SETTINGS, own), patch.object(embedded, "INITDB", trusting):
            self._server.start()

    def stop(self) -> None:
        """Whatever state it is in: as an administrator stops it, cutting everyone off."""
        self.thaw()
        self._server.stop()

    def stand_by(self) -> None:
        """It starts again as a standby, which only reads, until it is promoted (pg_promote)."""
        self.stop()
        signal_file, owner = self.pgdata / "standby.signal", self.pgdata.stat()
        signal_file.touch()
        os.chown(signal_file, owner.st_uid, owner.st_gid)
        self.start()

    @property
    def pid(self) -> int:
        """Of the postmaster, which lets connections in and starts a process for each."""
        return int((self.pgdata / "postmaster.pid").read_text().split()[0])

    def kill(self) -> None:
        """As a machine that loses its power does."""
        pid = self.pid
        everyone = [pid, *children_of(pid)]
        for each in everyone:
            with suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)
        while any(is_alive(each) for each in everyone):
            time.sleep(0.01)
        # Where nobody collects the dead, Postgres would take the number in it for a server that runs.
        (self._server.folder / "socket" / f".s.PGSQL.{self.port}.lock").unlink()

    def freeze(self, *, connections: bool = False) -> None:
        """It lets nobody in any more, and does not say so. connections : those there are, too"""
        pid = self.pid
        for each in [pid, *(children_of(pid) if connections else ())]:
            os.kill(each, signal.SIGSTOP)

    def thaw(self) -> None:
        with suppress(FileNotFoundError):
            pid = self.pid
            for each in [pid, *children_of(pid)]:
                with suppress(ProcessLookupError):
                    os.kill(each, signal.SIGCONT)
