"""The pages, in a real browser: each one's main task, by keyboard where people may have
nothing else, live, and without anything serious that axe-core would find."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from fake_run import FakeRun
from playwright.sync_api import Page, expect

import ganforge.studio
from conftest import CHROMIUM

STATIC = Path(ganforge.studio.__file__).parent / "static"
AXE = (Path(__file__).parent / "vendor" / "axe.min.js").read_text()


def serious(page: Page) -> list[str]:
    """What axe-core finds that is serious or critical."""
    page.evaluate(AXE)
    found = page.evaluate("axe.run().then(r => r.violations)")
    return [
        f"{v['id']}: {v['nodes'][0]['html'][:200]} {v['nodes'][0]['failureSummary'][:300]}"
        for v in found
        if v["impact"] in ("serious", "critical")
    ]


def until(page: Page, what: str, arg=None, seconds: float = 15) -> None:
    """Wait until a JavaScript function returns something true. (The browser's own waiting
    evaluates text, which the pages' policy forbids.)"""
    end = time.monotonic() + seconds
    while not page.evaluate(what, arg):
        assert time.monotonic() < end, what
        page.wait_for_timeout(50)


# -- runs -------------------------------------------------------------------------------
def test_the_list_is_live_and_opens_by_keyboard(runs, start, page):
    FakeRun(runs / "two", "collapse", steps=400, recipe="gan").play(1.0, ticks=40).stop()
    page.goto(start(runs))
    cards = page.locator(".runcard")
    expect(cards).to_have_count(2)
    expect(page.locator(".runcard", has_text="two")).to_contain_text("mode collapse")
    with FakeRun(runs / "three").training() as three:  # it appears by itself
        three.tick()
        expect(cards).to_have_count(3)
        expect(page.locator(".runcard", has_text="three")).to_contain_text("training")
    page.get_by_label("Search").fill("gan collapse")
    expect(cards).to_have_count(1)
    page.get_by_label("Search").fill("")
    page.get_by_role("button", name="In trouble").click()
    expect(page.locator(".runcard", has_text="two")).to_be_visible()
    page.get_by_role("button", name="All", exact=True).click()
    page.get_by_role("button", name="Pin one").click()
    expect(cards.first).to_contain_text("one")
    page.reload()
    expect(cards.first).to_contain_text("one")
    page.get_by_role("link", name="two").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("two")
    expect(page.get_by_role("heading", level=1)).to_be_focused()


def test_a_live_run_changes_under_the_eye_and_is_stopped_from_the_page(runs, start, page):
    with FakeRun.reopen(runs / "one", step=200, steps=400).training() as fake:
        page.goto(start(runs) + "/run/one")
        picture = page.locator(".picture img")
        expect(picture).to_have_attribute("src", re.compile("/200.png"))
        until(page, "() => document.querySelector('.picture img').naturalWidth > 0")
        loads = page.evaluate("performance.getEntriesByType('navigation').length")
        fake.tick()
        fake.picture()
        expect(picture).to_have_attribute("src", re.compile("/210.png"))
        fake.health("cycling")
        expect(page.locator(".verdict")).to_contain_text("chase each other")
        assert page.evaluate("performance.getEntriesByType('navigation').length") == loads

        scrubber = page.get_by_role("slider", name="Picture, by step")
        scrubber.focus()
        page.keyboard.press("Home")
        expect(picture).to_have_attribute("src", re.compile("/10.png"))
        fake.tick()
        fake.picture()  # who looks at the past is left there
        until(page, "() => document.querySelector('.scrub input').max > 6")
        expect(picture).to_have_attribute("src", re.compile("/10.png"))
        page.get_by_role("button", name="Play film").click()
        expect(picture).to_have_attribute("src", re.compile("/220.png"))

        page.get_by_role("button", name="Stop").focus()
        page.keyboard.press("Enter")
        expect(page.get_by_role("dialog")).to_contain_text("Stop this training?")
        page.keyboard.press("Escape")
        assert fake.run.take_requests() == []
        page.get_by_role("button", name="Change rate").click()
        page.get_by_label("Multiply by").fill("0.25")
        page.keyboard.press("Enter")
        expect(page.get_by_role("status")).to_contain_text("change the rates")
        assert fake.run.take_requests() == [{"kind": "rate", "value": 0.25}]
    expect(page.get_by_role("button", name="Resume")).to_be_visible(timeout=5000)


def test_curves_zoom_read_by_keys_and_survive_a_rollback(runs, start, page):
    page.goto(start(runs) + "/run/one")
    expect(page.locator("figure.chart")).to_have_count(9)
    loss = page.locator("figure", has_text="Loss of D")
    loss.locator(".plot").focus()
    page.keyboard.press("End")
    expect(loss.locator(".legend")).to_contain_text("steps 200")
    page.keyboard.press("ArrowLeft")
    expect(loss.locator(".legend")).to_contain_text("steps 190")
    box = loss.locator(".u-over").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + 40, steps=4)
    page.mouse.up()
    page.get_by_role("button", name="Whole run").click()
    fake = FakeRun.reopen(runs / "one", step=100, steps=400)
    fake.run.append(fake.record(event="rollback", message="NaN; back to step 100"))
    expect(page.locator("td", has_text="NaN; back to step 100")).to_be_visible(timeout=3000)
    (runs / "one").rename(runs.parent / "away")
    expect(page.get_by_role("alert")).to_contain_text("not there any more")
    (runs.parent / "away").rename(runs / "one")
    expect(page.get_by_role("heading", level=1)).to_have_text("one")


# -- explore ----------------------------------------------------------------------------
def test_explore_by_keyboard(trained, start, page):
    page.goto(start(trained) + "/explore")
    page.get_by_role("link", name="real").focus()
    page.keyboard.press("Enter")
    picture = page.locator(".picture.big img")
    expect(picture).to_be_visible(timeout=30_000)
    first = picture.get_attribute("src")
    page.get_by_role("application").focus()
    page.keyboard.press("Shift+ArrowRight")
    until(page, "old => document.querySelector('.picture.big img').src !== old", first)
    page.get_by_role("button", name="Pin it").click()
    page.get_by_role("button", name="Sneaker").click()
    page.get_by_role("button", name="Pin it").click()
    expect(page.locator(".pins li")).to_have_count(2)
    page.get_by_role("button", name="Walk between them").click()
    expect(page.locator(".film")).to_be_visible()
    page.get_by_role("button", name="Find them").click()
    expect(page.get_by_role("slider", name=re.compile("Direction 1"))).to_be_visible()
    page.get_by_role("button", name="Nearest in the data").click()
    expect(page.locator(".near li")).to_have_count(8)
    with page.expect_download() as got:
        page.get_by_role("button", name="PNG").click()
    assert Path(got.value.path()).read_bytes().startswith(b"\x89PNG")
    assert serious(page) == []


# -- the lab ----------------------------------------------------------------------------
def test_the_lab_runs_to_convergence(runs, start, page):
    page.goto(start(runs) + "/lab")
    reading = page.get_by_test_id("reading")
    expect(reading).to_contain_text("Turn 0", timeout=30_000)
    page.get_by_role("button", name="blob", exact=True).click()
    page.get_by_role("button", name="One turn").click()
    expect(reading).to_contain_text("Turn 1")
    page.get_by_role("button", name="D only").click()
    expect(reading).to_contain_text("Turn 2")
    page.get_by_role("button", name="Fast").click()
    page.get_by_role("button", name="Play", exact=True).focus()
    page.keyboard.press("Enter")
    close = r"() => /distance 0\.(0\d|1[0-4])/.test(document.querySelector('.reading').textContent)"
    until(page, close, seconds=60)
    expect(reading).to_contain_text("1 of 1 modes")
    page.get_by_role("button", name="Pause").click()
    assert serious(page) == []
    page.get_by_role("button", name="Reset").click()
    expect(reading).to_contain_text("Turn 0")
    page.get_by_role("button", name="Going in circles").click()
    page.get_by_role("button", name="Apply the cure").click()
    expect(page.get_by_label("R1, at reals")).to_have_value("1")
    page.get_by_role("button", name="draw it…").click()  # by keyboard
    page.locator(".labview canvas").focus()
    for key in ("Space", "ArrowRight", "Space", "ArrowUp", "Space", "Enter"):
        page.keyboard.press(key)
    expect(reading).to_contain_text("Turn 0")


# -- compare ----------------------------------------------------------------------------
def test_runs_are_compared(runs, start, page):
    FakeRun(runs / "two", "collapse", steps=400, recipe="gan", seed=4).play(1.0, ticks=40).stop()
    page.goto(start(runs))
    for name in ("one", "two"):
        page.get_by_label(f"Compare {name}").check()
    page.get_by_role("button", name="Compare 2 runs").click()
    table = page.get_by_role("table")
    expect(table).to_contain_text("kid")
    expect(table).to_contain_text("seed=4")
    expect(page.locator(".grids img")).to_have_count(2)
    expect(page.locator("figure.chart")).to_have_count(3)
    assert serious(page) == []


# -- all pages --------------------------------------------------------------------------
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", [(1200, 900), (390, 844)])
def test_nothing_serious_and_nothing_beside_the_page(runs, start, browser, theme, size):
    address = start(runs)
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]}, color_scheme=theme, locale="zh-CN"
    )
    page = context.new_page()
    for path in ("/", "/run/one", "/compare?runs=one"):
        page.goto(address + path)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        page.wait_for_timeout(300)
        assert serious(page) == [], path
        wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert page.evaluate(wide) <= 0, path
        assert page.evaluate("document.documentElement.lang") == "zh-Hans"
    context.close()


def test_words_change_with_the_language(runs, start, page):
    page.goto(start(runs))
    expect(page.get_by_role("heading", level=1)).to_have_text("Runs")
    page.get_by_role("button", name="中文").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("训练")
    page.reload()
    expect(page.get_by_role("heading", level=1)).to_have_text("训练")


def test_every_word_is_in_both_languages():
    table = (STATIC / "strings.js").read_text()
    pairs = re.findall(
        r'(?:^|[\s{,])"?([\w.-]+)"?: \["((?:[^"\\]|\\.)*)", "((?:[^"\\]|\\.)*)"\]', table
    )
    known = {key for key, _, _ in pairs}
    assert len(known) == len(pairs)
    assert all(english and chinese for _, english, chinese in pairs)
    holes = {
        k: (set(re.findall(r"\{\w+\}", a)), set(re.findall(r"\{\w+\}", b))) for k, a, b in pairs
    }
    assert [k for k, (a, b) in holes.items() if a != b] == []
    used: set[str] = set()
    for file in [*STATIC.glob("*.js"), *(STATIC / "pages").glob("*.js")]:
        used |= set(re.findall(r'\bt\("([\w.-]+)"[,)]', file.read_text()))
    assert used - known == set()


def test_another_sites_page_reads_and_does_nothing(runs, start, browser):
    """A page of another origin, with a browser's full power to ask."""
    ours, theirs = start(runs), start(runs).replace("127.0.0.1", "localhost")
    context = browser.new_context()
    page = context.new_page()
    page.goto(theirs)
    ask = """async ([url, options]) => {
        try { return (await fetch(url, options)).status } catch (e) { return 'refused' }
    }"""
    for url, options in (
        ("/api/runs", {}),
        ("/api/session", {"mode": "cors"}),
        ("/api/runs/one/request", {"method": "POST", "body": '{"kind":"stop"}'}),
    ):
        assert page.evaluate(ask, [ours + url, options]) == "refused"
    opaque = page.evaluate(ask, [ours + "/api/runs", {"mode": "no-cors"}])
    assert opaque in (0, "refused")
    assert not list((runs / "one" / "requests").iterdir())
    context.close()


def test_the_browser_is_the_systems():
    assert Path(CHROMIUM).exists()


def test_each_verdict_has_its_words_in_chinese(runs, start, page):
    from ganforge.judging.health import VERDICTS

    words = (STATIC / "strings.js").read_text()
    for verdict in VERDICTS:
        assert f'"say.{verdict}": [' in words
        assert f'"do.{verdict}": [' in words
    FakeRun(runs / "two", "collapse", steps=400, recipe="gan").play(1.0, ticks=40).stop()
    page.goto(start(runs) + "/run/two")
    expect(page.locator(".verdict .sentence")).not_to_contain_text("模式崩溃")
    page.get_by_role("button", name="中文").click()
    expect(page.locator(".verdict .sentence")).to_contain_text("模式崩溃")
    assert not serious(page)
