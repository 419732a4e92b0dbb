"""Files and folders that appear whole or not at all.

This file knows the file system. It knows nothing of rows or formats.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from cot_distill.arguments import shown
from cot_distill.errors import ConfigError

__all__ = ["local", "replacing", "replacing_folder"]


def local(path: str | os.PathLike[str]) -> Path:
    """The path as a Path.

    Args:
        path: Where to write.

    Returns:
        The path.

    Raises:
        ConfigError: It is no path, or a URL: a rename, which is what makes a write whole, exists on a file system
            only.
    """
    if not isinstance(path, str | os.PathLike) or not os.fspath(path):
        raise ConfigError(f"a writer takes the path of a file, not {shown(path)}")
    text = os.fspath(path)
    if "://" in text:
        raise ConfigError(f"{text}: only local paths can be written; write there and copy")
    return Path(text)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a file beside ``path`` that takes its place when the block ends, and vanishes if the block fails.

    A symbolic link is followed. Missing parent folders are made.

    Args:
        path: The file to replace or make.

    Yields:
        The open file, for writing bytes.

    Raises:
        ConfigError: The path is a folder.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        raise ConfigError(f"{path} is not a file: give the path of the file to write")
    temporary = _beside(target)
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync(target.parent)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """The same for a folder that holds a dataset.

    Args:
        path: The folder to replace or make.

    Yields:
        The new folder, empty.

    Raises:
        ConfigError: Something else is there, which had better not be deleted.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not _is_dataset(target):
        raise ConfigError(f"{path} exists and is not a saved dataset: give a new folder, or remove it first")
    temporary = _beside(target)
    old = _beside(target)
    temporary.mkdir()
    try:
        yield temporary
        for file in temporary.rglob("*"):
            _sync(file)
        if target.exists():  # a folder cannot be renamed over another
            target.rename(old)
        temporary.rename(target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        if old.exists() and not target.exists():
            old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)
    _sync(target.parent)


def _beside(target: Path) -> Path:
    """A new name in the same folder: short, since a long target name may be as long as names can be."""
    target.parent.mkdir(parents=True, exist_ok=True)
    return target.parent / f".cot_distill-{secrets.token_hex(8)}.tmp"


def _is_dataset(folder: Path) -> bool:
    if not folder.is_dir():
        return False
    names = {entry.name for entry in folder.iterdir()}
    return not names or bool(names & {"dataset_info.json", "dataset_dict.json"})


def _sync(path: Path) -> None:
    """Make a file or folder survive a power cut. Windows cannot open a folder, and needs no such thing."""
    if path.is_dir() and os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
