# SPDX-License-Identifier: Apache-2.0
"""One picture of all tests: bars, shorter is better, HAProxy is 1."""
from xml.sax.saxutils import escape

WIDTH, LABEL, VALUE, COLUMNS = 1060, 232, 44, 2
PANEL = WIDTH / COLUMNS
BAR, GAP, HEAD, FOOT = 13, 5, 30, 16
REFERENCE = "haproxy"
COLOURS = (("ours", "#1b6ca8"), ("up-", "#c8762b"), ("relay", "#a9a9a9"), ("", "#6b7f6b"))


def _colour(name):
    return next(colour for start, colour in COLOURS if name.startswith(start))


def _bars(summary, test):
    """(name, title, ratio) of those that have one."""
    found = [(name, summary.titles[name], summary.ratio(test.name, name, REFERENCE)) for name in summary.names(test)]
    return [bar for bar in found if bar[2] is not None]


def _panel(test, bars, left, top):
    scale = (PANEL - LABEL - VALUE) / max(1.0, *(ratio for _, _, ratio in bars))
    zero = left + LABEL
    one = zero + scale
    bottom = top + HEAD + len(bars) * (BAR + GAP)
    yield f'<text x="{left + 6}" y="{top + 18}" class="head">{escape(test.title)}: {escape(test.metrics[0].title)}</text>'
    yield f'<line x1="{one:.1f}" x2="{one:.1f}" y1="{top + HEAD - 3}" y2="{bottom}" class="one"/>'
    for i, (name, title, ratio) in enumerate(bars):
        y = top + HEAD + i * (BAR + GAP)
        text = y + BAR - 3
        yield f'<text x="{zero - 6}" y="{text}" class="name">{escape(title)}</text>'
        yield f'<rect x="{zero}" y="{y}" width="{ratio * scale:.1f}" height="{BAR}" fill="{_colour(name)}"/>'
        yield f'<text x="{zero + ratio * scale + 4:.1f}" y="{text}">{ratio:.2f}</text>'


def draw(summary):
    """SVG; None when there is nothing to compare with."""
    panels = [(test, bars) for test in summary.tests for bars in [_bars(summary, test)] if len(bars) > 1]
    if not panels:
        return None
    parts, heights = [], [8.0] * COLUMNS
    for test, bars in panels:
        column = heights.index(min(heights))
        parts += _panel(test, bars, column * PANEL, heights[column])
        heights[column] += HEAD + len(bars) * (BAR + GAP) + FOOT
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {max(heights):.0f}" font-family="sans-serif" font-size="11">',
        "<style>text{fill:#333;stroke:#fff;stroke-width:3px;paint-order:stroke}.head{font-weight:bold;font-size:12px}.name{text-anchor:end}.one{stroke:#333;stroke-dasharray:3 3}</style>",
        f'<rect width="{WIDTH}" height="{max(heights):.0f}" fill="#fff"/>', *parts, "</svg>", ""])
