"""A file or folder appears whole or not at all, and what was there before survives a failure."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cot_distill.errors import ConfigError
from cot_distill.writers._files import local, replacing, replacing_folder


class Broken(Exception):
    pass


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_a_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "file"
    with replacing(path) as file:
        file.write(b"new")
        assert not path.exists()
    assert path.read_bytes() == b"new"
    assert names(path.parent) == ["file"]


@pytest.mark.parametrize("error", [Broken, KeyboardInterrupt])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail() -> None:
        with replacing(path) as file:
            file.write(b"new")
            file.flush()
            raise error

    with pytest.raises(error):
        fail()
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere" / "file")
    with replacing(tmp_path / "link") as file:
        file.write(b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "elsewhere" / "file").read_bytes() == b"new"


def test_a_file_has_the_usual_permissions(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    with replacing(tmp_path / "file"):
        pass
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_name_may_be_as_long_as_the_file_system_takes(tmp_path: Path) -> None:
    with replacing(tmp_path / ("x" * 255)):
        pass
    assert names(tmp_path) == ["x" * 255]


def test_a_folder_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not a file"), replacing(tmp_path):
        pytest.fail("entered")


def test_urls_are_refused() -> None:
    with pytest.raises(ConfigError, match="s3://bucket/x: only local paths"):
        local("s3://bucket/x")


def test_a_folder_replaces_a_dataset(tmp_path: Path) -> None:
    path = tmp_path / "data"
    for text in ("one", "two"):
        with replacing_folder(path) as folder:
            (folder / "dataset_info.json").write_text(text)
            (folder / "train").mkdir()
            (folder / "train" / "part").write_text(text)
        assert (path / "train" / "part").read_text() == text
        assert names(tmp_path) == ["data"]


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    with replacing_folder(tmp_path / "data") as folder:
        (folder / "dataset_dict.json").touch()
    assert names(tmp_path / "data") == ["dataset_dict.json"]


def test_a_failure_leaves_the_old_folder(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.mkdir()
    (path / "dataset_info.json").write_text("old")

    def fail() -> None:
        with replacing_folder(path) as folder:
            (folder / "dataset_info.json").write_text("new")
            raise Broken

    with pytest.raises(Broken):
        fail()
    assert (path / "dataset_info.json").read_text() == "old"
    assert names(tmp_path) == ["data"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has other rules for renaming")
def test_a_folder_that_cannot_be_put_in_place_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.mkdir()
    (path / "dataset_info.json").write_text("old")
    with pytest.raises(FileNotFoundError), replacing_folder(path) as folder:
        folder.rmdir()
    assert (path / "dataset_info.json").read_text() == "old"
    assert names(tmp_path) == ["data"]


def test_a_folder_of_something_else_is_not_deleted(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ConfigError, match="not a saved dataset"), replacing_folder(tmp_path):
        pytest.fail("entered")
    assert names(tmp_path) == ["thesis.tex"]
