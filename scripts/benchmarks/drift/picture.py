"""The delays as one picture: a panel for each change, a line for each verdict."""

import io

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from boucle.arrays import FloatArray

INK, SOFT, FAINT, SEEN = "#1f2933", "#52606d", "#e4e7eb", "#1f77b4"
LABELS = 1.2  # where those at the right end, in windows


def draw(delays: dict[str, dict[str, list[float]]], window: int) -> bytes:
    """An SVG; the dot is the median delay, the bar spans nine of ten streams, a paler dot was not seen in all."""
    names = list(next(iter(delays.values())))
    columns = min(3, len(delays))
    lines = -(-len(delays) // columns)
    figure = Figure(figsize=(4 + 2.7 * columns, 0.8 + 2.9 * lines), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for panel, (title, found) in zip(panels, delays.items(), strict=False):
        for line, name in enumerate(names):
            _line(panel, -line, np.array(found[name]), window)
        panel.set_title(title.replace(": ", ":\n"), fontsize=9, color=INK, loc="left")
        panel.set_yticks([-line for line in range(len(names))], [name.replace("_", " ") for name in names], fontsize=8)
        panel.set_xlim(0, window * LABELS)
        panel.set_xticks(range(0, window + 1, 100))
        panel.tick_params(colors=SOFT, labelsize=8, length=0)
        panel.grid(axis="x", color=FAINT)
        panel.set_axisbelow(True)
        panel.spines[:].set_visible(False)
    for panel in panels[len(delays) :]:
        panel.set_visible(False)
    figure.supxlabel("rows after the change until the verdict speaks", fontsize=9, color=SOFT)
    buffer = io.BytesIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "drift"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def _line(panel: Axes, height: float, delays: FloatArray, window: int) -> None:
    seen = delays[np.isfinite(delays)]
    if len(seen):
        low, high = np.quantile(seen, [0.05, 0.95])
        opacity = 1.0 if len(seen) == len(delays) else 0.45
        panel.plot([low, high], [height, height], color=SEEN, linewidth=2, alpha=0.35 * opacity, solid_capstyle="round")
        panel.plot([np.median(seen)], [height], "o", color=SEEN, markersize=5, alpha=opacity)
    if len(seen) < len(delays):
        often = f"in {len(seen) / len(delays):.0%}" if len(seen) else "not seen"
        panel.text(window * LABELS, height, often, ha="right", va="center", fontsize=7, color=SOFT)
