"""Opening the database of a run folder: whose it is, whether it is damaged, and how it can be accessed.

Nothing is changed before the database is known to be ours. Errors of SQLite that a user can act on become
`StorageError`s wherever they occur: a full disk, a read-only folder, damaged pages.
"""

import shutil
import sqlite3
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import psutil

from layerlimits.errors import StorageError, UserError
from layerlimits.evaluation import schema
from layerlimits.paths import RUN_FILE, can_write
from layerlimits.resources import free_disk, full

# File systems of other machines: SQLite's write-ahead log needs memory that all of its users share.
_NETWORK = frozenset(
    "9p afs beegfs ceph cifs coda fuse.ceph fuse.glusterfs fuse.s3fs fuse.sshfs glusterfs gpfs lustre ncpfs nfs nfs4 "
    "ocfs2 orangefs panfs pvfs2 smb2 smb3 smbfs wekafs".split()
)
# Seconds to wait for another process that is writing.
_WAIT_S = 30
# Less than this is free on a full disk.
_FULL_BYTES = 200_000
_VERIFY = "`layerlimits verify {}` says what can be kept"


class _Cursor(sqlite3.Cursor):
    """A cursor whose errors name the database and what to do."""

    connection: "RunConnection"

    def execute(self, sql: str, parameters: Any = (), /) -> Self:
        try:
            return super().execute(sql, parameters)
        except sqlite3.DatabaseError as error:
            raise self.connection.explained(error) from None

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> Self:
        try:
            return super().executemany(sql, parameters)
        except sqlite3.DatabaseError as error:
            raise self.connection.explained(error) from None

    def __next__(self) -> Any:
        try:
            return super().__next__()
        except sqlite3.DatabaseError as error:
            raise self.connection.explained(error) from None

    def fetchone(self) -> Any:
        try:
            return super().fetchone()
        except sqlite3.DatabaseError as error:
            raise self.connection.explained(error) from None

    def fetchall(self) -> list[Any]:
        try:
            return super().fetchall()
        except sqlite3.DatabaseError as error:
            raise self.connection.explained(error) from None


class RunConnection(sqlite3.Connection):
    """A connection to the database of a run folder; `file` is set after it is opened."""

    file = Path(RUN_FILE)
    _copy: TemporaryDirectory[str] | None = None

    def execute(self, sql: str, parameters: Any = (), /) -> _Cursor:
        """As in `sqlite3.Connection`; errors are explained."""
        return self.cursor(_Cursor).execute(sql, parameters)

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> _Cursor:
        """As in `sqlite3.Connection`; errors are explained."""
        return self.cursor(_Cursor).executemany(sql, parameters)

    def __exit__(self, *exception: Any) -> Any:
        try:
            return super().__exit__(*exception)
        except sqlite3.DatabaseError as error:
            # A commit that fails leaves the transaction open.
            self.rollback()
            raise self.explained(error) from None

    def close(self) -> None:
        """Close the connection, and delete the copy that it has read, if any."""
        super().close()
        if self._copy:
            self._copy.cleanup()

    def explained(self, error: sqlite3.DatabaseError) -> Exception:
        """The error to raise: a `StorageError` if the user can do something about it."""
        return _explained(error, self.file)


def _explained(error: sqlite3.DatabaseError, file: Path) -> Exception:
    # Errors of this module's own calls, such as a value that cannot be stored, have no code of SQLite.
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    again = "the same command continues; what is stored stays"
    # Without room for the index of the write-ahead log, SQLite reports a general error.
    if code == sqlite3.SQLITE_FULL or (code == sqlite3.SQLITE_IOERR and free_disk(file.parent) < _FULL_BYTES):
        return full(file.parent)
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or "no such" in str(error):
        return damaged(file, str(error))
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return StorageError(f"cannot write to {file}: {error}", "make the run folder writable, or use another (--out)")
    if code == sqlite3.SQLITE_IOERR:
        return StorageError(f"failed to read or write {file}: {error}", f"check the disk; {again}")
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StorageError(f"{file} has been in use by another process for {_WAIT_S} seconds", f"wait for it; {again}")
    return error


def damaged(file: Path, reason: str) -> StorageError:
    """The error for a database that is ours, or could be, and cannot be read."""
    return StorageError(f"{file} is damaged: {reason}", _VERIFY.format(file.parent))


def inspect(file: Path) -> int | None:
    """The version of a run folder's database, which is not changed; None if it has no tables yet.

    Raises:
        UserError: The database is of another program, or of another version of layerlimits.
        StorageError: It is damaged.
    """
    if file.is_dir():
        raise UserError(f"{file} is a folder", "choose another run folder")
    if not file.exists() or not file.stat().st_size:
        return None
    try:
        with reading(file) as database:
            (version,) = database.execute("PRAGMA user_version").fetchone()
            (application,) = database.execute("PRAGMA application_id").fetchone()
            found = {
                table: {column for _, column, *_ in database.execute(f"PRAGMA table_info({_quoted(table)})")}
                for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            }
    except sqlite3.DatabaseError as error:
        raise _explained(error, file) from None
    if not found and not application:
        return None
    _check_ours(file, version, application, found)
    return int(version)


def _check_ours(file: Path, version: int, application: int, found: dict[str, set[str]]) -> None:
    other = "choose another run folder (--out); this one was not changed"
    if application not in (0, schema.APPLICATION_ID) or (not application and "responses" not in found):
        tables = ", ".join(sorted(found)[:3])
        raise UserError(f"{file} is a database of another program (tables: {tables}), not of layerlimits", other)
    if version not in (*schema.MIGRATED, schema.VERSION):
        fix = "update layerlimits" if version > schema.VERSION else "use the version that wrote this one"
        raise UserError(
            f"{file.parent} was written by another version of layerlimits (schema {version}, expected "
            f"{schema.VERSION})",
            f"{fix}, or choose another run folder; this one was not changed",
        )
    sealed = {schema.DIGEST} if version == schema.VERSION else set()
    for table in schema.TABLES:
        if table not in found and (version == schema.VERSION or table != "begun"):
            raise damaged(file, f"the table {table} is missing")
        lacking = {*schema.columns(table), *sealed} - found.get(table, set())
        if table in found and lacking:
            raise damaged(file, f"the table {table} has no column {min(lacking)}")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@contextmanager
def reading(file: Path) -> Iterator[sqlite3.Connection]:
    """A connection that changes no file and checks nothing, for databases that may be damaged or of another program."""
    # Without a write-ahead log, SQLite would make one to read; with one, it is needed.
    mode = "mode=ro" if _has_log(file) else "mode=ro&immutable=1"
    with closing(sqlite3.connect(f"{file.absolute().as_uri()}?{mode}", uri=True, timeout=_WAIT_S)) as database:
        yield database


def _log(file: Path) -> Path:
    return file.with_name(f"{file.name}-wal")


def _has_log(file: Path) -> bool:
    return _log(file).exists() and _log(file).stat().st_size > 0


def open_to_write(folder: Path) -> RunConnection:
    """Open the database of a run folder, created or migrated if necessary.

    Raises:
        UserError: See `inspect`; also if the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / RUN_FILE
    version = inspect(file)
    database = _connect(file)
    try:
        _set_journal(database, folder)
        if version is None:
            with database:
                schema.create(database)
        elif version in schema.MIGRATED and schema.migrate(database):
            print(f"note: {folder} was migrated from schema {version} to {schema.VERSION}", file=sys.stderr)
    except BaseException:
        database.close()
        raise
    return database


def open_to_read(folder: Path) -> RunConnection:
    """Open the database of a run folder without changing what it contains; the folder may be read-only.

    Raises:
        UserError: See `inspect`.
    """
    file = folder / RUN_FILE
    inspect(file)
    if can_write(folder):
        database = _connect(file)
        database.execute("PRAGMA query_only=ON")
        return database
    if not _has_log(file):
        return _connect(file, "mode=ro&immutable=1")
    copy = TemporaryDirectory(prefix="layerlimits-")
    for part in (file, _log(file)):
        shutil.copyfile(part, Path(copy.name) / part.name)
    database = _connect(Path(copy.name) / file.name)
    database.file, database._copy = file, copy
    return database


def _connect(file: Path, mode: str = "mode=rwc") -> RunConnection:
    uri = f"{file.absolute().as_uri()}?{mode}"
    try:
        database = sqlite3.connect(uri, uri=True, timeout=_WAIT_S, factory=RunConnection)
    except sqlite3.DatabaseError as error:
        raise _explained(error, file) from None
    assert isinstance(database, RunConnection)
    database.file = file
    return database


def _set_journal(database: RunConnection, folder: Path) -> None:
    """Use a write-ahead log, except on network file systems, where readers and writers wait for each other."""
    kind = file_system(folder)
    wanted = "truncate" if kind in _NETWORK else "wal"
    (used,) = database.execute(f"PRAGMA journal_mode={wanted}").fetchone()
    if used != "wal":
        where = f"on the network file system {kind}" if kind in _NETWORK else "because SQLite cannot share memory here"
        print(f"note: {folder}/{RUN_FILE} uses the journal mode {used} instead of WAL, {where}", file=sys.stderr)


def is_network(folder: Path) -> bool:
    """Whether a folder is on a file system that other hosts may share."""
    return file_system(folder) in _NETWORK


def file_system(folder: Path) -> str:
    """The type of the file system that contains a folder, such as "ext4"; empty if unknown."""
    place = folder.resolve()
    mounts = {Path(part.mountpoint): part.fstype for part in psutil.disk_partitions(all=True)}
    nearest = next((parent for parent in (place, *place.parents) if parent in mounts), None)
    return mounts[nearest].lower() if nearest else ""
