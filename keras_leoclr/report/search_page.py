"""What a search found, as one page to look at."""

from __future__ import annotations

import base64
import html
import io
import os
import pathlib
from collections.abc import Iterable

from PIL import Image

from keras_leoclr.data import decode
from keras_leoclr.data.failures import ImageError, shown
from keras_leoclr.runs.files import whole_file
from keras_leoclr.search import Hit

SIDE = 192  # of a thumbnail, pixels
STYLE = """
:root { color-scheme: light dark; --line: #8884; --own: #2f6fb0; }
@media (prefers-color-scheme: dark) { :root { --own: #7db4ee; } }
body { font: 16px/1.4 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem; }
h2 { border-top: 1px solid var(--line); padding-top: 1rem; overflow-wrap: anywhere; }
ol { list-style: none; padding: 0; display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); }
figure { margin: 0; } figcaption { font-size: .85rem; overflow-wrap: anywhere; }
img, .none { width: 100%; height: 9rem; object-fit: contain; }
.query { max-width: 12rem; } .none { display: grid; place-items: center; border: 1px dashed var(--line); }
.itself img { outline: 3px solid var(--own); } .itself strong { color: var(--own); }
@media print { figure { break-inside: avoid; } }
"""
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"  # nothing is fetched


def write_page(
    path: str | os.PathLike, found: Iterable[tuple[str, list[Hit] | str]], folder: str, about: str
) -> None:
    """Writes one HTML file with all pictures inside: no network, light or dark as the reader's system.

    Args:
        path: of the page; written whole or not at all.
        found: what `search` yields.
        folder: that was searched; names are shown relative to it.
        about: a line below the title.
    """
    sections = [_section(query, hits, folder) for query, hits in found]
    title = f"Similar pictures in {shown(os.path.basename(folder) or folder)}"
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{STYLE}</style></head><body>"
        f"<h1>{html.escape(title)}</h1><p>{html.escape(about)}</p>{''.join(sections)}</body></html>\n"
    )
    with whole_file(path) as file:
        file.write(page.encode("utf-8"))


def _section(query: str, hits: list[Hit] | str, folder: str) -> str:
    name = html.escape(shown(query))
    if isinstance(hits, str):
        return f"<section><h2>{name}</h2><p>Left out: {html.escape(hits)}</p></section>"
    figures = "".join(_figure(rank, hit, folder) for rank, hit in enumerate(hits, 1))
    picture = _thumbnail(query, f"query: {shown(query)}")
    return f'<section><h2>{name}</h2><figure class="query">{picture}</figure><ol>{figures}</ol></section>'


def _figure(rank: int, hit: Hit, folder: str) -> str:
    name = shown(os.path.relpath(hit.path, folder))
    own = "<strong>the query itself</strong><br>" if hit.itself else ""
    link = html.escape(pathlib.Path(hit.path).as_uri())
    mark = " class=itself" if hit.itself else ""
    words = f"rank {rank}, similarity {hit.similarity:.3f}: {name}"
    return (
        f"<li{mark}><figure>"
        f'<a href="{link}">{_thumbnail(hit.path, words)}</a>'
        f"<figcaption>{own}{rank}. {hit.similarity:.3f}<br>{html.escape(name)}</figcaption></figure></li>"
    )


def _thumbnail(path: str, words: str) -> str:
    try:
        with open(path, "rb") as file:
            pixels = decode.decode_image(file, least_pixels=(2 * SIDE) ** 2)
    except (OSError, ImageError):
        return f'<div class="none" role="img" aria-label="{html.escape(words)}">cannot be read</div>'
    image = Image.fromarray(pixels)
    image.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80)
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img alt="{html.escape(words)}" src="data:image/jpeg;base64,{data}">'
