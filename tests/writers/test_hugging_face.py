"""A dataset that is never stale, leaves nothing behind, splits without leaks, and is published with its card."""

from __future__ import annotations

import base64
import json
import os
import pickle
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import datasets
import pytest

from cot_distill import formatters
from cot_distill.errors import ConfigError
from cot_distill.types import Sample, Task, Trace
from cot_distill.writers import hugging_face

CARD = "---\ntags:\n- reasoning\nlicense: mit\n---\n\n# Traces\n"


@pytest.fixture(autouse=True)
def temporary_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """All temporary folders of a test in one place that can be looked into.

    Not under ``tmp_path``: `datasets` puts a Unix socket there, whose path may have no more than 107 characters.
    """
    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)


def rows(count: int, answers: int = 1) -> list[dict[str, Any]]:
    samples = (
        Sample(task=Task(id=n, instruction=f"{n}?"), trace=Trace(reasoning=f"R{n}.{a}", answer=f"A{a}"))
        for n in range(count)
        for a in range(answers)
    )
    return [dict(formatters.messages(thinking="reasoning_content")(sample)) for sample in samples]


def test_the_rows_become_a_dataset(capfd: pytest.CaptureFixture[str]) -> None:
    dataset = hugging_face()(rows(3))
    assert isinstance(dataset, datasets.Dataset)
    assert dataset[1]["messages"] == [
        {"role": "user", "content": "1?", "reasoning_content": None},
        {"role": "assistant", "content": "A0", "reasoning_content": "R1.0"},
    ]
    assert capfd.readouterr() == ("", "")  # no progress bar


def test_progress_bars_are_as_before() -> None:
    from datasets.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    assert not are_progress_bars_disabled()
    hugging_face()(rows(1))
    assert not are_progress_bars_disabled()
    disable_progress_bars()
    try:
        hugging_face()(rows(1))
        assert are_progress_bars_disabled()
    finally:
        enable_progress_bars()


def test_it_is_never_stale_and_keeps_no_second_copy(temporary_folder: Path) -> None:
    write = hugging_face()
    grown = [write(rows(count)) for count in (2, 3, 3)]
    assert [len(dataset) for dataset in grown] == [2, 3, 3]
    assert not list(temporary_folder.rglob("*.parquet"))
    assert len(list(temporary_folder.rglob("*.arrow"))) == 3


def test_it_stays_usable_when_only_what_was_made_of_it_is_left() -> None:
    made = hugging_face()(rows(50)).map(lambda row: {"length": len(row["messages"])}).select([3, 1])
    again = pickle.loads(pickle.dumps(made))
    assert again["length"] == made["length"] == [2, 2]
    assert again.map(lambda row: {"two": row["length"]})["two"] == [2, 2]


def test_an_error_half_way_surfaces_and_leaves_nothing(temporary_folder: Path) -> None:
    def broken() -> Iterator[dict[str, int]]:
        yield from ({"n": n} for n in range(700))
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        hugging_face(save_to_disk=temporary_folder / "saved")(broken())
    assert not list(temporary_folder.iterdir())


def test_no_rows_are_refused(temporary_folder: Path) -> None:
    with pytest.raises(ConfigError, match="no rows"):
        hugging_face(save_to_disk=temporary_folder / "saved")([])
    assert not list(temporary_folder.iterdir())


@pytest.mark.parametrize(("size", "count"), [(0.2, 20), (0.001, 1), (7, 7), (99, 99)])
def test_a_split_is_whole_and_repeatable(size: float, count: int) -> None:
    split = hugging_face(test_size=size, seed=1)(rows(100))
    assert isinstance(split, datasets.DatasetDict)
    assert (len(split["train"]), len(split["test"])) == (100 - count, count)
    both = [row["messages"][0]["content"] for part in ("train", "test") for row in split[part]]
    assert sorted(both) == sorted(f"{n}?" for n in range(100))
    assert hugging_face(test_size=size, seed=1)(rows(100))["test"][:] == split["test"][:]
    assert hugging_face(test_size=size, seed=2)(rows(100))["test"][:] != split["test"][:]


LAYOUTS = [
    formatters.messages,
    formatters.prompt_completion,
    formatters.prompt_completion(plain=True),
    formatters.alpaca,
    formatters.sharegpt,
]


@pytest.mark.parametrize("formatter", LAYOUTS)
def test_answers_to_one_question_stay_on_one_side(formatter: Any) -> None:
    samples = (
        Sample(task=Task(instruction=f"{n}?"), trace=Trace(reasoning=f"R{a}", answer="A"))
        for a in range(4)
        for n in range(25)
    )
    split = hugging_face(test_size=0.2)(map(formatter, samples))

    def questions(part: str) -> set[str]:
        first = next(iter({"messages", "prompt", "instruction", "conversations"} & set(split[part].column_names)))
        return {repr(row[first][0] if isinstance(row[first], list) else row[first]) for row in split[part]}

    assert (len(split["train"]), len(split["test"])) == (80, 20)
    assert len(questions("train")) == 20
    assert len(questions("test")) == 5
    assert not questions("train") & questions("test")


def test_rows_of_an_unknown_layout_are_split_one_by_one() -> None:
    split = hugging_face(test_size=3)({"text": f"{n}"} for n in range(10))
    assert (len(split["train"]), len(split["test"])) == (7, 3)


@pytest.mark.parametrize("size", [0, -1, 1.5, float("nan"), float("inf")])
def test_a_test_size_that_is_none_is_refused_at_once(size: float) -> None:
    with pytest.raises(ConfigError, match="test_size"):
        hugging_face(test_size=size)


@pytest.mark.parametrize("size", [8, 9, 0.9])
def test_a_split_without_training_rows_is_refused(size: float) -> None:
    with pytest.raises(ConfigError, match="leaves nothing to train on: there are 8 rows that ask 1 questions"):
        hugging_face(test_size=size)(rows(1, answers=8))


@pytest.mark.parametrize("size", [None, 0.5])
def test_saved_to_disk_whole_and_again(tmp_path: Path, size: float | None) -> None:
    for count in (4, 6):
        returned = hugging_face(save_to_disk=tmp_path / "saved", test_size=size)(rows(count))
        saved = datasets.load_from_disk(str(tmp_path / "saved"))
        assert type(saved) is type(returned)
        parts = [(saved, returned)] if size is None else [(saved[part], returned[part]) for part in ("train", "test")]
        assert sum(len(one) for one, _ in parts) == count
        assert all(one[:] == other[:] for one, other in parts)
    assert [entry.name for entry in tmp_path.iterdir()] == ["saved"]


def test_a_folder_of_something_else_is_refused_before_any_row_is_read(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()

    def unread() -> Iterator[dict[str, int]]:
        yield pytest.fail("read")

    with pytest.raises(ConfigError, match="not a saved dataset"):
        hugging_face(save_to_disk=tmp_path)(unread())


@pytest.mark.parametrize(
    ("card", "message"),
    [
        (None, "push_to_hub needs `card`"),
        ("# Traces", "must begin with YAML"),
        ("---\ntags: [\n---\n", "YAML of the dataset card cannot be read"),
        ("---\n- tags\n---\n", "YAML of the dataset card cannot be read"),
        (CARD.replace("- reasoning", "- cot-distill-demo"), "written by a program, not by a model"),
        ("---\ntags: cot-distill-demo\n---\n", "written by a program, not by a model"),
    ],
)
def test_what_must_not_be_published_is_refused_at_once(card: str | None, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        hugging_face(push_to_hub="me/traces", card=card)


def test_a_demo_may_be_published_on_purpose() -> None:
    card = CARD.replace("- reasoning", "- cot-distill-demo")
    assert hugging_face(push_to_hub="me/traces", card=card, allow_demo=True)


class Hub(BaseHTTPRequestHandler):
    """As much of the Hub as pushing a card needs."""

    requests: ClassVar[list[tuple[str, str | None, bytes]]]

    def do_GET(self) -> None:  # older releases ask how the repository stores files
        self.reply({"id": "me/traces", "xetEnabled": False, "siblings": [], "tags": [], "private": True})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.requests.append((self.path, self.headers.get("authorization"), body))
        commit = f"http://{self.headers['host']}/datasets/me/traces/commit/1"
        replies: dict[str, dict[str, Any]] = {
            "validate-yaml": {"errors": [], "warnings": []},
            "preupload": {"files": [{"path": "README.md", "uploadMode": "regular", "shouldIgnore": False}]},
            "commit": {"commitUrl": commit, "commitOid": "1" * 40, "success": True},
        }
        self.reply(next(reply for word, reply in replies.items() if f"/{word}" in self.path))

    def reply(self, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


@pytest.fixture
def hub() -> Iterator[tuple[str, list[tuple[str, str | None, bytes]]]]:
    class Handler(Hub):
        requests: ClassVar = []

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", Handler.requests
        server.shutdown()
        thread.join()


SCRIPT = """
import os, sys
from pathlib import Path
import datasets
from huggingface_hub import DatasetCard
from cot_distill.writers import hugging_face

def push(self, repo_id, **settings):
    print("pushed", len(self), repo_id, settings)

datasets.Dataset.push_to_hub = push
# Older releases ask huggingface.co whether the card is valid, whatever the endpoint.
DatasetCard.validate = lambda self, repo_type=None: None
card = sys.argv[1]
writer = hugging_face(push_to_hub="me/traces", card=card, token="hf_secret")
assert "hf_secret" not in repr(writer)
dataset = writer([{"n": 1}, {"n": 2}])
print(dataset.map(lambda row: {"m": row["n"]}, num_proc=2)["m"][:], flush=True)
if os.fork() == 0:
    sys.exit()  # with all that is done at exit: the files are not this process's
os.wait()
print(Path(dataset.cache_files[0]["filename"]).exists())
"""


def test_published_with_its_card_and_nothing_is_left_behind(
    tmp_path: Path, temporary_folder: Path, hub: tuple[str, list[tuple[str, str | None, bytes]]]
) -> None:
    url, requests = hub
    home = tmp_path / "home"
    environment = {**os.environ, "HF_ENDPOINT": url, "HF_HOME": str(home), "TMPDIR": str(temporary_folder)}
    environment["HF_DATASETS_DISABLE_PROGRESS_BARS"] = "1"
    command = [sys.executable, "-c", SCRIPT, CARD]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "pushed 2 me/traces {'private': True, 'token': 'hf_secret'}",
        "[1, 2]",
        "True",
    ]
    assert "/api/datasets/me/traces/commit/main" in requests[-1][0]
    assert requests[-1][1] == "Bearer hf_secret"
    committed = [json.loads(line) for line in requests[-1][2].splitlines()]
    (readme,) = (line["value"] for line in committed if line["key"] == "file")
    assert readme["path"] == "README.md"
    assert base64.b64decode(readme["content"]).decode() == CARD
    assert not list(temporary_folder.iterdir())
    assert not list(home.rglob("*.arrow"))
    assert not list(home.rglob("*.parquet"))
