"""Takes a screenshot of a report for the README, in a small file.

python tools/report_screenshot.py runs/quickstart/report.html docs/report.png
"""

from __future__ import annotations

import argparse
import io
import pathlib
import sys

from PIL import Image
from playwright.sync_api import sync_playwright

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))

from tests import chromium

WIDTH, HEIGHT, MARGIN = 1200, 860, 16  # pixels
LARGEST = 300_000  # largest size of the file in bytes


def screenshots(page_file: pathlib.Path) -> list[Image.Image]:
    """Screenshots of the summary with the explanation of the method, and of the map with a chosen picture."""
    path = chromium.find()
    if path is None:
        raise SystemExit(chromium.ADVICE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, reduced_motion="reduce")
        page.goto(page_file.resolve().as_uri())
        end = page.locator("#method").bounding_box()
        whole = {"x": 0, "y": 0, "width": WIDTH, "height": end["y"] + end["height"] + MARGIN}
        shots = [page.screenshot(clip=whole, full_page=True)]
        page.locator("#map-svg").focus()
        for _ in range(3):
            page.keyboard.press("ArrowRight")
        shots.append(page.locator("#map").screenshot())
        browser.close()
    return [Image.open(io.BytesIO(shot)).convert("RGB") for shot in shots]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("source", type=pathlib.Path, help="report.html of a run")
    parser.add_argument("target", type=pathlib.Path, help="PNG file that is written")
    given = parser.parse_args()
    source, target = given.source, given.target
    shots = screenshots(source)
    image = Image.new("RGB", (WIDTH, sum(shot.height for shot in shots)), "white")
    top = 0
    for shot in shots:
        image.paste(shot, ((WIDTH - shot.width) // 2, top))
        top += shot.height
    image = image.resize((900, round(image.height * 900 / WIDTH)), Image.Resampling.LANCZOS)
    image = image.quantize(128, dither=Image.Dither.NONE)
    image.save(target, optimize=True)
    size = target.stat().st_size
    print(f"{target}: {image.width} x {image.height}, {size / 1000:.0f} kB")
    if size > LARGEST:
        raise SystemExit(f"{target} is larger than {LARGEST / 1000:.0f} kB.")


if __name__ == "__main__":
    main()
