"""Draw a network: the window it reads, its layers with units and parameter counts, what comes out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .svg import NARROW, WIDE, Canvas, fmt, responsive

RECURRENT = ("LSTM", "GRU", "RNN")


@dataclass(frozen=True)
class Layer:
    """One stage of the network, as drawn."""

    kind: str  # "LSTM", "GRU", "Dense", ...
    units: int
    parameters: int
    dropout: float = 0.0


@dataclass(frozen=True)
class Network:
    """What the picture needs to know of a forecaster."""

    features: tuple[str, ...]
    lookback: int
    layers: tuple[Layer, ...]
    output: str = "forecast"

    @property
    def parameters(self) -> int:
        """All of them, one bias a gate."""
        return sum(layer.parameters for layer in self.layers)


def network_of(forecaster: Any) -> Network | None:
    """Read a forecaster's shape; None when it has no layers.

    >>> from longshort.models.presets import keras_tutorial
    >>> network = network_of(keras_tutorial())
    >>> network.features, network.lookback, [layer.units for layer in network.layers], network.parameters
    (('close',), 60, [50, 50, 1], 30651)
    """
    if not hasattr(forecaster, "layers"):
        return None
    stages = tuple(
        Layer(str(one["kind"]), int(one["units"]), int(one["parameters"]), float(one.get("dropout") or 0.0))
        for one in forecaster.layers()
        if one["units"] is not None
    )
    return Network(tuple(map(str, forecaster.program_.names)), int(forecaster.lookback), stages)


def network_figure(network: Network) -> str:
    """The network from left to right on a wide page, from top to bottom on a narrow one."""

    def draw(narrow: bool) -> str:
        return _tall(network) if narrow else _long(network)

    return responsive(draw)


def _title(network: Network) -> str:
    stages = ", ".join(f"{layer.kind} {layer.units}" for layer in network.layers)
    window = f"{network.lookback} bars of {_count(network.features)}"
    return f"Network: {window}, {stages}; {network.parameters:,} parameters"


def _long(network: Network) -> str:
    stages, middle = network.layers, 106
    c = Canvas(WIDE, 210, top=0, left=0, right=0, bottom=0)
    window_w, out_w = 180, 132
    widths = [_grid(layer.units, 150, 104)[2] for layer in stages]
    gap = (WIDE - window_w - out_w - sum(widths)) / (len(stages) + 1)
    if gap < 34:  # a deep network: equal, narrow boxes
        widths = [(WIDE - window_w - out_w) / len(stages) - 36] * len(stages)
        gap = 34.0
    _window(c, 0, middle - 52, window_w, 104, network)
    c.text(0, 18, "window", "tick strong")
    c.text(0, 182, f"{network.lookback} bars × {_count(network.features)}", "tick")
    c.text(0, 200, _few(network.features, 28), "tick")
    x = float(window_w)
    for i, (layer, width) in enumerate(zip(stages, widths, strict=True)):
        left = x + gap
        _arrow(c, x + 10, left - 10, middle)
        if i and stages[i - 1].dropout:
            _dropout(c, (x + left) / 2, middle, stages[i - 1].dropout)
        _layer(c, left, middle - 52, width, 104, layer)
        c.text(left, 18, f"{layer.kind} {layer.units}", "tick strong")
        c.text(left, 182, f"{layer.parameters:,} parameters", "tick")
        x = left + width
    left = WIDE - out_w
    _arrow(c, x + 10, left - 8, middle)
    c.circle(left + 8, middle, 8, "dot s-model")
    c.text(left, 18, "forecast", "tick strong")
    for k, line in enumerate(_wrap(network.output, 20)):
        c.text(left, 182 + 18 * k, line, "tick")
    return c.render(_title(network))


def _tall(network: Network) -> str:
    row, stages = 92, network.layers
    c = Canvas(NARROW, row * (len(stages) + 1) + 64, top=0, left=0, right=0, bottom=0)
    text_at, width = 170, 140
    _window(c, 0, 6, width, 64, network)
    c.text(text_at, 26, "window", "tick strong")
    c.text(text_at, 44, f"{network.lookback} bars × {_count(network.features)}", "tick")
    c.text(text_at, 62, _few(network.features, 26), "tick")
    for i, layer in enumerate(stages):
        up = row * (i + 1)
        _down(c, width / 2, up - 20, up + 2)
        if i and stages[i - 1].dropout:
            c.text(text_at, up - 4, f"dropout {stages[i - 1].dropout:g}", "tick")
        _layer(c, 0, up + 6, width, 64, layer)
        c.text(text_at, up + 34, f"{layer.kind} {layer.units}", "tick strong")
        c.text(text_at, up + 52, f"{layer.parameters:,} parameters", "tick")
    up = row * (len(stages) + 1)
    _down(c, width / 2, up - 18, up + 6)
    c.circle(width / 2, up + 18, 8, "dot s-model")
    for k, line in enumerate(_wrap(network.output, 26)):
        c.text(text_at, up + 22 + 18 * k, line, "tick")
    return c.render(_title(network))


def _count(features: Sequence[str]) -> str:
    return "1 feature" if len(features) == 1 else f"{len(features)} features"


def _few(names: Sequence[str], room: int) -> str:
    text = ", ".join(names)
    return text if len(text) <= room else text[: room - 1].rstrip(", ") + "…"


def _wrap(text: str, room: int) -> list[str]:
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) + 1 > room and lines[-1]:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines[:3]


def _window(c: Canvas, x: float, y: float, width: float, height: float, network: Network) -> None:
    """Rows are features, columns bars; the last column is the decision row."""
    rows, columns = min(len(network.features), 8), min(network.lookback, 24)
    cell_w, cell_h = width / columns, min(height / rows, height / 3)
    top = y + (height - rows * cell_h) / 2
    for r in range(rows):
        for k in range(columns):
            # a fixed wave, only to tell cells apart: the picture shows a shape, not values
            level = 0.5 + 0.5 * math.sin(0.55 * k + 1.7 * r) * math.cos(0.21 * k - 0.9 * r)
            cls = "cell last" if k == columns - 1 else f"cell c{int(level * 3.999)}"
            c.rect(x + k * cell_w + 0.5, top + r * cell_h + 0.5, cell_w - 1, cell_h - 1, cls)


GAP = 9.0  # between the dots that stand for units


def _grid(units: int, width: float, height: float) -> tuple[int, int, float]:
    """Lines and columns of dots that fit into a box, full columns preferred, and the width they need."""
    most, across = int((height - 10) // GAP), int((width - 14) // GAP)
    shown = min(units, most * across)
    lines = next((k for k in range(most, most // 2, -1) if shown % k == 0), min(most, shown))
    if shown <= most:
        lines = shown
    columns = math.ceil(shown / lines)
    return lines, columns, max(46.0, columns * GAP + 22)


def _layer(c: Canvas, x: float, y: float, width: float, height: float, layer: Layer) -> None:
    """A box with a dot a unit, as many as fit; a recurrent one carries its state back to itself."""
    c.rect(x, y, width, height, "box", 6)
    lines, columns, _ = _grid(layer.units, width, height)
    left = x + (width - (columns - 1) * GAP) / 2
    top = y + (height - (lines - 1) * GAP) / 2
    recurrent = layer.kind.endswith(RECURRENT)
    cls = "unit lstm" if recurrent else "unit"
    for k in range(min(layer.units, lines * columns)):
        c.circle(left + (k // lines) * GAP, top + (k % lines) * GAP, 2.6, cls)
    if recurrent:
        a, b, low, high = (fmt(v) for v in (x + width - 28, x + width - 10, y, y - 22))
        bend = f"{fmt(x + width + 2)} {high} {fmt(x + width - 40)} {high}"
        c.add(f'<path class="loop" d="M{b} {low}C{bend} {a} {low}"/>')
        tip = f"M{fmt(x + width - 32.5)} {fmt(y - 7)}L{a} {low}L{fmt(x + width - 24)} {fmt(y - 8)}Z"
        c.add(f'<path class="tip" d="{tip}"/>')


def _dropout(c: Canvas, x: float, y: float, rate: float) -> None:
    c.line(x, y - 30, x, y + 30, "drop")
    c.text(x, y + 46, f"dropout {rate:g}", "tick", "middle")


def _arrow(c: Canvas, x1: float, x2: float, y: float) -> None:
    c.line(x1, y, x2 - 5, y, "flow")
    c.add(f'<path class="tip" d="M{x2 - 7:.1f} {y - 4:.1f}L{x2:.1f} {y:.1f}L{x2 - 7:.1f} {y + 4:.1f}Z"/>')


def _down(c: Canvas, x: float, y1: float, y2: float) -> None:
    c.line(x, y1, x, y2 - 5, "flow")
    c.add(f'<path class="tip" d="M{x - 4:.1f} {y2 - 7:.1f}L{x:.1f} {y2:.1f}L{x + 4:.1f} {y2 - 7:.1f}Z"/>')
