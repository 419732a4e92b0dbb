"""Tasks from the `datasets` library, in memory and by way of `load_dataset`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest

from cot_distill import sources
from cot_distill.errors import ConfigError, SourceError


def lines(path: Path, *rows: object) -> Path:
    path.write_text(
        "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), encoding="utf-8"
    )
    return path


def ask(n: int) -> dict[str, Any]:
    return {"id": n, "question": f"What is {n} + {n}?", "answer": 2 * n}


def test_datasets_of_every_kind(tmp_path: Path) -> None:
    import datasets

    rows = [ask(n) for n in range(1, 50)]
    in_memory = datasets.Dataset.from_list(rows)
    for data in (in_memory, in_memory.with_format("numpy"), in_memory.to_iterable_dataset(num_shards=3)):
        source = sources.dataset(data)
        assert [(n, task.id, task.answer) for n, task in source.located()] == [
            (n, n, str(2 * n)) for n in range(1, 50)
        ]
        assert len(list(source)) == 49, "opens anew"
        assert source.describe(3) == "dataset, row 3"
    with pytest.raises(ConfigError, match=r"dict of splits \(train, test\).*data\['train'\]"):
        sources.dataset(cast(Any, datasets.DatasetDict(train=in_memory, test=in_memory)))
    with pytest.raises(ConfigError, match="not list"):
        sources.dataset(cast(Any, rows))


def test_the_hub_by_way_of_load_dataset(tmp_path: Path) -> None:
    lines(tmp_path / "train.jsonl", *(ask(n) for n in range(1, 10)))
    lines(tmp_path / "test.jsonl", ask(77))
    source = sources.hub(str(tmp_path))
    assert [(n, task.answer) for n, task in source.located()] == [(n, str(2 * n)) for n in range(1, 10)]
    assert source.describe(2).endswith("(train), row 2")
    assert [task.id for task in sources.hub(str(tmp_path), split="test")] == [77]
    with pytest.raises(SourceError, match=r"\(valid\) cannot be read: .*valid"):
        list(sources.hub(str(tmp_path), split="valid"))
    (tmp_path / "train.jsonl").write_text(json.dumps(ask(1)) + "\n{broken")
    with pytest.raises(SourceError, match=r"\(train\) cannot be read"):
        list(sources.hub(str(tmp_path)))


def test_the_hub_when_it_cannot_be_reached(tmp_path: Path) -> None:
    code = "from cot_distill import sources\nlist(sources.hub('nobody/nothing'))"
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert "SourceError: nobody/nothing (train) cannot be read: " in done.stderr.splitlines()[-1]
