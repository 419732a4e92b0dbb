"""The figures of docs/design/adaptive-concurrency.md, as SVG of a few kilobytes each, written without a library."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from simulated_endpoint import INF, Endpoint, Trace, simulate

from cot_distill.adaptive import AdaptiveLimit

__all__ = ["Panel", "draw", "svg"]

_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 340, 170, 44, 24, 30
_POINTS = 110
"""Per line: what a reader can tell apart at this width."""


class Panel(NamedTuple):
    title: str
    limits: Sequence[tuple[float, float]]
    """Time in seconds, and the limit from then on."""
    knee: Sequence[tuple[float, float]]
    """The same of what the endpoint can take."""
    end: float
    refusals: Sequence[float] = ()


def thin(points: Iterable[tuple[float, float]], end: float) -> list[tuple[float, float]]:
    """The last point of each of so many equal spans, and each span's highest where that differs much."""
    kept: list[tuple[float, float]] = []
    slot = -1
    for time, value in points:
        if time > end:
            break
        now = int(time / end * _POINTS)
        if now == slot and len(kept) > 1:
            kept[-1] = (kept[-1][0], value)
        else:
            kept.append((time, value))
        slot = now
    return kept


def _panel(panel: Panel, left: float, top: float) -> list[str]:
    high = max(2.0, *(value for _, value in [*panel.limits, *panel.knee])) * 1.15
    low = 0.8
    wide, tall = _WIDTH - _LEFT - 10, _HEIGHT - _TOP - _BOTTOM

    def x(time: float) -> float:
        return round(left + _LEFT + min(time, panel.end) / panel.end * wide, 1)

    def y(value: float) -> float:
        share = math.log(max(value, low) / low) / math.log(high / low)
        return round(top + _TOP + tall * (1 - share), 1)

    def steps(points: Sequence[tuple[float, float]]) -> str:
        path = f"M{x(points[0][0])} {y(points[0][1])}"
        for time, value in points[1:]:
            path += f"H{x(time)}V{y(value)}"
        return path + f"H{x(panel.end)}"

    parts = [f'<text x="{left + _LEFT}" y="{top + 16}" class="t">{panel.title}</text>']
    for power in range(12):
        value = 4**power
        if value < high:
            parts.append(f'<path d="M{left + _LEFT} {y(value)}h{wide}" class="g"/>')
            parts.append(f'<text x="{left + _LEFT - 5}" y="{y(value) + 4}" class="n">{value}</text>')
    for step in range(5):
        time = panel.end * step / 4
        parts.append(f'<text x="{x(time)}" y="{top + _HEIGHT - 14}" class="m">{time:.0f}</text>')
    marks = sorted({x(time) for time in panel.refusals})
    if marks:
        parts.append(f'<path d="{"".join(f"M{mark} {top + _TOP + tall}v-6" for mark in marks)}" class="r"/>')
    parts.append(f'<path d="{steps(panel.knee)}" class="k"/>')
    parts.append(f'<path d="{steps(thin(panel.limits, panel.end))}" class="l"/>')
    return parts


def svg(panels: Sequence[Panel], columns: int = 2) -> str:
    """Panels beside and below one another: the limit over time, on a logarithmic scale."""
    rows = math.ceil(len(panels) / columns)
    width, height = columns * _WIDTH, rows * _HEIGHT
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">',
        "<style>text{font:11px sans-serif;fill:#333}.t{font-weight:bold}.n{text-anchor:end}.m{text-anchor:middle}",
        "path{fill:none}.g{stroke:#ddd}.k{stroke:#c60;stroke-dasharray:4 3}.l{stroke:#047;stroke-width:1.5}",
        ".r{stroke:#b00}</style>",
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    for place, panel in enumerate(panels):
        lines += _panel(panel, place % columns * _WIDTH, place // columns * _HEIGHT)
    return "\n".join([*lines, "</svg>"]) + "\n"


def _of(title: str, endpoint: Endpoint, knee: float, tasks: int, seed: int = 1) -> Panel:
    trace = simulate(endpoint, AdaptiveLimit(), tasks, seed)
    return _panel_of(title, trace, [(0.0, knee), *_changes(endpoint, trace, knee)])


def _panel_of(title: str, trace: Trace, knee: list[tuple[float, float]]) -> Panel:
    end = min(trace.dry, trace.end)
    return Panel(title, trace.limits, knee, end, [time for time in trace.refusals if time < end])


def _changes(endpoint: Endpoint, trace: Trace, knee: float) -> list[tuple[float, float]]:
    return [(trace.answers[count - 1], knee * factor) for count, factor in endpoint.capacity]


def draw(folder: Path) -> None:
    """Write the files."""
    plain = Endpoint()
    rate = 64 / plain.mean_seconds
    kinds = {
        "queues": replace(plain, slots=64),
        "slows down together (GPU)": replace(plain, knee=64),
        "refuses": replace(plain, refuse_above=64),
        "token bucket": replace(plain, rate=rate, burst=20 * rate),
    }
    steady = [_of(f"{name}, knee at 64", spec, 64, 3000) for name, spec in kinds.items()]
    (folder / "adaptive-steady.svg").write_text(svg(steady), encoding="utf-8")
    changes = ((3000, 0.5), (6000, 2.0))
    changing = [
        _of(f"{name}: 64, 32, 128", replace(spec, capacity=changes), 64, 12000) for name, spec in kinds.items()
    ]
    (folder / "adaptive-changing.svg").write_text(svg(changing), encoding="utf-8")
    outage = replace(plain, slots=64, down=((300.0, 420.0),))
    gone = replace(plain, slots=64, down=((300.0, INF),))
    slow = replace(plain, slots=16, seconds=60.0)
    pages = [
        _of("refuses everything for two minutes", outage, 64, 4000),
        _of("refuses everything from 300 s on", gone, 64, 4000),
        _of("60 s an answer, queues at 16", slow, 16, 1500),
        _of("no limit but ours", plain, 2048, 12000),
    ]
    (folder / "adaptive-odd.svg").write_text(svg(pages), encoding="utf-8")
