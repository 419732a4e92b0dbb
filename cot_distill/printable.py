"""Text from programs and models, made fit to be kept and shown. Knows nothing but characters."""

from __future__ import annotations

import re

__all__ = ["printable"]

_ODD = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def printable(text: str) -> str:
    r"""Escape what no file in UTF-8 can hold, and what a terminal would take for an order.

    Args:
        text: Any text.

    Returns:
        The text with half a surrogate pair, and control characters but for line breaks and tabs, as Python writes
        them in a literal. Other text comes back as it is.

    Example:
        >>> print(printable("half \udc80, bell \x07"))
        half \udc80, bell \x07
    """
    return _ODD.sub(lambda found: ascii(found[0])[1:-1], text)
