"""The report's part on what can be used instead of a pruned model: quality against memory."""

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from layerlimits.report.figures import COLORS, MARKERS, hover, spread, style
from layerlimits.results.document import StudyResults

_KINDS = ("unpruned", "pruned", "finetuned", "quantized", "sibling")
_HOVER = (
    "%{text}: %{y:.3f} (%{customdata[0]:.3f} to %{customdata[1]:.3f}, n = %{customdata[2]})<br>"
    "%{x:.3g} MB<extra></extra>"
)


def alternatives(results: StudyResults) -> go.Figure | None:
    """Mean score of each class over the size of the weights, one panel per class."""
    if not results.alternatives:
        return None
    classes = [row.kind for row in results.alternatives[0].classes]
    figure = make_subplots(cols=len(classes), subplot_titles=classes, horizontal_spacing=0.06)
    for column, kind in enumerate(classes, 1):
        for number, sort in enumerate(_KINDS):
            rows = [row for row in results.alternatives if row.kind == sort]
            scores = [part.score for row in rows for part in row.classes if part.kind == kind]
            if scores:
                figure.add_trace(
                    go.Scatter(
                        x=[row.weight_bytes / 1e6 for row in rows],
                        y=[score.estimate for score in scores],
                        error_y=spread(scores),
                        customdata=hover(scores),
                        text=[row.name for row in rows],
                        hovertemplate=_HOVER,
                        name=sort,
                        legendgroup=sort,
                        showlegend=column == 1,
                        mode="markers",
                        marker={"symbol": MARKERS[number], "size": 10, "color": COLORS[number]},
                    ),
                    row=1,
                    col=column,
                )
    figure.update_xaxes(title="weights (MB)", rangemode="tozero")
    return style(figure, 420, "mean score over tasks").update_layout(margin={"t": 40})
