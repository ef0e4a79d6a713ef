"""The two charts: how sure the model is, and how the versions scored."""

from collections.abc import Mapping, Sequence

import altair as alt
import pandas as pd

from webapp.answers import ModelVersion

ACCENT = "#0f766e"
MUTED = "#cbd5e1"
INK = "#334155"
MOST_LABELS = 10


def probabilities(by_label: Mapping[str, float], predicted: str) -> alt.LayerChart | alt.FacetChart:
    """One bar per label, most probable first, the predicted one in colour."""
    likely = sorted(by_label.items(), key=lambda item: -item[1])[:MOST_LABELS]
    table = pd.DataFrame(likely, columns=["label", "probability"])
    table["text"] = [f"{p:.1%}" for p in table["probability"]]
    base = alt.Chart(table).encode(
        # A label is data: the order is ours, and a long one is cut rather than pushing the bars out.
        y=alt.Y("label:N", sort=None, title=None, axis=alt.Axis(labelLimit=110, ticks=False, domain=False)),
        tooltip=["label:N", alt.Tooltip("probability:Q", format=".4f")],
    )
    bars = base.mark_bar(cornerRadiusEnd=4, height=20).encode(
        # Room to the right of a full bar, for its text.
        x=alt.X("probability:Q", title=None, scale=alt.Scale(domain=[0, 1.2]), axis=None),
        color=alt.condition(alt.datum.label == predicted, alt.value(ACCENT), alt.value(MUTED)),
    )
    texts = base.mark_text(align="left", dx=6, color=INK).encode(x="probability:Q", text="text:N")
    return alt.layer(bars, texts).properties(height=max(70, 34 * len(table)))


def scores(models: Sequence[ModelVersion]) -> alt.LayerChart | alt.FacetChart:
    """The score each version had when it was made, oldest first, the champion in colour."""
    scored = [model for model in reversed(models) if model.score is not None]
    table = pd.DataFrame(
        {
            "version": [model.version for model in scored],
            "score": [model.score for model in scored],
            "champion": [model.is_champion for model in scored],
        }
    )
    base = alt.Chart(table).encode(
        x=alt.X("version:N", sort=None, title=None, axis=alt.Axis(labelAngle=0)),
        y=alt.Y(
            "score:Q",
            title=scored[-1].metric.replace("_", " ") if scored else "score",
            scale=alt.Scale(zero=False, padding=24),
            axis=alt.Axis(tickCount=4, format=".3f"),
        ),
        tooltip=["version:N", alt.Tooltip("score:Q", format=".4f")],
    )
    line = base.mark_line(color=MUTED, strokeWidth=2)
    points = base.mark_point(filled=True, size=110, opacity=1).encode(
        color=alt.condition(alt.datum.champion, alt.value(ACCENT), alt.value("#94a3b8"))
    )
    texts = base.mark_text(dy=-14, color=INK).encode(text=alt.Text("score:Q", format=".3f"))
    return alt.layer(line, points, texts).properties(height=240)
