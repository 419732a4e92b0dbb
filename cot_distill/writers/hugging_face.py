"""Rows as a ``datasets.Dataset``, also saved to disk or pushed to the Hub.

This file knows the libraries ``datasets`` and ``huggingface_hub``. It writes nothing into their caches: a dataset
is built from a Parquet file of our own, in a temporary folder of its own.
"""

from __future__ import annotations

import atexit
import math
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from hashlib import blake2b
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cot_distill.arguments import check_number, check_text, shown
from cot_distill.errors import ConfigError
from cot_distill.protocols import Row, Writer
from cot_distill.writers._files import local, replacing_folder
from cot_distill.writers._rows import checked
from cot_distill.writers.parquet import parquet

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

__all__ = ["hugging_face"]

_DEMO_TAG = "cot-distill-demo"


def hugging_face(
    *,
    test_size: float | int | None = None,
    seed: int = 0,
    save_to_disk: str | os.PathLike[str] | None = None,
    push_to_hub: str | None = None,
    card: str | Callable[[], str] | None = None,
    private: bool = True,
    token: str | None = None,
    allow_demo: bool = False,
) -> Writer[Dataset | DatasetDict]:
    """Make a ``datasets.Dataset``, and save or publish it if asked to.

    The dataset is mapped from files in a temporary folder, which is removed when the process ends. Until then it
    can be mapped, selected and sent to other processes like any other. To keep it longer, give ``save_to_disk``.

    Args:
        test_size: Split into "train" and "test" and return a ``DatasetDict``: the share of rows for the test if
            below 1, else their number. Rows that ask the same question stay on one side, so that the test may get
            a few more rows when questions have several answers.
        seed: Of the split.
        save_to_disk: Folder for ``datasets.load_from_disk``. A dataset that was saved there before is replaced.
        push_to_hub: Name of a dataset on the Hub, ``user/name``. Needs ``card``.
        card: The dataset card for the Hub: Markdown that begins with YAML between two lines ``---``. A function
            is called once all rows are written, so that its text can tell how they were chosen.
        private: Whether a dataset that is new on the Hub is private.
        token: For the Hub. Default: that of the login on this machine.
        allow_demo: Publish although the card carries the tag ``cot-distill-demo``: rows that no model wrote.

    Returns:
        A writer that returns the dataset.

    Raises:
        ConfigError: A setting is wrong, or the card is missing, broken, or that of a demo. The writer raises it
            as :func:`~cot_distill.writers.parquet` does, and when there are no rows.

    Example:
        >>> hugging_face()([{"question": "2 + 2?", "answer": "4"}])[0]
        {'question': '2 + 2?', 'answer': '4'}
    """
    if test_size is not None:
        check_number(test_size, "hugging_face(test_size=…)")
    if test_size is not None and not (0 < test_size < 1 or (test_size >= 1 and float(test_size).is_integer())):
        raise ConfigError(f"test_size is a share between 0 and 1 or a number of rows, not {test_size}")
    if push_to_hub is not None:
        check_text(push_to_hub, "hugging_face(push_to_hub=…)")
        _check_card(_text(card), allow_demo=allow_demo)
    if not isinstance(seed, int):
        raise ConfigError(f"hugging_face(seed=…) takes a whole number, not {shown(seed)}")
    target = None if save_to_disk is None else local(save_to_disk)

    def write(rows: Iterable[Row], /) -> Any:
        with ExitStack() as stack:
            folder = None if target is None else stack.enter_context(replacing_folder(target))
            dataset = _dataset(rows) if test_size is None else _split_dataset(rows, test_size, seed)
            if folder is not None:
                with _quiet():
                    dataset.save_to_disk(str(folder))
        if push_to_hub is not None:
            from huggingface_hub import DatasetCard

            dataset.push_to_hub(push_to_hub, private=private, token=token)
            DatasetCard(str(_text(card))).push_to_hub(push_to_hub, token=token)
        return dataset

    return write


def _dataset(rows: Iterable[Row]) -> Any:
    from datasets import Dataset

    rows = checked(rows)
    first = next(rows, None)
    if first is None:
        raise ConfigError("there are no rows, and a dataset needs columns: look at the filters, and at run.report()")
    folder = Path(tempfile.mkdtemp(prefix="cot_distill-"))
    # Not when the dataset is collected: what `map` and `select` made of it still needs the files to be pickled.
    atexit.register(_remove, folder, os.getpid())
    try:
        source = parquet(folder / "train.parquet")(chain([first], rows))
        with _quiet():
            dataset = Dataset.from_parquet(str(source), cache_dir=str(folder))
        source.unlink()  # the dataset is mapped from the Arrow file that was made of it
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return dataset


def _remove(folder: Path, owner: int) -> None:
    """Remove the folder at exit, unless this is a fork of the process that made it."""
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)


def _split_dataset(rows: Iterable[Row], size: float | int, seed: int) -> Any:
    """As ``Dataset.train_test_split``, but several answers to one question never end up on both sides."""
    from datasets import DatasetDict

    questions: list[bytes] = []

    def noted() -> Iterator[Row]:
        for row in rows:
            if isinstance(row, Mapping):  # else the writer will complain
                questions.append(blake2b(repr(_question(row)).encode(), digest_size=8).digest())
            yield row

    dataset = _dataset(noted())
    wanted = math.ceil(size * len(questions)) if size < 1 else int(size)
    test = _choose(questions, wanted, seed)
    if len(test) == len(questions):
        raise ConfigError(
            f"test_size={size} leaves nothing to train on: there are {len(questions)} rows that ask "
            f"{len(set(questions))} questions"
        )
    train = [index for index in range(len(questions)) if index not in test]
    return DatasetDict({"train": dataset.select(train), "test": dataset.select(sorted(test))})


def _choose(questions: Sequence[bytes], wanted: int, seed: int) -> set[int]:
    rows_of: dict[bytes, list[int]] = {}
    for index, question in enumerate(questions):
        rows_of.setdefault(question, []).append(index)
    groups = list(rows_of.values())
    random.Random(seed).shuffle(groups)  # noqa: S311  # a split, not a secret
    chosen: set[int] = set()
    for group in groups:
        if len(chosen) >= wanted:
            break
        chosen.update(group)
    return chosen


def _question(row: Row) -> object:
    """The part of a row that asks, in the layouts of `formatters`; of any other row, all of it."""
    for column in ("messages", "conversations"):
        turns = row.get(column)
        if isinstance(turns, list | tuple):
            return turns[:-1]
    if "prompt" in row:
        return row["prompt"]
    if "instruction" in row:
        return [row["instruction"], row.get("system")]
    return dict(row)


def _text(card: str | Callable[[], str] | None) -> str | None:
    return card() if callable(card) else card


def _check_card(card: str | None, *, allow_demo: bool) -> None:
    if card is None:
        raise ConfigError("push_to_hub needs `card`: the text of a dataset card that says where the rows came from")
    if not card.startswith("---"):
        raise ConfigError("the dataset card must begin with YAML between two lines `---`")
    from huggingface_hub import DatasetCard

    try:
        tags = DatasetCard(card).data.get("tags") or []
    except Exception as error:  # the YAML parser has errors of its own
        raise ConfigError(f"the YAML of the dataset card cannot be read: {error}") from error
    if not allow_demo and _DEMO_TAG in ([tags] if isinstance(tags, str) else tags):
        raise ConfigError(
            f"the card carries the tag {_DEMO_TAG!r}: these rows were written by a program, not by a model, and do "
            "not belong on the Hub. If you mean it, pass allow_demo=True."
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the progress bars of `datasets`: this library prints nothing."""
    from datasets.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    if are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()
