"""Draw a small chart with the characters of a terminal: braille dots, two by four to a character."""

import math
from collections.abc import Sequence

import numpy as np

_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))


def plot(
    series: Sequence[tuple[np.ndarray, str]], width: int = 72, height: int = 14, label=lambda v: f"{v:,.2f}"
) -> list[list[tuple[str, str]]]:
    """Draw lines over one another; later ones win where they meet.

    Parameters
    ----------
    series : sequence of (values, style)
        Arrays of one length, NaN where a line has no value. The style is handed back with each piece of text.
    width, height : int
        Characters of the drawing, without the labels at its left.

    Returns
    -------
    list of lines, each a list of (text, style)

    Examples
    --------
    >>> for line in plot([(np.array([1.0, 2.0, 4.0, 3.0]), "")], width=8, height=3, label=lambda v: f"{v:.0f}"):
    ...     print("".join(text for text, _ in line).rstrip())
    4 ┤    ⡰⠑⠤⡀
      │  ⢀⠎   ⠈
    1 ┤⡠⠒⠁
    """
    every = np.concatenate([np.asarray(v, dtype=float) for v, _ in series])
    if not np.isfinite(every).any():
        return []
    low, high = float(np.nanmin(every)), float(np.nanmax(every))
    cells = np.zeros((height, width), dtype=int)
    owner = np.full((height, width), -1)
    for k, (values, _) in enumerate(series):
        for x, y in _points(np.asarray(values, dtype=float), low, (high - low) or 1.0, 2 * width, 4 * height):
            row, column = y // 4, x // 2
            cells[row, column] |= _DOTS[y % 4][x % 2]
            owner[row, column] = k
    marks = {0: high, height - 1: low}
    if height > 5:
        marks[height // 2] = high - (high - low) * (height // 2) / (height - 1)
    room = max(len(label(v)) for v in marks.values())
    lines = []
    for row in range(height):
        head = f"{label(marks[row]):>{room}} ┤" if row in marks else f"{'':>{room}} │"
        line = [(head, "dim")]
        for column in range(width):
            char = chr(0x2800 + cells[row, column]) if cells[row, column] else " "
            style = series[owner[row, column]][1] if owner[row, column] >= 0 else ""
            if len(line) > 1 and line[-1][1] == style:
                line[-1] = (line[-1][0] + char, style)
            else:
                line.append((char, style))
        lines.append(line)
    return lines


def _points(values: np.ndarray, low: float, span: float, width: int, height: int):
    """The dots of a line, with the steps between neighbouring values filled."""
    n = len(values)
    before = None
    for i, value in enumerate(values):
        if not math.isfinite(value):
            before = None
            continue
        x = round(i * (width - 1) / max(n - 1, 1))
        y = round((1 - (value - low) / span) * (height - 1))
        if before is None:
            yield x, y
        else:
            steps = max(abs(x - before[0]), abs(y - before[1]), 1)
            for k in range(1, steps + 1):
                yield (
                    before[0] + round((x - before[0]) * k / steps),
                    before[1] + round((y - before[1]) * k / steps),
                )
        before = (x, y)
