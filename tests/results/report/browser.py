"""A headless Chromium that opens files, with its console, its requests and its page."""

import json
import os
import shutil
from contextlib import contextmanager

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By

CHROMIUM, DRIVER = (shutil.which(name) for name in ("chromium", "chromedriver"))


@contextmanager
def browser(*, width=1200, height=900, dark=False):
    """Start a browser without a window. Skip the test if none is installed, except in continuous integration."""
    if CHROMIUM is None or DRIVER is None:
        assert os.environ.get("LOSSEARCH_BROWSER_TESTS") != "required", (
            ".ci/install_browser did not install chromium and chromedriver"
        )
        pytest.skip("chromium and chromedriver are not installed: .ci/install_browser")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", f"--window-size={width},{height}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    try:
        scheme = "dark" if dark else "light"
        driver.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        )
        yield driver
    finally:
        driver.quit()


def opened(driver, path):
    """Open a file and wait until its plots are drawn."""
    driver.get(path.resolve().as_uri())
    driver.set_script_timeout(60)
    _await_plots(driver)


def unfold(driver):
    """Open all folds of the page and wait until the plots in them are drawn."""
    driver.execute_script("document.querySelectorAll('details').forEach(fold => { fold.open = true; })")
    _await_plots(driver)


def _await_plots(driver):
    driver.execute_async_script(
        "const done = arguments[0]; const wait = () => [...document.querySelectorAll('.plot')].every("
        "p => p.closest('details:not([open])') || p.querySelector('.main-svg'))"
        " ? done() : setTimeout(wait, 50); wait();"
    )


def console(driver):
    """Return warnings and errors of the console."""
    return [entry for entry in driver.get_log("browser") if entry["level"] in ("WARNING", "SEVERE")]


def requests(driver):
    """Return requested addresses, without the file itself and data in it."""
    addresses = []
    for entry in driver.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            addresses.append(message["params"]["request"]["url"])
    return [address for address in addresses if not address.startswith(("file:", "data:", "blob:"))]


def all_of(driver, selector):
    return driver.find_elements(By.CSS_SELECTOR, selector)
