"""Reading the records of CSV one by one, each with the line that it begins at.

This file knows CSV text and file objects, not what a record means. A record that cannot be read is yielded as
``Broken``, and the next one is read.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from itertools import chain
from typing import BinaryIO

from cot_distill.sources.source import Broken, Located
from cot_distill.sources.text import BOM, not_utf8

__all__ = ["csv_rows"]

_DELIMITERS = ",\t;|"
_QUOTED = re.compile(r'"[^"]*"?')
_LONGEST_CELL = 1 << 26  # characters: an end for what a quote that is left open swallows


def csv_rows(file: BinaryIO, delimiter: str | None = None) -> Iterator[Located]:
    r"""Read a file of which the first record that is not blank names the columns.

    Args:
        file: UTF-8, also with a byte order mark.
        delimiter: What stands between two cells. Default: of comma, tab, semicolon and bar the one that is most
            often in the first line, outside of quotes; a comma where none is.

    Yields:
        The number of the line that a record begins at, from 1, and a dict by column. An empty cell is None.

    Example:
        >>> import io
        >>> list(csv_rows(io.BytesIO(b"question;answer\n1, 2 or 3?;\n")))
        [(2, {'question': '1, 2 or 3?', 'answer': None})]
    """
    header: list[str] = []
    for number, cells in _records(file, delimiter):
        if isinstance(cells, Broken):
            yield number, cells if header else cells._replace(last=True)
        elif not header:
            header = cells
            if repeated := next((name for name in header if header.count(name) > 1), None):
                yield number, Broken(f"two columns are called {repeated!r}", last=True)
        elif len(cells) != len(header):
            yield number, Broken(f"{len(cells)} cells, but the header names {len(header)} columns")
        else:
            yield number, {name: cell or None for name, cell in zip(header, cells, strict=True)}


def _records(file: BinaryIO, delimiter: str | None) -> Iterator[tuple[int, list[str] | Broken]]:
    """The records that are not blank, each with the number of its first line."""
    # The limit is one for the whole process, so it is only ever raised: the default of 131 072 characters is less
    # than a long text has, and putting it back would cut off another thread in the middle of its file.
    csv.field_size_limit(max(csv.field_size_limit(), _LONGEST_CELL))
    # Bytes that are no UTF-8 become surrogates, so that the record they stand in can be told.
    lines = (line.decode(errors="surrogateescape") for line in chain([file.readline().removeprefix(BOM)], file))
    head = _up_to_text(lines)
    reader = csv.reader(chain(head, lines), delimiter=delimiter or _delimiter(head[-1]), strict=True)
    while True:
        number = reader.line_num + 1
        try:
            cells = next(reader)
            text = "".join(cells)
            text.encode()
        except StopIteration:
            return
        except csv.Error as error:
            # The one error comes only within quotes; a cell can reach the limit without, but that is a rare cell.
            hint = " (is a quote left open?)" if "end of data" in str(error) or "limit" in str(error) else ""
            yield number, Broken(f"not CSV: {error}{hint}")
        except UnicodeEncodeError:
            yield number, Broken(str(not_utf8(text.encode(errors="surrogateescape"), line=False)))
        else:
            if text.strip():
                yield number, cells


def _up_to_text(lines: Iterator[str]) -> list[str]:
    """The blank lines at the beginning, and the first one that is not blank."""
    head = [""]
    for line in lines:
        head.append(line)
        if line.strip():
            break
    return head[1:] or head


def _delimiter(header: str) -> str:
    # By the header alone: names of columns hold none of them as a rule, texts hold all of them.
    bare = _QUOTED.sub("", header)
    return max(_DELIMITERS, key=bare.count)
