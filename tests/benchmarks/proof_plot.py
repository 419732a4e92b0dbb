"""The figure of the proof: right answers over compute, as SVG of a few kilobytes, written without a library."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["Line", "Panel", "svg"]

_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 420, 250, 44, 44, 40
_COLOURS = ("#047", "#c60", "#393", "#909")


class Line(NamedTuple):
    name: str
    """Lines of one name have one colour: the seeds of a run."""
    points: Sequence[tuple[float, float]]
    """From 0 to 1 on the y axis."""


class Panel(NamedTuple):
    title: str
    axis: str
    lines: Sequence[Line]


def svg(panels: Sequence[Panel]) -> str:
    """Draw panels beside one another."""
    width = _WIDTH * len(panels)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {_HEIGHT}" width="{width}" '
        f'height="{_HEIGHT}">',
        "<style>text{font:11px sans-serif;fill:#333}.t{font-weight:bold}.n{text-anchor:end}.m{text-anchor:middle}",
        "path{fill:none}.g{stroke:#ddd}.l{stroke-width:1.5}</style>",
        f'<rect width="{width}" height="{_HEIGHT}" fill="#fff"/>',
    ]
    for place, panel in enumerate(panels):
        parts += _panel(panel, place * _WIDTH)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(panel: Panel, left: float) -> list[str]:
    wide, tall = _WIDTH - _LEFT - 20, _HEIGHT - _TOP - _BOTTOM
    most = max((x for line in panel.lines for x, _ in line.points), default=1.0)

    def at(x: float, y: float) -> str:
        return f"{left + _LEFT + x / most * wide:.1f} {_TOP + tall * (1 - y):.1f}"

    parts = [f'<text x="{left + _LEFT}" y="14" class="t">{panel.title}</text>']
    for step in range(5):
        y = _TOP + tall * (1 - step / 4)
        parts.append(f'<path d="M{left + _LEFT} {y}h{wide}" class="g"/>')
        parts.append(f'<text x="{left + _LEFT - 5}" y="{y + 4}" class="n">{step / 4:.0%}</text>')
        x = left + _LEFT + wide * step / 4
        parts.append(f'<text x="{x}" y="{_HEIGHT - 24}" class="m">{most * step / 4:.3g}</text>')
    parts.append(f'<text x="{left + _LEFT + wide / 2}" y="{_HEIGHT - 8}" class="m">{panel.axis}</text>')
    names = list(dict.fromkeys(line.name for line in panel.lines))
    colours = {name: _COLOURS[number % len(_COLOURS)] for number, name in enumerate(names)}
    for line in panel.lines:
        path = "M" + "L".join(at(x, y) for x, y in [(0.0, 0.0), *line.points])
        parts.append(f'<path d="{path}" class="l" stroke="{colours[line.name]}"/>')
    x = left + _LEFT
    for name in names:
        parts.append(f'<path d="M{x} 28h14" class="l" stroke="{colours[name]}"/>')
        parts.append(f'<text x="{x + 18}" y="32">{name}</text>')
        x += 30 + 6 * len(name)
    return parts
