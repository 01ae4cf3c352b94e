"""Pages of real runs of each kind in a real browser: no errors, no network, media play, nothing overflows."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import seen_and_heard as toy
from PIL import Image

from spl.cli import main as cli
from spl.media.video_writer import write_video

webdriver = pytest.importorskip(
    "selenium.webdriver", reason="selenium is not installed: pip install '.[dev]'"
)
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None, reason="there is no chromium with chromedriver to look at pages with"
)
ROOT = Path(__file__).parents[2]
ALONE = ("--num_threads", "1", "--device", "cpu")
WIDTHS = (390, 1280)
LETTERS = """  // of all charts that are seen, in pixels of the screen
const scale = one => one.getBoundingClientRect().width / one.viewBox.baseVal.width;
return [...document.querySelectorAll('svg[role=img]')].filter(scale).flatMap(one =>
    [...one.querySelectorAll('text')].map(text => parseFloat(getComputedStyle(text).fontSize) * scale(one)))
"""
FIRST_VIDEO = "document.querySelector('video')"


def run(*words: Any) -> None:
    assert cli.main([str(word) for word in words]) == 0


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    for flag in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--autoplay-policy=no-user-gesture-required",
    ):
        options.add_argument(flag)
    options.binary_location = CHROMIUM
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Tiny runs of each kind by their name, with all that can lie in their folders."""
    place = tmp_path_factory.mktemp("runs")
    smoke = ("--config", ROOT / "configs/smoke/agent.yaml", *ALONE, "--runs", place, "--num_steps", "60")
    smoke += ("--report_every_steps", "20")
    run("train", "agent", *smoke)
    run("train", "agent", *smoke, "--seed", "1")
    agent, sibling = sorted((place / "agent").iterdir())
    run("evaluate", "agent", agent, "--num_episodes", "1", "--num_seeds", "1", "--device", "cpu")
    _add_film(agent / "agent.mp4")
    for name in ("explanation/step-1.png", "curriculum/included.png"):
        (agent / name).parent.mkdir()
        Image.new("RGB", (900, 300), "teal").save(agent / name)
    pictures = place / "pictures"
    for shade, name in enumerate(("dark", "bright")):
        (pictures / name).mkdir(parents=True)
        for number in range(6):
            pixels = np.full((16, 16, 3), 60 + 100 * shade + number, np.uint8)
            Image.fromarray(pixels).save(pictures / name / f"{number}.png")
    learn = ("--data", "folder", "--data.root", pictures, "--data.image_size", "16", "--recipe.epochs", "2")
    learn = (*learn, "--recipe.batch_size", "4", *ALONE, "--runs", place)
    run("train", "classifier", *learn)
    run("ablate", "classifier", *learn, "--attention", "none,se", "--seeds", "0-1")
    dense = (
        "--encoder.video_stream",
        "dense",
        "--encoder.audio_stream",
        "dense",
        "--encoder.attention",
        "none",
    )
    data = ("--data", toy.record(place / "recording", 40, 0), "--data.history", "1", "--recipe.epochs", "2")
    run("pretrain", "autoencoder", *data, *dense, *ALONE, "--runs", place)
    autoencoder = next((place / "autoencoder").iterdir())
    run("evaluate", "autoencoder", autoencoder, "--num_splits", "2", "--device", "cpu")
    found = {"agent": agent, "sibling": sibling, "autoencoder": autoencoder}
    return found | {name: next((place / name).iterdir()) for name in ("classifier", "ablation")}


def _add_film(path: Path) -> None:
    frames = (np.full((48, 64, 3), 4 * number, np.uint8) for number in range(45))
    sound = 0.1 * np.sin(np.arange(24_000) / 8).astype(np.float32)
    write_video(path, frames, fps=30, audio=sound, sample_rate_hz=16_000)


PAGES = {
    "agent": ("agent",),
    "classifier": ("classifier",),
    "autoencoder": ("autoencoder",),
    "ablation": ("ablation",),
    "two seeds": ("agent", "sibling"),
    "all kinds": ("agent", "classifier", "autoencoder", "ablation"),
}
ONE_KIND = ("classifier", "autoencoder", "ablation")  # each is on the page of all kinds, too


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow) if name in ONE_KIND else name for name in PAGES],
)
def test_a_page_shows_without_errors_or_network_in_any_width(
    name: str, runs: dict[str, Path], browser: Any, tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    run("report", *(runs[one] for one in PAGES[name]), "--out", page)
    for log in ("browser", "performance"):
        browser.get_log(log)  # what an earlier page left
    for width in WIDTHS:
        for scheme in ("light", "dark"):
            _show(browser, page, width, scheme)
            needed, there = browser.execute_script(
                "const page = document.documentElement; return [page.scrollWidth, page.clientWidth]"
            )
            assert needed == there  # else it would scroll sideways
            letters = browser.execute_script(LETTERS)
            assert min(letters) >= 11
            assert max(letters) < 17
            paper = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
            assert (min(map(int, paper[4:-1].split(","))) > 200) == (scheme == "light")
    assert browser.execute_script("return document.querySelectorAll('svg[role=img]').length") > 1
    _check_print(browser)
    widths = browser.execute_script("return [...document.images].map(one => one.naturalWidth)")
    assert all(width > 0 for width in widths)
    assert (len(widths) > 0) == any(one in PAGES[name] for one in ("agent", "autoencoder"))
    assert browser.get_log("browser") == []
    assert _fetched(browser) <= {page.as_uri()}


def _check_print(browser: Any) -> None:
    """On paper a page is light although it is night, without players, and with what is folded of each run."""
    features = [{"name": "prefers-color-scheme", "value": "dark"}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": features})
    browser.execute_script("document.querySelectorAll('.chapter').forEach(one => one.open = false)")
    paper = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert min(map(int, paper[4:-1].split(","))) > 200
    heights = "return [...document.querySelectorAll({!r})].map(one => one.getBoundingClientRect().height)"
    assert not any(browser.execute_script(heights.format("video, audio")))
    assert all(height > 0 for height in browser.execute_script(heights.format(".chapter > section table")))
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})


def _show(browser: Any, page: Path, width: int, scheme: str) -> None:
    """Load a page, with all that is folded open."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.get(page.as_uri())
    browser.execute_script("document.querySelectorAll('details').forEach(one => one.open = true)")


def _fetched(browser: Any) -> set[str]:
    """Return the addresses that the browser asked for, but those inside of the page."""
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [
        one["params"]["request"]["url"] for one in messages if one["method"] == "Network.requestWillBeSent"
    ]
    return {url for url in asked if not url.startswith("data:")}


def test_a_film_and_sounds_play(runs: dict[str, Path], browser: Any, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    run("report", runs["agent"], runs["autoencoder"], "--out", page)
    _show(browser, page, 1280, "light")
    browser.set_script_timeout(20)
    sorts = browser.execute_script(
        "return [...document.querySelectorAll('video, audio')].map(m => m.tagName)"
    )
    assert sorts.count("VIDEO") == 1
    assert sorts.count("AUDIO") >= 2
    played = browser.execute_async_script(PLAY)
    for ready, seconds, reached, error in played:
        assert error is None
        assert ready >= 1
        assert seconds > 0.1
        assert reached > 0.0
    assert browser.execute_script(f"return [{FIRST_VIDEO}.videoWidth, {FIRST_VIDEO}.videoHeight]") == [64, 48]


PLAY = """
const done = arguments[arguments.length - 1];
const play = async medium => {
  medium.muted = true;
  try {
    await medium.play();
    while (medium.currentTime === 0) await new Promise(next => setTimeout(next, 20));
    return [medium.readyState, medium.duration, medium.currentTime, null];
  } catch (error) {
    return [medium.readyState, 0, 0, String(error)];
  }
};
Promise.all([...document.querySelectorAll('video, audio')].map(play)).then(done);
"""
