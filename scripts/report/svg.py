# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Figures inside a page: they take the colour of its text, light or dark."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO

import matplotlib
from markupsafe import Markup, escape
from matplotlib.figure import Figure

INK = "#010203"  # stands for the colour of the page's text
FONT_SIZE = 9
PIXELS_PER_INCH = 96
STYLE = {
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
    **dict.fromkeys(("figure.facecolor", "axes.facecolor", "savefig.facecolor", "legend.facecolor"), "none"),
    **dict.fromkeys(("axes.spines.top", "axes.spines.right", "legend.frameon", "text.parse_math"), False),
    "axes.grid": True,
    "grid.color": INK,
    "grid.alpha": 0.12,
    "grid.linewidth": 0.6,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "axes.axisbelow": True,
    "axes.titlesize": FONT_SIZE + 1,
    "axes.titlelocation": "left",
    "font.size": FONT_SIZE,
    "svg.fonttype": "none",  # text stays text, in the font of the page
    "svg.hashsalt": "report",  # the same file each time
}


@contextmanager
def page_style() -> Iterator[None]:
    """Let matplotlib draw for a page; figures are made and turned into markup inside."""
    with matplotlib.rc_context(STYLE):
        yield


def inline(figure: Figure, label: str, prefix: str) -> Markup:
    """Turn a figure into an ``<svg>`` element for a page.

    Args:
        figure: made inside ``page_style``.
        label: what it shows, for readers who do not see it.
        prefix: of the names inside, so that the figures of one page do not share any.
    """
    buffer = StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(buffer, format="svg", metadata=nothing)
    text = buffer.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor").replace("xlink:href", "href")
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}-", text)
    view = re.findall(r'viewBox="[^"]*"', text)[0]
    width = figure.get_figwidth() * PIXELS_PER_INCH
    body = re.sub(r"\n\s*", "\n", text[text.index(">") + 1 :])
    opening = '<svg {} role="img" aria-label="{}" style="max-width: {:.0f}px">'
    return Markup(opening.format(view, escape(label), width) + body)
