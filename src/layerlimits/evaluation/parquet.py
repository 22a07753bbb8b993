"""A run folder's tables as Parquet files, one per table, without loss: they can be read back into a run folder."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from layerlimits.errors import UserError
from layerlimits.evaluation import schema
from layerlimits.evaluation.store import Store
from layerlimits.version import __version__

# Rows per row group, which is what a reader holds in memory.
_BATCH = 10_000
_TYPES = {"TEXT": pa.string(), "INTEGER": pa.int64(), "REAL": pa.float64()}
# Metadata of each file.
_FORMAT, _SCHEMA, _ROWS = b"layerlimits", b"schema", b"rows"
_FIX = "copy the folder again, or export the run again"


def write_tables(store: Store, folder: Path) -> dict[str, int]:
    """Write every table of a run folder to `TABLE.parquet`, in one consistent state. The last column is the digest.

    Args:
        store: The run folder.
        folder: An existing folder for the files.
    Returns:
        Number of rows by table.
    """
    counts: dict[str, int] = {}
    with store.snapshot():
        for table in schema.TABLES:
            counts[table] = store.count(table)
            about = {_FORMAT: __version__.encode(), _SCHEMA: b"%d" % schema.VERSION, _ROWS: b"%d" % counts[table]}
            form = _form(table).with_metadata(about)
            rows = iter(schema.sealed(table, store.rows(table)))
            with pq.ParquetWriter(folder / f"{table}.parquet", form, compression="zstd") as writer:
                while batch := list(islice(rows, _BATCH)):
                    pairs = zip(zip(*batch, strict=True), form.types, strict=True)
                    arrays = [pa.array(column, kind) for column, kind in pairs]
                    writer.write_table(pa.Table.from_arrays(arrays, schema=form))
    return counts


def read_tables(folder: Path, store: Store) -> dict[str, int]:
    """Read the files of `write_tables` into the store of a new run folder.

    Returns:
        Number of rows by table.
    Raises:
        UserError: A file is missing, truncated, altered, or not of this kind. The store may then contain a part.
    """
    return {table: _read(folder / f"{table}.parquet", table, store) for table in schema.TABLES}


def holds_tables(folder: Path) -> bool:
    """Whether a folder looks like one of `write_tables`."""
    return (folder / "responses.parquet").is_file()


def _form(table: str) -> pa.Schema:
    fields = [(name, _TYPES[kind]) for name, kind in schema.TABLES[table][0].items()]
    return pa.schema([*fields, (schema.DIGEST, pa.string())])


def _read(file: Path, table: str, store: Store) -> int:
    try:
        with pq.ParquetFile(file) as content:
            expected = _check(file, table, content)
            count = 0
            for batch in content.iter_batches(_BATCH):
                rows = list(_checked(file, table, batch, count))
                count += store.add_rows(table, rows)
    except FileNotFoundError:
        raise UserError(f"{file} is missing", _FIX) from None
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{file} is damaged: {str(error).splitlines()[0]}", _FIX) from None
    if count != expected:
        raise UserError(f"{file} has {count:,} different rows, not {expected:,}", _FIX)
    return count


def _check(file: Path, table: str, content: pq.ParquetFile) -> int:
    """Check the columns and the version of a file; returns the number of rows that it should have."""
    about, form = content.schema_arrow.metadata or {}, content.schema_arrow.remove_metadata()
    if _FORMAT not in about or not form.equals(_form(table)):
        raise UserError(f"{file} is not a table of a run folder", "give a folder that `export --parquet` wrote")
    version = about.get(_SCHEMA, b"").decode(errors="replace")
    if version != str(schema.VERSION):
        made_by = about[_FORMAT].decode(errors="replace")[:40]
        raise UserError(
            f"{file} was written by layerlimits {made_by} (schema {version[:10]}, expected {schema.VERSION})",
            "import it with that version",
        )
    return int(about[_ROWS]) if about.get(_ROWS, b"").isdigit() else content.metadata.num_rows


def _checked(file: Path, table: str, batch: pa.RecordBatch, start: int) -> Iterator[tuple[Any, ...]]:
    """The rows of a batch without their digests."""
    columns = [column.to_pylist() for column in batch.columns]
    for place, (*values, digest) in enumerate(zip(*columns, strict=True)):
        if digest != schema.digest(table, values):
            raise UserError(f"{file} was altered: row {start + place + 1} does not match its hash", _FIX)
        yield tuple(values)
