"""The report in a real browser: drawn, quiet, accessible, and safe from scripts in a run's text."""

import base64
import json
import time
from itertools import pairwise

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from lossearch.results.report.page import write_report
from lossearch.results.storage.store import EvaluationStore
from tests.long_cases import long_unless
from tests.lossearch.small import finished_run
from tests.results.helpers import evaluation
from tests.results.report.browser import all_of, browser, console, opened, requests, unfold
from tests.results.test_hostile_run import STRINGS

#: Number of candidates of a large run, and largest size of its report in bytes.
MANY, LARGEST = 10_000, 15_000_000


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    run = finished_run(tmp_path_factory.mktemp("shown") / "run").path
    return write_report(run)


@pytest.fixture(scope="module")
def desk(report):
    with browser() as driver:
        opened(driver, report)
        yield driver


def losses(driver):
    return [element.text for element in all_of(driver, "#board tbody code")]


def column(driver, name):
    """Return the texts of the column of the leaderboard whose head has this text."""
    place = [element.text for element in all_of(driver, "#board th button")].index(name)
    return [element.text for element in all_of(driver, f"#board tbody td:nth-child({place + 1})")]


def show_on(driver, width):
    """Give the browser this width, also one that no window of a desk has."""
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def test_the_page_sends_no_request_and_logs_nothing(report):
    with browser() as driver:
        opened(driver, report)
        assert console(driver) == []
        assert requests(driver) == []


def test_every_plot_is_drawn_and_shows_something(desk):
    unfold(desk)
    plots = all_of(desk, ".plot")
    assert len(plots) >= 3 + 3 * 4
    for plot in plots:
        marks = plot.find_elements(By.CSS_SELECTOR, ".points path, .js-line")
        assert any(mark.get_attribute("d") for mark in marks), plot.get_attribute("id")


def test_the_leaderboard_is_sorted_and_filtered(desk):
    (button,) = [element for element in all_of(desk, "#board th button") if element.text == "size"]
    for _ in range(2):  # until all losses of this small run are shown
        if desk.find_element(By.ID, "more").is_displayed():
            desk.find_element(By.ID, "more").click()
    button.click()
    sizes = [int(cell) for cell in column(desk, "size")]
    assert sizes == sorted(sizes)
    button.click()
    assert [int(cell) for cell in column(desk, "size")] == sorted(sizes, reverse=True)
    assert button.find_element(By.XPATH, "..").get_attribute("aria-sort") == "descending"
    field = desk.find_element(By.ID, "filter")
    field.send_keys("CE(Z")
    assert losses(desk)
    assert all("ce(z" in loss for loss in losses(desk))
    field.send_keys("nothing like this")
    assert losses(desk) == []
    field.send_keys(Keys.CONTROL, "a")
    field.send_keys(Keys.DELETE)
    everyone = len(losses(desk))
    desk.find_element(By.ID, "front-only").click()
    assert 0 < len(losses(desk)) < everyone
    assert {rank[0] for rank in column(desk, "rank")} == {"*"}
    desk.find_element(By.ID, "front-only").click()


def test_formulas_of_the_leaderboard_are_typeset(desk):
    shown = all_of(desk, "#board tbody tr:first-child math")
    assert len(shown) == 1
    assert shown[0].size["height"] > 10
    assert "CE" in desk.execute_script("return document.querySelector('#board').textContent")


@pytest.mark.long
def test_it_prints_to_pdf(desk):
    pdf = base64.b64decode(desk.print_page())
    assert pdf.startswith(b"%PDF")
    assert len(pdf) > 50_000


@pytest.mark.long
def test_a_dark_screen_prints_in_black_on_white(report):
    with browser(dark=True) as driver:
        opened(driver, report)
        driver.execute_cdp_cmd(
            "Emulation.setEmulatedMedia",
            {"media": "print", "features": [{"name": "prefers-color-scheme", "value": "dark"}]},
        )
        style = "return getComputedStyle(document.querySelector('{}')).{}"
        assert _luminance(driver.execute_script(style.format("body", "backgroundColor"))) > 0.99
        for selector in ("body", "figcaption", "#board td", "a"):
            assert _luminance(driver.execute_script(style.format(selector, "color"))) < 0.25, selector
        for selector in (".xtick text", ".ytick text", ".xtitle", ".legendtext"):
            assert _luminance(driver.execute_script(style.format(f"#progress {selector}", "fill"))) == 0.0, selector
        paper = driver.execute_script(style.format("thead", "backgroundColor"))
        assert _luminance(paper) > 0.9


def test_it_fits_a_phone(report):
    with browser(width=500, height=800) as driver:  # the narrowest window that a headless one gets
        driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride", {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
        )
        opened(driver, report)
        assert driver.execute_script("return document.documentElement.scrollWidth") <= 360
        assert max(element.size["width"] for element in all_of(driver, ".plot")) <= 360


def test_the_leaderboard_is_whole_on_a_desk_and_on_a_phone(desk, report):
    overflow = "const box = document.querySelector('#leaderboard .scroll'); return box.scrollWidth - box.clientWidth"
    cut = (
        "return [...document.querySelectorAll('#board :is(td, th), #board .typeset')].filter("
        "box => box.offsetWidth && box.scrollWidth > box.clientWidth + 1).map(box => box.textContent)"
    )
    try:
        for width in (1100, 768, 390):
            show_on(desk, width)
            opened(desk, report)
            assert desk.execute_script("return document.documentElement.scrollWidth") <= width
            assert desk.execute_script(overflow) <= 0, width
            assert desk.execute_script(cut) == [], width
            for head in ("rank", "loss", "accuracy", "difference"):
                assert all(column(desk, head)), (width, head)
    finally:
        desk.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_labels_of_axes_are_whole_and_numbers_in_full(desk, report):
    opened(desk, report)
    outside = desk.execute_script(
        "return [...document.querySelectorAll('.plot')].flatMap(plot => {"
        "  const area = plot.getBoundingClientRect();"
        "  return [...plot.querySelectorAll(':is(.xtick, .ytick, .xtitle, .ytitle, .legendtext)')].filter(label => {"
        "    const box = label.getBoundingClientRect();"
        "    const sides = [area.left - box.left, box.right - area.right, box.bottom - area.bottom];"
        "    return box.width && Math.max(...sides) > 1;"
        "  }).map(label => plot.id + ': ' + label.textContent);"
        "})"
    )
    assert outside == []
    sizes = [int(element.text) for element in all_of(desk, "#pareto .xtick")]
    assert sizes == sorted(set(sizes))
    assert len(sizes) > 2


def _luminance(color):
    parts = [float(channel) for channel in color.strip("rgba()").split(",")[:3]]
    linear = [
        channel / 255 / 12.92 if channel <= 10.31 else ((channel / 255 + 0.055) / 1.055) ** 2.4 for channel in parts
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("dark", long_unless([False, True], short=[True]))
def test_text_has_contrast_in_light_and_dark(report, dark):
    """WCAG 2.2, success criterion 1.4.3: 4.5 to 1."""
    with browser(dark=dark) as driver:
        opened(driver, report)
        paper = driver.execute_script("return getComputedStyle(document.body).backgroundColor")
        assert (_luminance(paper) < 0.1) is dark
        for selector in ("body", "figcaption", "dt", "a", "code", "button"):
            ink = driver.execute_script(
                f"return getComputedStyle(document.querySelector('main {selector}, {selector}')).color"
            )
            low, high = sorted((_luminance(ink), _luminance(paper)))
            assert (high + 0.05) / (low + 0.05) >= 4.5, selector
        (label,) = all_of(driver, "#progress .xtitle")
        assert (_luminance(label.value_of_css_property("fill")) > 0.5) is dark


def test_keyboard_and_screen_reader_can_use_the_page(desk, report):
    opened(desk, report)
    desk.find_element(By.TAG_NAME, "body").send_keys(Keys.TAB)
    assert desk.switch_to.active_element.text == "Skip to the results"
    for plot in all_of(desk, ".plot"):
        assert plot.get_attribute("role") == "img"
        assert plot.get_attribute("aria-label")
    assert desk.find_element(By.TAG_NAME, "html").get_attribute("lang") == "en"
    named = desk.execute_script(
        "const named = e => e.getAttribute('aria-label') || e.labels?.length"
        " || document.getElementById(e.getAttribute('aria-labelledby'));"
        "return [...document.querySelectorAll('section, [role=region], input')].every(named)"
    )
    assert named
    levels = [int(element.tag_name[1]) for element in all_of(desk, "h1, h2, h3")]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_hostile_strings_are_shown_and_not_run(tmp_path):
    hostile = [
        *STRINGS.values(),
        "<img src=x onerror=\"document.title='owned'\">",
        "</script><script>document.title='owned'</script>",
        "{{ 7*7 }}{% raw %}",
        "<a href='https://example.org'>x</a>",
    ]
    rows = [
        evaluation(f"ce({number + 2}*z)", fitness=0.5 + number / 1000, name=text or None, birth=text, task="digits")
        for number, text in enumerate(hostile)
    ]
    EvaluationStore(tmp_path / "evaluations").append([evaluation("ce(z)"), *rows])
    long = " + ".join(f"0.{number}23456789012*mean_c(log(p)/(1 + max_c(p)))" for number in range(1, 20))
    EvaluationStore(tmp_path / "evaluations").append([evaluation(long, fitness=0.95)])
    (tmp_path / "log.jsonl").write_text(
        json.dumps({"event": "generation", "number": 1, "evaluated": 3, "best_formula": hostile[-3]}) + "\n"
    )
    (tmp_path / "experiment.toml").write_text('name = "<script>document.title=1</script>"\n')
    with browser() as driver:
        opened(driver, write_report(tmp_path, top=len(hostile)))
        assert driver.title == "<script>document.title=1</script>: losses found"
        assert console(driver) == []
        assert requests(driver) == []
        assert not all_of(driver, "main img, main a[href^=http], .plot a[href^=http]")
        wide = "box => box.scrollWidth > box.clientWidth"
        assert driver.execute_script(f"return [...document.querySelectorAll('.scroll, .formula')].filter({wide})") == []
        more = driver.find_element(By.ID, "more")
        if more.is_displayed():
            more.click()
        assert any("<img src=x" in loss for loss in losses(driver))


@pytest.mark.long
def test_a_large_run_opens_soon(tmp_path):
    store = EvaluationStore(tmp_path / "evaluations")
    evaluations = [
        evaluation(f"ce({number / 1000 + 1}*z) + 0.1*mean_c(p**2)", fitness=0.5 + (number % 997) / 2500, complexity=9)
        for number in range(MANY)
    ]
    store.append([evaluation("ce(z)"), *evaluations])
    path = write_report(tmp_path)
    assert path.stat().st_size < LARGEST
    with browser() as driver:
        started = time.monotonic()
        opened(driver, path)
        taken = time.monotonic() - started
        assert len(losses(driver)) > 10
    print(f"{MANY} candidates: {path.stat().st_size / 1e6:.1f} MB, open after {taken:.1f} s")
