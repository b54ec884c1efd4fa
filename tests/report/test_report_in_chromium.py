"""The report in a real Chromium: no request, no error; hover, keys, filter, zoom, phone, dark, print."""

import re

import pytest

from keras_leoclr import report
from tests import chromium
from tests.report.report_run import write_run

pytestmark = pytest.mark.backend_free


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    path = chromium.find()
    if path is None:
        pytest.fail(chromium.ADVICE)
    quiet = [
        "--no-first-run",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-component-update",
    ]
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", *quiet])
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    return report.write_report(write_run(tmp_path_factory.mktemp("page") / "run")).as_uri()


@pytest.fixture
def opened(browser, url):
    """Opens the page; at the end nothing must have been requested or complained of."""
    contexts, said = [], []

    def open_page(width=1200, **options):
        contexts.append(browser.new_context(viewport={"width": width, "height": 800}, **options))
        page = contexts[-1].new_page()
        page.on("console", lambda message: said.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: said.append(f"error: {error}"))
        page.on("request", lambda request: said.append(request.url))
        page.goto(url)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert [text for text in said if not text.startswith("data:") and text != url] == []


def chosen(page):
    return page.locator("#map-card strong").text_content()


def points(page):
    return page.locator("#map-svg .dot:not(.off)").count()


def width(page):
    return float(page.locator("#map-svg").get_attribute("viewBox").split()[2])


def mark_at(page, number):
    box = page.locator("#map-svg .dot").nth(number).bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_the_page_opens_from_disk_and_shows_the_map(opened):
    page = opened()
    assert points(page) == 40 and page.locator("#map-body").is_visible()
    assert page.locator("#map-note").text_content().startswith("40 pictures.")
    broken = "[...document.images].filter(i => !(i.complete && i.naturalWidth)).length"
    assert page.evaluate(broken) == 0


def test_pointing_at_a_mark_shows_its_picture(opened):
    page = opened()
    page.locator("#map-svg").scroll_into_view_if_needed()
    assert not page.locator("#map-tip").is_visible()
    page.mouse.move(*mark_at(page, 3))
    assert page.locator("#map-tip").is_visible()
    thumb = page.locator("#map-tip .thumb")
    assert thumb.get_attribute("aria-label") == chosen(page)
    image = thumb.evaluate("e => getComputedStyle(e).backgroundImage")
    assert re.match(r'url\("data:image/(png|jpeg);base64,', image)
    assert page.locator("#map-card .near li").count() == 5


def test_the_keyboard_reaches_the_map_and_steps_through_it(opened):
    page = opened()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.locator("#map-classes input").last.focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "map-svg"
    assert page.locator("#map-tip").is_visible()  # focus alone chooses a picture
    place = "document.querySelector('.dot.chosen').getBoundingClientRect().x"
    before = page.evaluate(place)
    page.keyboard.press("ArrowRight")
    assert page.evaluate(place) > before
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Escape")
    assert page.locator(".dot.chosen").count() == 0 and not page.locator("#map-tip").is_visible()


def test_classes_can_be_hidden_and_the_backbone_changed(opened):
    page = opened()
    boxes = page.locator("#map-classes input")
    assert boxes.count() == 3
    boxes.first.uncheck()
    left = points(page)
    assert 0 < left < 40 and page.locator("#map-note").text_content().startswith(f"{left} shown of 40")
    page.get_by_role("button", name="None").click()
    assert points(page) == 0
    page.get_by_role("button", name="All").click()
    assert points(page) == 40
    boxes.first.uncheck()
    page.select_option("#map-which", label="random")
    assert points(page) == 40 and page.locator("#map-classes input:checked").count() == 3


def test_wheel_buttons_and_keys_zoom_and_dragging_moves(opened):
    page = opened()
    page.locator("#map-svg").scroll_into_view_if_needed()
    assert width(page) == 600
    page.mouse.move(*mark_at(page, 0))
    page.mouse.wheel(0, -200)
    page.wait_for_function("document.getElementById('map-svg').viewBox.baseVal.width < 500")
    zoomed = width(page)
    view = page.locator("#map-svg").get_attribute("viewBox")
    box = page.locator("#map-svg").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 40, y + 40)
    page.mouse.move(x - 60, y - 60)
    page.mouse.up()
    assert page.locator("#map-svg").get_attribute("viewBox") != view and width(page) == zoomed
    page.get_by_role("button", name="Zoom in").click()
    assert width(page) < zoomed
    page.get_by_role("button", name="Zoom out").click()
    assert width(page) == pytest.approx(zoomed)
    page.get_by_role("button", name="Whole map").click()
    assert width(page) == 600
    page.locator("#map-svg").focus()
    page.keyboard.press("+")
    assert width(page) == pytest.approx(400)
    page.keyboard.press("0")
    assert width(page) == 600


@pytest.mark.parametrize("size", [320, 375])
def test_a_phone_scrolls_in_one_direction(opened, size):
    page = opened(size, has_touch=True)
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= size
    assert page.locator("#map-svg").bounding_box()["width"] <= size


@pytest.mark.parametrize("size", [1280, 390])
def test_the_results_of_several_runs_fit_the_page(browser, run, copy, tmp_path, size):
    made = report.write_report([run, copy], tmp_path / "both.html")
    context = browser.new_context(viewport={"width": size, "height": 800})
    page = context.new_page()
    page.goto(made.as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= size
    wide = "[...document.querySelectorAll('#differences .scroll')].filter(e => e.scrollWidth > e.clientWidth)"
    assert page.evaluate(f"{wide}.length") == 0 and page.locator("#differences table").count() >= 1
    context.close()


# ratio of the luminances of each text and what lies behind it (WCAG 2.2, success criterion 1.4.3)
CONTRAST = """() => {
  const parse = (text) => {
    const v = text.match(/[\\d.]+/g).map(Number);
    return v.length < 4 ? [...v, 1] : v;
  };
  const over = (top, below) => [0, 1, 2].map((i) => top[i] * top[3] + below[i] * (1 - top[3]));
  const behind = (e) => {
    const layers = [];
    for (; e; e = e.parentElement) layers.push(parse(getComputedStyle(e).backgroundColor));
    return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255]);
  };
  const light = (c) => {
    const [r, g, b] = c.map((v) => v / 255)
      .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const e = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || e.closest('script, style, option, .unseen')) continue;
    const style = getComputedStyle(e), ground = behind(e);
    const ink = parse(e.closest('svg') ? style.fill : style.color);
    const [a, b] = [light(over(ink, ground)), light(ground)].sort((x, y) => y - x);
    found.push([(a + 0.05) / (b + 0.05), walker.currentNode.data.trim().slice(0, 40), e.tagName]);
  }
  return found;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_curves_stand_out_from_the_ground(opened, scheme):
    page = opened(color_scheme=scheme)
    page.locator("#map-svg").focus()
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(255, 255, 255)") == (scheme == "light")
    texts = page.evaluate(CONTRAST)
    assert len(texts) > 200
    assert [text for text in texts if text[0] < 4.5] == []
    # of graphics 3 is asked for (criterion 1.4.11)
    curves = page.evaluate(CURVES)
    assert len(curves) == 8 and min(curves) >= 3


CURVES = """() => {
  const light = (text) => {
    const [r, g, b] = text.match(/[\\d.]+/g).slice(0, 3).map((v) => v / 255)
      .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = light(getComputedStyle(document.body).backgroundColor);
  return [...Array(8).keys()].map((kind) => {
    const line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
    line.setAttribute("class", "s" + kind);
    document.querySelector(".chart svg").append(line);
    const [a, b] = [light(getComputedStyle(line).stroke), ground].sort((x, y) => y - x);
    return (a + 0.05) / (b + 0.05);
  });
}"""


def test_the_page_prints(opened, tmp_path):
    page = opened(color_scheme="dark")
    printed = page.pdf(path=tmp_path / "report.pdf", format="A4", print_background=True)
    assert printed.startswith(b"%PDF-") and len(re.findall(rb"/Type\s*/Page\b", printed)) >= 3
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator("nav").is_visible() and page.locator("#map-svg").is_visible()


def test_the_page_is_whole_without_scripts(opened):
    page = opened(java_script_enabled=False)
    assert page.locator("noscript p").is_visible() and page.locator("#neighbours img").count() > 0
