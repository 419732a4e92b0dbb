"""Whatever a program leaves in its directory, and however it is built, it is counted and removed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from cot_distill.sandbox.inside.leftovers import empty, is_too_much
from cot_distill.sandbox.workplaces import Workplace


def test_everything_is_removed_and_nothing_else(tmp_path: Path) -> None:
    outside, place = tmp_path / "outside", tmp_path / "place"
    outside.mkdir()
    (outside / "kept").write_text("x")
    (place / "a" / "b").mkdir(parents=True)
    (place / "a" / "b" / "file").write_text("x")
    (place / "link").symlink_to(outside)
    (place / "a" / "link").symlink_to(outside / "kept")
    (place / "closed").mkdir(0)
    (place / "half" / "closed").mkdir(parents=True)
    (place / "half").chmod(0o100)
    empty(str(place))
    assert list(place.iterdir()) == []
    assert (outside / "kept").read_text() == "x"


def test_depth_costs_neither_recursion_nor_long_paths(tmp_path: Path) -> None:
    here = os.getcwd()
    try:
        os.chdir(tmp_path)
        for _ in range(1500):
            os.mkdir("deeper")
            os.chdir("deeper")
        os.chdir(here)
        assert is_too_much(str(tmp_path))
        empty(str(tmp_path))
        assert list(tmp_path.iterdir()) == []
    finally:
        os.chdir(here)
        subprocess.run(["rm", "-rf", str(tmp_path)], check=True)  # pytest itself could not remove it


def test_what_cannot_be_listed_is_counted_too(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir()
    for number in range(1100):
        (tmp_path / "closed" / str(number)).touch()
    (tmp_path / "closed").chmod(0o300)
    assert is_too_much(str(tmp_path))


def test_many_and_large_files_are_too_much(tmp_path: Path) -> None:
    assert not is_too_much(str(tmp_path))
    for number in range(990):
        (tmp_path / str(number)).touch()
    assert not is_too_much(str(tmp_path))
    for number in range(20):
        (tmp_path / f"more{number}").touch()
    assert is_too_much(str(tmp_path))
    assert is_too_much(str(tmp_path / "nowhere")) is False
    empty(str(tmp_path))
    with (tmp_path / "large").open("wb") as file:
        file.truncate(65 << 20)
    assert is_too_much(str(tmp_path))


def test_a_workplace_lasts_until_it_is_removed_or_nobody_holds_it() -> None:
    one, other = Workplace(None), Workplace(None)
    assert Path(one.path).is_dir()
    other.let_go()  # as if its process had been killed
    Workplace(None).remove()
    assert Path(one.path).is_dir()
    assert not Path(other.path).exists()
    one.remove()
    one.remove()
    assert not Path(one.path).exists()
