"""Renders pages from templates by Jinja2 with autoescape, one base template and one content policy."""

from __future__ import annotations

import base64
import functools
import hashlib
import importlib.resources
from collections.abc import Sequence
from typing import Any

import jinja2
from markupsafe import Markup

PACKAGE = "keras_leoclr.report"


def page(template: str, styles: Sequence[str], script: str = "", **values: Any) -> str:
    """Renders a whole HTML document that makes no network requests.

    Its content policy forbids every request. It allows only the style sheet and the script of this package,
    which are identified by their checksums, and pictures that are embedded in the page.

    Args:
        template: name of a file in `templates/` that extends `page.html`.
        styles: names of files in `static/`, which form one style sheet in this order.
        script: name of a file in `static/`; "" (the default) for a page without a script.
        **values: content of the template; all of it is escaped.
    """
    style, code = "".join(map(static, styles)), static(script) if script else ""
    allowed = [f"style-src '{_checksum(style)}'", "img-src data:"]
    if code:
        allowed.append(f"script-src '{_checksum(code)}'")
    policy = "; ".join(["default-src 'none'", *allowed, "base-uri 'none'", "form-action 'none'"])
    own = {"policy": Markup(policy), "style": Markup(style), "script": Markup(code)}  # trusted text
    return _environment().get_template(template).render(**own, **values)


def text(template: str, **values: Any) -> str:
    """Renders a document in Markdown. Only values that a template passes through the filter `cell` are
    escaped.

    Args:
        template: name of a file in `templates/` that does not end in .html.
        **values: content of the template.
    """
    return _environment().get_template(template).render(**values)


def data_uri(content: bytes, kind: str) -> str:
    """Encodes a picture as an address that can be embedded in a page.

    Args:
        content: bytes of the picture file.
        kind: "png" or "jpeg".
    """
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


@functools.cache
def static(name: str) -> str:
    """The text of a file in `static/`."""
    return importlib.resources.files(PACKAGE).joinpath("static", name).read_text("utf-8")


@functools.cache
def _environment():
    made = jinja2.Environment(
        loader=jinja2.PackageLoader(PACKAGE),
        autoescape=jinja2.select_autoescape(("html",)),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["cell"] = _cell
    made.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    return made


def _cell(value):
    """Escapes text so that it stays within its cell of a Markdown table."""
    return " ".join(str(value).split("\n")).replace("|", "\\|")


def _checksum(text):
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
