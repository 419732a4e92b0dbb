"""Benchmarks come as files, datasets and rows; what cannot be read is told with its place."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cot_distill import sources
from cot_distill.errors import ConfigError, SourceError
from cot_distill.filters._benchmarks import open_benchmark, texts
from cot_distill.testing import FaultServer
from cot_distill.types import Message, Task

ROWS = [{"problem": "What is 2 + 2?", "answer": "4"}, {"problem": "Wie weit,\nund wohin?", "answer": "über 5"}]


def read(benchmark: Any) -> tuple[str, str, list[tuple[int, Any]]]:
    [rows] = open_benchmark(benchmark, "benchmark 1")
    return rows.name, rows.unit, list(rows.rows)


def as_jsonl() -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n\n" for row in ROWS)


FILES = {
    "a.jsonl": (as_jsonl(), "line", [1, 3]),
    "a.ndjson": (as_jsonl(), "line", [1, 3]),
    "a.JSON": (json.dumps(ROWS), "row", [1, 2]),
    "b.json": (json.dumps({"version": 1, "data": ROWS}), "row", [1, 2]),
    "a.csv": ('problem,answer\nWhat is 2 + 2?,4\n"Wie weit,\nund wohin?",über 5\n', "line", [2, 4]),
    "a.tsv": ('problem\tanswer\nWhat is 2 + 2?\t4\n"Wie weit,\nund wohin?"\tüber 5\n', "line", [2, 4]),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_file_is_read_in_the_format_of_its_name(name: str, packed: bool, mark: str, tmp_path: Path) -> None:
    text, unit, places = FILES[name]
    path = tmp_path / (name + ".gz" * packed)
    content = (mark + text).encode()
    path.write_bytes(gzip.compress(content) if packed else content)
    for given in (path, str(path)):
        assert read(given) == (path.name, unit, list(zip(places, ROWS, strict=True)))


def test_parquet_and_plain_text(tmp_path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist(ROWS * 50), tmp_path / "a.parquet")
    name, unit, rows = read(tmp_path / "a.parquet")
    assert (name, unit) == ("a.parquet", "row")
    assert rows == list(enumerate(ROWS * 50, start=1))
    (tmp_path / "a.txt").write_text("One question?\n\n  \nAnother.\n")
    assert read(tmp_path / "a.txt") == ("a.txt", "line", [(1, "One question?"), (4, "Another.")])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"a": "b"}\n{"a": \n', r"a\.jsonl, line 2: not JSON"),
        ("a.jsonl", b'{"a": "b"}\n{"a": "\xff"}\n', r"a\.jsonl, after row \d: .*utf-8"),
        ("a.json", b'[{"a": "b"}', r"a\.json, after row 0: "),
        ("a.json", b'{"a": "b"}', r"neither a list of rows nor an object with one list"),
        ("a.json", b'"a"', r"neither a list of rows nor an object with one list"),
        ("a.json", b'{"a": [1], "b": [2]}', r"neither a list of rows nor an object with one list"),
        ("a.csv", b'a,b\n1,2\n"3,4\n', r"a\.csv, after row 2: .*end of data"),
        ("a.parquet", b"PAR1 and no more", r"a\.parquet, after row 0: "),
        ("a.jsonl.gz", gzip.compress(b'{"a": "b"}\n' * 9999)[:-20], r"a\.jsonl\.gz, after row \d+: "),
        ("a.jsonl.gz", b"not packed", r"a\.jsonl\.gz, after row 0: "),
    ],
)
def test_a_damaged_file_is_told_with_its_place(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=message):
        read(tmp_path / name)


@pytest.mark.parametrize("name", ["nothing.jsonl", "bench/nothing.jsonl", "a b/c", "nothing", Path("some/where")])
def test_a_file_that_is_not_there_is_no_dataset(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceError, match="there is no benchmark '"):
        read(name)


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.xlsx").touch()
    with pytest.raises(ConfigError, match=r"a\.xlsx: the format is not known by this name \(\.jsonl, "):
        read(tmp_path / "a.xlsx")


# --- datasets ---


@pytest.fixture
def owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where ``owner/name`` is a dataset that needs no network: a folder of that name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "owner" / "name"
    folder.mkdir(parents=True)
    return folder


def write(folder: Path, **splits: list[dict[str, str]]) -> None:
    for split, rows in splits.items():
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_of_a_dataset_the_test_split_is_read(owner: Path) -> None:
    write(owner, train=ROWS, test=ROWS[:1])
    assert read("owner/name") == ("owner/name (test)", "row", [(1, ROWS[0])])


def test_a_single_split_is_read_whatever_its_name(owner: Path) -> None:
    write(owner, train=ROWS)
    assert read("owner/name") == ("owner/name (train)", "row", [(1, ROWS[0]), (2, ROWS[1])])


def test_splits_among_which_one_must_choose_are_named(owner: Path) -> None:
    write(owner, train=ROWS, validation=ROWS)
    with pytest.raises(ConfigError, match="owner/name has the splits train, validation: pass one of them"):
        read("owner/name")


def test_a_dataset_that_cannot_be_loaded(owner: Path) -> None:
    with pytest.raises(SourceError, match=r"the dataset owner/name cannot be loaded: .*pass the dataset itself"):
        read("owner/name")


@pytest.mark.parametrize("answers", [False, True])
def test_without_a_way_to_the_hub_it_is_told_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answers: bool
) -> None:
    import datasets
    import huggingface_hub

    asked = []

    def load_dataset(name: str, **_options: Any) -> None:
        asked.append(name)
        raise FileNotFoundError("no such dataset")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    with FaultServer(faults=lambda request: "404") as server:
        host = server.base_url.removesuffix("/v1")
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", host if answers else "http://127.0.0.1:9")
        with pytest.raises(SourceError) as caught:
            next(open_benchmark("owner/name", "benchmark 1"))
    if answers:  # then what the Hub has to say is for `datasets` to tell
        assert asked == ["owner/name"]
        assert "the dataset owner/name cannot be loaded: no such dataset" in str(caught.value)
    else:
        assert asked == []
        assert "the Hub cannot be reached for the dataset owner/name" in str(caught.value)
        assert "HF_HUB_OFFLINE=1" in str(caught.value)


def test_a_dataset_that_breaks_off_is_told_with_its_place(owner: Path) -> None:
    good = "".join(json.dumps({"problem": f"{number} " * 500}) + "\n" for number in range(8000))
    (owner / "train.jsonl").write_text(good + "{broken\n")
    [rows] = open_benchmark("owner/name", "benchmark 1")
    with pytest.raises(SourceError, match=r"the dataset owner/name \(train\) cannot be read after row \d+: "):
        list(rows.rows)


def test_objects_of_datasets(tmp_path: Path) -> None:
    import datasets

    data = datasets.Dataset.from_list(ROWS)
    numbered = list(enumerate(ROWS, start=1))
    assert read(data.with_format("numpy")) == ("benchmark 1", "row", numbered)
    assert read(data.to_iterable_dataset()) == ("benchmark 1", "row", numbered)
    assert read({"mine": data}) == ("mine", "row", numbered)
    both = datasets.DatasetDict(train=data, test=data.select([0]))
    assert read(both) == ("benchmark 1 (test)", "row", numbered[:1])
    (tmp_path / "some_rows.json").write_text(json.dumps(ROWS))
    loaded = datasets.load_dataset(
        "json", data_files=str(tmp_path / "some_rows.json"), split="train", streaming=True, cache_dir=str(tmp_path)
    )
    assert read(loaded) == ("json (train)", "row", numbered)


# --- rows ---


def test_any_iterable_of_rows(tmp_path: Path) -> None:
    def generated() -> Iterator[str]:
        yield "What is 2 + 2?"

    assert read(["What is 2 + 2?"]) == ("benchmark 1", "row", [(1, "What is 2 + 2?")])
    assert read(generated()) == ("benchmark 1", "row", [(1, "What is 2 + 2?")])
    assert read(ROWS) == ("benchmark 1", "row", list(enumerate(ROWS, start=1)))
    (tmp_path / "a.jsonl").write_text(as_jsonl())
    name, _, rows = read(sources.read(tmp_path / "a.jsonl"))
    assert name == "a.jsonl"
    assert [list(texts(row, None)) for _, row in rows] == [[row["problem"]] for row in ROWS]


def test_names_for_several(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("One question?\n")
    opened = list(open_benchmark({"aime": ["2 + 2?"], "mine": tmp_path / "a.txt"}, "benchmark 1"))
    assert [(rows.name, list(rows.rows)) for rows in opened] == [
        ("aime", [(1, "2 + 2?")]),
        ("mine", [(1, "One question?")]),
    ]


@pytest.mark.parametrize("text", ["a.jsonl", "data/a.csv.gz", "openai/gsm8k", "./x/y"])
def test_a_path_in_a_list_of_texts_is_noticed(text: str) -> None:
    with pytest.raises(ConfigError, match="stands in a list of texts: pass each path as an argument of its own"):
        read([text])


def test_what_is_no_benchmark_is_refused() -> None:
    pandas = pytest.importorskip("pandas")
    for wrong in (7, None, b"text", pandas.DataFrame(ROWS)):
        with pytest.raises(ConfigError, match=r"benchmark 1: a benchmark is a path, .*, not \w+"):
            read(wrong)


# --- texts ---


def test_the_texts_of_a_row() -> None:
    row = {"q": "a", "n": 1, "choices": ["b", "c"], "turns": [{"role": "user", "content": "d"}], "none": None}
    assert list(texts(row, None)) == ["a", "b", "c", "user", "d"]
    assert list(texts(row, ("choices", "q"))) == ["b", "c", "a"]
    assert list(texts("plain", ("q",))) == ["plain"]
    with pytest.raises(KeyError):
        list(texts(row, ("no",)))


def test_of_a_task_the_question_is_taken() -> None:
    turns = (
        Message(role="user", content="a"),
        Message(role="assistant", content="b"),
        Message(role="user", content="c"),
    )
    task = Task(messages=turns, system="s", answer="x", metadata={"hint": "y"})
    assert list(texts(task, None)) == ["a\n\nb\n\nc"]
