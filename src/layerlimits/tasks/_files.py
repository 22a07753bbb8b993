"""Find a benchmark's files in a data folder: files named by split, or a copy of the hub's repository."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from layerlimits.errors import UserError

SUFFIXES = (".jsonl", ".json", ".parquet", ".jsonl.gz", ".csv")
# Names, modification times and sizes of files, to detect changes.
Stamp = tuple[tuple[str, int, int], ...]

# "test-00000-of-00002.parquet", in older repositories with a hash before the suffix.
_SHARD = re.compile(r"(.+)-(\d{5})-of-(\d{5})(?:-[0-9a-f]+)?\.parquet")
# "test/0000.parquet": the names of files in the hub's branch refs/convert/parquet.
_EXPORTED = re.compile(r"\d{4}\.parquet")


@dataclass(frozen=True)
class Part:
    """One file of a benchmark, corresponding to one split of one configuration on the hub.

    Args:
        file: Name without suffix in the benchmark's folder.
        config: The configuration on the hub; None if there is only one.
        split: The split on the hub; None if the hub does not have it.
        path: File in the hub's repository, if `datasets` cannot load the configuration because it requires a script.
    """

    file: str
    config: str | None
    split: str | None
    path: str | None = None


def files_of(data_dir: Path, folder: str, hub: str, part: Part) -> tuple[Path, ...]:
    """The files of a part, in order: see `find_files`.

    Raises:
        UserError: There is no folder or no file, several files match, or a shard is missing.
    """
    files = find_files(data_dir, folder, hub, part)
    if files:
        return files
    fix = (
        f"set --data-dir to the folder that contains {folder}/, or omit it to read from the hub, or run: "
        f"hf download --repo-type dataset {hub} --local-dir {data_dir / folder}"
    )
    places = _folders(data_dir, folder, hub)
    place = _first_folder(places)
    if place is None:
        others = ", ".join(str(other.relative_to(data_dir)) for other in places[1:])
        raise UserError(f"no such folder: {places[0]} (nor {others} in {data_dir})", fix)
    where, others = f"{part.config or 'data'}/{_hub_name(part)}", ", ".join(SUFFIXES[1:])
    raise UserError(f"{place} has no {part.file}.jsonl (nor {others}), and no {where}-*.parquet", fix)


def find_files(data_dir: Path, folder: str, hub: str, part: Part) -> tuple[Path, ...]:
    """The files of a part, in order: a single file, or all shards of a split; empty if there is none.

    The first existing folder of these is searched: the benchmark's own (`gsm8k`), the dataset id (`openai/gsm8k`), the
    name of the repository (`gsm8k`), and its folder in the hub's cache (`datasets--openai--gsm8k`). In it, a file named
    by the split (`test.jsonl`) precedes the part's path in the hub's repository, that the configuration's folder
    (`main/test-00000-of-00001.parquet`), and that other forms of repositories (`data/test-00000-of-00001.parquet`).

    Args:
        data_dir: Folder with benchmarks, or a copy of the hub's cache.
        folder: Name of the benchmark's own folder.
        hub: Dataset id on the hub.
        part: The configuration and split.

    Raises:
        UserError: Several files match, or a shard is missing.
    """
    place = _first_folder(_folders(data_dir, folder, hub))
    if place is None:
        return ()
    repository = hub.rpartition("/")[2]
    # A repository with another name than the benchmark has one benchmark per configuration, so that a file outside
    # the configuration's folder could belong to another one.
    shared = part.config is not None and repository != folder and place != data_dir / folder
    if not shared and (named := _named(place, part.file)):
        return (named,)
    if part.path and (place / part.path).is_file():
        return (place / part.path,)
    names = [part.file, f"{repository}_{part.file}", f"{repository}-{part.file}"]
    for group, known in _groups(place, part, shared):
        matches = [files for inside in group for name in dict.fromkeys([*names, *known]) for files in _of(inside, name)]
        if len(matches) > 1:
            raise _ambiguous(place, part, matches)
        if matches:
            return matches[0]
    return ()


def stamp(files: Sequence[Path]) -> Stamp:
    """Names, modification times and sizes of files."""
    states = [(str(file), file.stat()) for file in files]
    return tuple((name, state.st_mtime_ns, state.st_size) for name, state in states)


def _folders(data_dir: Path, folder: str, hub: str) -> list[Path]:
    """The folders to look for a benchmark, in this order."""
    cached = data_dir / f"datasets--{hub.replace('/', '--')}"
    return list(dict.fromkeys([data_dir / folder, data_dir / hub, data_dir / hub.rpartition("/")[2], cached]))


def _first_folder(places: Sequence[Path]) -> Path | None:
    """The first folder that exists; of a folder in the hub's cache, the snapshot."""
    for place in places:
        if place.is_dir():
            return _snapshot(place) if (place / "snapshots").is_dir() else place
    return None


def _snapshot(cached: Path) -> Path:
    """The snapshot of the main branch, or the newest one if there is no such branch."""
    main = cached / "refs" / "main"
    if main.is_file() and (snapshot := cached / "snapshots" / main.read_text().strip()).is_dir():
        return snapshot
    snapshots = [folder for folder in (cached / "snapshots").iterdir() if folder.is_dir()]
    return max(snapshots, key=lambda folder: folder.stat().st_mtime_ns, default=cached)


def _groups(place: Path, part: Part, shared: bool) -> Iterator[tuple[list[Path], list[str]]]:
    """Folders that have equal precedence, with further names of the split in them."""
    if part.config:
        # A configuration's folder names files by the hub's split.
        yield [place / part.config], [part.split or part.file]
    if not shared:
        yield [place, place / "data"], []
    if not part.config:
        inside = sorted(folder for folder in place.iterdir() if folder.is_dir() and not folder.name.startswith("."))
        yield [folder for folder in inside if folder.name not in ("data", part.file)], []


def _named(folder: Path, name: str) -> Path | None:
    """The file with this name and the first of `SUFFIXES`."""
    return next((file for suffix in SUFFIXES if (file := folder / f"{name}{suffix}").is_file()), None)


def _of(folder: Path, name: str) -> Iterator[tuple[Path, ...]]:
    """The files of a split in a folder, in each form in which they are there."""
    if named := _named(folder, name):
        yield (named,)
    yield from _shards(folder, name)
    exported = folder / name
    if exported.is_dir():
        files = tuple(sorted(file for file in exported.iterdir() if _EXPORTED.fullmatch(file.name)))
        if files:
            yield files


def _shards(folder: Path, name: str) -> Iterator[tuple[Path, ...]]:
    """The shards of a split, in order, one tuple for each number of shards."""
    counts: dict[int, dict[int, list[Path]]] = {}
    for file in sorted(folder.iterdir()) if folder.is_dir() else ():
        match = _SHARD.fullmatch(file.name)
        if match and match[1] == name:
            counts.setdefault(int(match[3]), {}).setdefault(int(match[2]), []).append(file)
    for count, shards in counts.items():
        missing = [index for index in range(count) if index not in shards]
        if missing:
            raise UserError(
                f"{folder} has {len(shards)} of {count} shards of {name}: number {missing[0]:05d} is missing",
                "download the dataset again",
            )
        if any(len(files) > 1 for files in shards.values()):
            # More than one upload: which files belong together is unknown.
            yield from ((file,) for index in sorted(shards) for file in shards[index])
        else:
            yield tuple(shards[index][0] for index in range(count))


def _hub_name(part: Part) -> str:
    return (part.split if part.config else None) or part.file


def _ambiguous(place: Path, part: Part, matches: Sequence[tuple[Path, ...]]) -> UserError:
    """The error for more than one match: lists them, with the name that is read first."""
    names = [str(files[0].relative_to(place)) for files in matches]
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return UserError(
        f"{place} has {len(matches)} files that could be {part.file}: {shown}",
        f"remove the others, or name the right one {part.file}{_suffix(matches[0][0])} and put it into {place}",
    )


def _suffix(file: Path) -> str:
    return next(suffix for suffix in SUFFIXES if file.name.endswith(suffix))
