"""UTF-8, which every text file must be in, and what to say of one that is not. Knows no format."""

from __future__ import annotations

__all__ = ["BOM", "not_utf8"]

BOM = b"\xef\xbb\xbf"
"""What some programs write in front of UTF-8."""

_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


def not_utf8(text: bytes, *, line: bool = True) -> str | None:
    r"""Say what is wrong with text that is not UTF-8, and the way out.

    Args:
        text: A piece of a file.
        line: It is one whole line, so that the place of the byte is its column.

    Returns:
        The problem, or None if the text is UTF-8.

    Example:
        >>> not_utf8("café".encode("latin-1"))
        'not UTF-8 (byte 0xe9 at column 4): save the file as UTF-8, for example with iconv -f WINDOWS-1252 -t UTF-8'
    """
    try:
        text.decode()
    except UnicodeDecodeError as bad:
        place = f" at column {bad.start + 1}" if line else ""
        encoding = "UTF-16" if text.startswith(_UTF_16) else "WINDOWS-1252"
        way_out = f"save the file as UTF-8, for example with iconv -f {encoding} -t UTF-8"
        return f"not UTF-8 (byte 0x{text[bad.start]:02x}{place}): {way_out}"
    return None
