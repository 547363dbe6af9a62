"""The file or folder of a benchmark on the volume, in which a layout finds its files by name."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from fusionrun_stages.errors import UserError
from fusionrun_stages.prompts.dataset_files import GZIP, DataFile, check_columns, find_files
from fusionrun_stages.volume.paths import inside_volume

SHOWN = 4
"""Number of files that a message lists."""


@dataclass(frozen=True)
class Source:
    """A benchmark on the volume."""

    path: Path
    where: str
    """Field of the spec, the start of every error."""
    split: str

    def files(self, *patterns: str) -> list[Path]:
        """Return the files whose names match a pattern, anywhere below the folder, sorted.

        Hidden files and folders are left out: clients of the hub keep metadata in them.
        """
        if self.path.is_file():
            found = [inside_volume(self.path)]
        elif self.path.is_dir():
            below = (path for path in self.path.rglob("*") if not _is_hidden(path.relative_to(self.path)))
            found = [inside_volume(path) for path in sorted(below) if path.is_file()]
        else:
            raise UserError(f"{self.where}: {str(self.path)!r}: no such file or folder")
        return [path for path in found if any(fnmatchcase(path.name, pattern) for pattern in patterns)]

    def find(self, *patterns: str, origin: str, prefer: Sequence[str] = ()) -> Path:
        """Return the only file with one of these names.

        Parameters
        ----------
        patterns
            Names, in the order of preference; ``*`` stands for any characters.
        origin
            Where users get the file, for messages.
        prefer
            Words: if there are several files, those with the first of these words in their path are taken, if any has.

        Raises
        ------
        UserError
            If there is no such file, or there are several with different content.
        """
        found = self.find_optional(*patterns, prefer=prefer)
        if found is None:
            hint = ": give the folder that contains all files of the benchmark" if self.path.is_file() else ""
            raise UserError(
                f"{self.where}: {str(self.path)!r}: lacks a file {' or '.join(map(repr, patterns))}: "
                f"get it from {origin}{hint}"
            )
        return found

    def find_optional(self, *patterns: str, prefer: Sequence[str] = ()) -> Path | None:
        """Return the only file with one of these names, as ``find``; None if there is none."""
        for pattern in patterns:
            found = self._preferred(self.files(pattern), prefer)
            contents = {path.read_bytes() for path in found} if len(found) > 1 else set[bytes]()
            if len(contents) > 1:
                names = ", ".join(self._name(path) for path in found[:SHOWN])
                raise UserError(
                    f"{self.where}: {str(self.path)!r}: several files {pattern!r}: {names}: name one in uri"
                )
            if found:
                return found[0]
        return None

    def data_file(self, path: Path) -> DataFile:
        """Return a file, to be read in the format of its name."""
        return DataFile(self._name(path), lambda: path.open("rb"))

    def data_files(self, paths: Iterable[Path], columns: Iterable[str]) -> list[DataFile]:
        """Return files that have rows and these columns; raise UserError if they do not."""
        files = [self.data_file(path) for path in paths]
        try:
            check_columns(files, columns)
        except UserError as error:
            raise UserError(f"{self.where}: {error}") from error
        return files

    def table(self, columns: Iterable[str], prefer: Sequence[str] = (), split: str | None = None) -> list[DataFile]:
        """Return the data files of the split; with ``prefer``, those with a word in their path, if there are any."""
        try:
            files = find_files(self.path, split or self.split)
            files = next((some for word in prefer if (some := [f for f in files if word in f.name])), files)
            check_columns(files, columns)
        except UserError as error:
            raise UserError(f"{self.where}: {error}") from error
        return files

    def _preferred(self, paths: list[Path], prefer: Sequence[str]) -> list[Path]:
        named = {path: self._name(path) for path in paths}
        return next((some for word in prefer if (some := [path for path in paths if word in named[path]])), paths)

    def _name(self, path: Path) -> str:
        return path.name if path == self.path else str(path.relative_to(self.path))


def subject_of_file(name: str) -> str:
    """Return the subject in a file's name such as ``mmlu_anatomy.csv`` or ``anatomy/data-00000-of-00001.arrow``."""
    path = Path(name.removesuffix(GZIP))
    stem = path.stem if path.stem.startswith("mmlu_") else path.parent.name or path.stem
    return stem.removeprefix("mmlu_")


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)
