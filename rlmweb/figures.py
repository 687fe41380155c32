"""What all figures have in common. The server builds them with Plotly, `static/js/figure/draw.js` draws them."""

from __future__ import annotations

import json
import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

PLOTLY_SCRIPT = "plotly.min.js"
_GUARDED_STYLE = re.compile(
    r'if\(!document\.getElementById\("([0-9a-f]{64})"\)\)\{var \w+=document\.createElement\("style"\)'
)


def base_layout(title: str, height_px: int) -> dict[str, Any]:
    """No template and no colours: the page has its own, in dark and in light. The page shows the title itself."""
    return {
        "template": "none",
        "height": height_px,
        "margin": {"l": 48, "r": 16, "t": 12, "b": 40},
        "showlegend": False,
        "dragmode": False,
        "meta": {"title": title},
    }


def plain_figure(figure: Any) -> dict[str, Any]:
    """As JSON can hold it, without the schema's base64 of number arrays."""
    plain = json.loads(figure.to_json())
    plain["layout"].pop("template", None)
    return {"data": plain["data"], "layout": plain["layout"]}


def plotly_folder() -> Path:
    """Where the Python package keeps its script. Found without importing it, which takes a second."""
    spec = find_spec("plotly")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("the package plotly is not installed: install rlmweb with its requirements")
    return Path(spec.submodule_search_locations[0]) / "package_data"


@cache
def plotly_style_ids() -> tuple[str, ...]:
    """Ids of style elements that the script adds when it is loaded, unless the page has an element of that id: the style
    sheets of parts that no figure here uses (maps), and inline styles are against our policy."""
    return tuple(_GUARDED_STYLE.findall((plotly_folder() / PLOTLY_SCRIPT).read_text()))
