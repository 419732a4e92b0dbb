"""Tasks from the ``datasets`` library: a dataset in memory, on disk, streamed, or on the Hugging Face Hub.

This file knows ``datasets``, which it imports only when needed. What a row means is for
:mod:`cot_distill.sources.columns`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Unpack

from cot_distill.errors import ConfigError, SourceError
from cot_distill.sources.columns import Columns
from cot_distill.sources.source import Located, OnError, Source

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset

__all__ = ["dataset", "hub"]


def dataset(data: Dataset | IterableDataset, *, on_error: OnError = "raise", **columns: Unpack[Columns]) -> Source:
    """Read a ``datasets.Dataset`` or ``IterableDataset``.

    Args:
        data: One split.
        on_error: Raise at a row that is no task, or ``"skip"`` it and count it.
        columns: Which column holds what; see :class:`~cot_distill.sources.Columns`.

    Returns:
        A source. A place in it is the number of a row.

    Raises:
        ConfigError: It is a dict of splits, or no dataset at all.
    """
    if isinstance(data, Mapping):
        raise ConfigError(
            f"this is a dict of splits ({', '.join(data)}): pass one of them, such as data[{next(iter(data))!r}]"
        )
    if not hasattr(data, "with_format"):
        raise ConfigError(f"sources.dataset() takes a datasets.Dataset or IterableDataset, not {type(data).__name__}")
    plain = data.with_format(None)  # rows as Python values, not as arrays or tensors
    name = data.info.dataset_name or "dataset"
    name = f"{name} ({data.split})" if data.split else name
    return Source(name, lambda: enumerate(plain, start=1), columns=columns, on_error=on_error, blocking=True)


def hub(
    name: str,
    *,
    split: str = "train",
    config: str | None = None,
    revision: str | None = None,
    on_error: OnError = "raise",
    **columns: Unpack[Columns],
) -> Source:
    """Stream a dataset from the Hugging Face Hub. Nothing is fetched before the first row is read.

    Args:
        name: Its name on the Hub, such as ``"openai/gsm8k"``; a local directory works as well.
        split: The split. A slice such as ``"train[:100]"`` cannot be streamed: use ``itertools.islice``.
        config: The configuration, where there are several.
        revision: Branch, tag or commit; give a commit for a run that can be repeated.
        on_error: Raise at a row that is no task, or ``"skip"`` it and count it.
        columns: Which column holds what; see :class:`~cot_distill.sources.Columns`.

    Returns:
        A source. Reading it raises :class:`~cot_distill.errors.SourceError` where the dataset cannot be had.

    Example:
        ``hub("openai/gsm8k", config="main", instruction="question")``
    """
    label = f"{name} ({split})"

    def open_rows() -> Iterator[Located]:
        from datasets import load_dataset

        position = 0
        try:
            stream = load_dataset(name, config, split=split, revision=revision, streaming=True)
            for position, row in enumerate(stream, start=1):
                yield position, row
        except Exception as error:
            # No code of the user runs in here, and what may go wrong (network, name, parser) has no common base.
            after = f" after row {position}" if position else ""
            raise SourceError(f"{label} cannot be read{after}: {error}") from error

    return Source(label, open_rows, columns=columns, on_error=on_error, blocking=True, may_be_empty=False)
