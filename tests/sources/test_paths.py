"""From a path to a source: formats, directories, patterns, and paths that lead nowhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cot_distill import sources
from cot_distill.errors import SourceError

QA = {"question": "What is 2 + 2?", "answer": 4}


def lines(path: Path, *rows: object) -> Path:
    path.write_text(
        "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), encoding="utf-8"
    )
    return path


def ask(n: int) -> dict[str, Any]:
    return {"id": n, "question": f"What is {n} + {n}?", "answer": 2 * n}


def test_a_directory_or_a_pattern_of_files(tmp_path: Path) -> None:
    shards = tmp_path / "shards"
    shards.mkdir()
    lines(shards / "b.jsonl", ask(3), "", ask(4))
    lines(shards / "a.jsonl", ask(1), ask(2))
    (shards / "aa.jsonl").touch()
    (shards / "README.md").write_text("not data")
    for place in (shards, shards / "*.jsonl"):
        source = sources.read(place)
        assert [(position, task.id) for position, task in source.located()] == [(1, 1), (2, 2), (3, 3), (5, 4)]
        assert [source.describe(n) for n in (2, 3, 5)] == ["a.jsonl, line 2", "b.jsonl, line 1", "b.jsonl, line 3"]
        assert [task.id for task in source] == [1, 2, 3, 4]
    assert sources.read(shards).name == "shards"
    lines(shards / "c.jsonl", ask(5), "{")
    with pytest.raises(SourceError, match=r"^c.jsonl, line 2: not JSON"):
        list(sources.read(shards))


def test_directories_without_data(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"there is no data file in .*\.jsonl"):
        sources.read(tmp_path)
    lines(tmp_path / "a.jsonl", QA)
    lines(tmp_path / "b.csv", "question")
    with pytest.raises(SourceError, match=r"holds \.csv and \.jsonl files.*pattern"):
        sources.read(tmp_path)
    with pytest.raises(SourceError, match=r"is a directory: sources.read"):
        sources.jsonl(tmp_path)


def test_a_directory_of_save_to_disk_says_how_to_load_it(tmp_path: Path) -> None:
    from datasets import Dataset

    Dataset.from_list([QA]).save_to_disk(tmp_path / "saved")
    with pytest.raises(SourceError, match="load_from_disk"):
        sources.read(tmp_path / "saved")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("missing.jsonl", "cannot read 'missing.jsonl': No such file or directory$"),
        ("openai/gsm8k", r"sources.hub\('openai/gsm8k'\)"),
        ("gsm8k", r"sources.hub\('gsm8k'\)"),
        ("https://example.org/a.jsonl", "only local files"),
        ("What is 2 + 2?", "to ask a question, put it in a list"),
        ("What is 2**3? " * 50, "to ask a question, put it in a list"),
        ("a\0b", "cannot read"),
        ("*.jsonl", "cannot read"),
    ],
)
def test_paths_that_lead_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, message: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceError, match=message):
        sources.read(path)


def test_missing_files_and_unknown_formats(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="No such file"):
        sources.csv(tmp_path / "missing.csv")
    unknown = lines(tmp_path / "tasks.txt", QA)
    with pytest.raises(SourceError, match=r"tasks.txt: the format is not known .*sources.jsonl\(path\)"):
        sources.read(unknown)
    assert len(list(sources.jsonl(unknown))) == 1
    gone = lines(tmp_path / "gone.jsonl", QA)
    source = sources.read(gone)
    gone.unlink()
    with pytest.raises(SourceError, match=r"gone.jsonl cannot be read"):
        list(source)
