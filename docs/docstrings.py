"""Makes the docstrings of the package, which are written to be read with ``help()``, fit for the reference pages.

A griffe extension, named in ``zensical.toml``. It knows three habits of the docstrings: roles of Sphinx become links
(those to modules just code), ``Example:`` becomes the section that shows ``>>>`` lines as code, and ``::`` before a
block of code becomes a colon, or nothing where it stands alone. Nothing else is changed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import griffe

_ROLE = re.compile(r":(?P<kind>attr|class|data|exc|func|meth|mod):`(?P<short>~?)(?P<name>[\w.]+)`")
_EXAMPLE = re.compile(r"^Example:$", re.MULTILINE)
_LONE_COLONS = re.compile(r"^ *::\n\n?", re.MULTILINE)
_COLONS = re.compile(r"(?<=\w)::$", re.MULTILINE)


class Readable(griffe.Extension):
    """Rewrites every docstring before it is parsed."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Called once all modules are loaded, so that every name can be found."""
        for item in _all(pkg):
            if item.docstring is not None:
                text = _ROLE.sub(lambda role, item=item: _link(role, item, pkg), item.docstring.value)
                text = _COLONS.sub(":", _LONE_COLONS.sub("", text))
                item.docstring.value = _EXAMPLE.sub("Examples:", text)


def _all(item: griffe.Object) -> Iterator[griffe.Object]:
    yield item
    for name, member in list(item.members.items()):
        if member.is_alias:
            continue
        if member.is_special and member.docstring is None and name != "__init__":
            item.del_member(name)  # magic methods say what they are
        else:
            yield from _all(member)


def _link(role: re.Match[str], item: griffe.Object, package: griffe.Module) -> str:
    name = role["name"]
    text = f"`{name.rpartition('.')[2] if role['short'] else name}`"
    if role["kind"] == "mod":
        return text
    first, dot, rest = name.partition(".")
    try:
        target = name if first == package.path else item.resolve(first) + dot + rest
        found = package[target.removeprefix(f"{package.path}.")]
    except (griffe.NameResolutionError, KeyError):
        return text
    last = target.rpartition(".")[2]
    if found.is_module and last in found.members:  # writers.jsonl is a function in a module of its name
        target = f"{target}.{last}"
    return f"[{text}][{target}]"
