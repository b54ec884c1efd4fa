"""Pages from templates: Jinja2 with autoescape, one skeleton, one policy."""

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
    """A whole HTML document that asks nothing of any network.

    Its policy forbids every request: only the style sheet and the script of the package, which are known by
    their checksums, and pictures inside of the page are allowed.

    Args:
        template: a file in `templates/` that extends `page.html`.
        styles: files in `static/`, in this order one style sheet.
        script: a file in `static/`; "" for a page without a script.
        **values: what the template shows; all of it is escaped.
    """
    style, code = "".join(map(static, styles)), static(script) if script else ""
    allowed = [f"style-src '{_checksum(style)}'", "img-src data:"]
    if code:
        allowed.append(f"script-src '{_checksum(code)}'")
    policy = "; ".join(["default-src 'none'", *allowed, "base-uri 'none'", "form-action 'none'"])
    own = {"policy": Markup(policy), "style": Markup(style), "script": Markup(code)}  # all from the package
    return _environment().get_template(template).render(**own, **values)


def text(template: str, **values: Any) -> str:
    """A document in Markdown. Only what a template passes through the filter `cell` is escaped.

    Args:
        template: a file in `templates/` whose name does not end in .html.
        **values: what the template shows.
    """
    return _environment().get_template(template).render(**values)


def data_uri(content: bytes, kind: str) -> str:
    """A picture inside of the page.

    Args:
        content: content of the file.
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
    """Text that stays in its cell of a table in Markdown."""
    return " ".join(str(value).split("\n")).replace("|", "\\|")


def _checksum(text):
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
