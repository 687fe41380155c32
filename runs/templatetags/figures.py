"""What a page with figures needs in its head."""

from __future__ import annotations

from django import template

from rlmweb.figures import plotly_style_ids

register = template.Library()


@register.inclusion_tag("runs/_figures_head.html")
def figures_head() -> dict[str, object]:
    return {"style_ids": plotly_style_ids()}
