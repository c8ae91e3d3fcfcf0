"""Runs on sounds: seen as spectrograms, and played."""

from __future__ import annotations

import base64
import io
import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image
from playwright.sync_api import Page, expect
from starlette.testclient import TestClient
from test_studio_pages import serious, until

import ganforge
from conftest import client_of
from ganforge.sounds import heard, kept_sounds
from ganforge.studio import explore

RATE = 8000
LENGTH = {"wave": 1024, "spectrum": 2048}


@pytest.fixture(scope="module")
def sounding(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two runs on tones, trained for a moment."""
    folder = tmp_path_factory.mktemp("sounding")
    (folder / "tones").mkdir()
    for i in range(24):
        t = np.arange(2048) / RATE
        wave = 0.8 * np.sin(2 * math.pi * (300 + 40 * i) * t) * np.exp(-8 * t)
        soundfile.write(folder / "tones" / f"{i}.wav", wave, RATE)
    runs = folder / "runs"
    for name, recipe in (("wave", "wavegan"), ("spectrum", "specgan")):
        settings = {
            "width": 4,
            "batch_size": 4,
            "rate": RATE,
            "samples": LENGTH[name],
            "d_steps": 1,
        }
        ganforge.train(str(folder / "tones"), recipe, runs / name, settings=settings, steps=2)
    return runs


@pytest.fixture(scope="module")
def client(sounding: Path) -> TestClient:
    return client_of(sounding)


def decoded(wav: bytes) -> np.ndarray:
    """(T,) of a WAV file of one channel."""
    x, rate = soundfile.read(io.BytesIO(wav), dtype="int16")
    assert rate == RATE
    return x


@pytest.mark.parametrize("name", LENGTH)
def test_a_sound_is_the_generators_own(client: TestClient, sounding: Path, name: str) -> None:
    opened = client.post(f"/api/explore/{name}/open", json={}).json()
    assert opened["sound"] is True
    body = {"step": opened["step"], "points": [{"seed": 5}, {"seed": 6, "u": 0.4}]}
    latents = client.post(f"/api/explore/{name}/make", json=body | {"form": "npy"}).content
    z = torch.from_numpy(np.load(io.BytesIO(latents)))
    g = ganforge.load(sounding / name)
    want = heard(g.config, g.make(ganforge.spec.Ask(z))).mul(32767).round().short()[:, 0].numpy()
    got = client.post(f"/api/explore/{name}/hear", json=body).json()["sounds"]
    assert len(got) == 2
    for one, wave in zip(got, want, strict=True):
        x = decoded(base64.b64decode(one["wav"]))
        assert len(x) == LENGTH[name]
        assert np.abs(x.astype(int) - wave).max() <= 1
        picture = Image.open(io.BytesIO(base64.b64decode(one["picture"].split(",")[1])))
        assert picture.size == (128, 96)
    sheet = client.post(f"/api/explore/{name}/make", json=body | {"columns": 2})
    shown = Image.open(io.BytesIO(sheet.content))
    assert shown.size == (256, 96)
    assert len(np.unique(np.asarray(shown).reshape(-1, 3), axis=0)) > 20


def test_a_walk_is_one_file_with_pauses(client: TestClient) -> None:
    body = {"step": 2, "points": [{"seed": 1}, {"seed": 2}], "between": 3, "form": "wav"}
    answer = client.post("/api/explore/wave/make", json=body)
    assert answer.headers["content-type"] == "audio/wav"
    assert len(decoded(answer.content)) == 4 * LENGTH["wave"] + 3 * RATE // 4


def test_both_views_of_a_sound_look_alike(sounding: Path) -> None:
    """What specgan made as it is, and the spectrogram of what is heard of it."""
    from ganforge.gallery import spectrogram
    from ganforge.sounds import seen

    g = ganforge.load(sounding / "spectrum")
    data = ganforge.data.open_source(str(sounding.parent / "tones"), **g.config["data_options"])
    x = data.batch(np.arange(4)).real
    for made, wave in zip(seen(g.config, x), heard(g.config, x), strict=True):
        a, b = (np.asarray(i.convert("L"), float) for i in (made, spectrogram(wave)))
        assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.8


def test_the_nearest_training_sounds_can_be_heard(client: TestClient) -> None:
    body = {"step": 2, "point": {"seed": 0}}
    found = client.post("/api/explore/wave/neighbours", json=body).json()["nearest"]
    assert len(decoded(base64.b64decode(found[0]["wav"]))) == LENGTH["wave"]


def test_what_cannot_be_heard_is_refused_in_words(
    client: TestClient, trained: Path, monkeypatch
) -> None:
    pictures = client_of(trained)
    for verb, more in (("hear", {}), ("make", {"form": "wav"})):
        body = {"step": 3, "points": [{}], **more}
        answer = pictures.post(f"/api/explore/real/{verb}", json=body)
        assert answer.status_code == 422
        assert "makes no sounds" in answer.json()["detail"]
    monkeypatch.setattr(explore, "MOST_HEARD", 3 * LENGTH["wave"])
    answer = client.post("/api/explore/wave/hear", json={"step": 2, "points": [{}] * 4})
    assert answer.status_code == 422
    assert "at most 3 sounds" in answer.json()["detail"]


def test_what_a_run_keeps_is_read_back(client: TestClient, sounding: Path, trained: Path) -> None:
    sounds = client.get("/api/runs/wave/sounds").json()["sounds"]
    assert len(sounds) == 16
    for one in sounds:
        assert len(decoded(base64.b64decode(one["wav"]))) == LENGTH["wave"]
        assert one["picture"].startswith("data:image/png;base64,")
    assert client.get("/api/runs/wave").json()["sound"] is True
    other = client_of(trained)
    assert other.get("/api/runs/real/sounds").json() == {"sounds": []}
    assert other.get("/api/runs/real").json()["sound"] is False
    strange = '<img alt="spectrogram of &lt;b&gt;" src="data:image/png;base64,AA=="><audio '
    assert kept_sounds(strange + 'src="data:audio/wav;base64,AB">')[0]["name"] == "<b>"
    assert kept_sounds(strange + 'src="data:audio/wav;base64,A\' onload=x">') == []


# -- the pages --------------------------------------------------------------------------


def test_sounds_are_explored_by_keyboard(sounding, start, page: Page) -> None:
    page.add_init_script(  # which sounds began
        "window.played = []; const play = HTMLMediaElement.prototype.play;"
        "HTMLMediaElement.prototype.play = function () { played.push(this.src);"
        "return play.call(this); }"
    )
    page.goto(start(sounding) + "/explore/wave")
    here = page.get_by_role("button", name="Play the sound at this point")
    expect(here.locator("img")).to_be_visible(timeout=30_000)
    until(page, "() => document.querySelector('.stage audio').src.startsWith('blob:')")
    until(page, "() => document.querySelector('.stage audio').duration > 0.1")
    assert page.evaluate("played.length") == 0, "nothing sounds before it is asked to"
    here.focus()
    page.keyboard.press("Enter")
    until(page, "() => played.length === 1 && played[0].startsWith('blob:')")
    until(page, "() => document.querySelector('.stage audio').ended")
    page.get_by_role("application").focus()
    page.keyboard.press("Shift+ArrowRight")  # the new sound comes by itself
    until(page, "() => played.length === 2 && played[1] !== played[0]")
    page.get_by_label("Play as I move").uncheck()
    page.keyboard.press("Tab")
    around = page.locator("section", has=page.get_by_role("heading", name="Listen around"))
    expect(around.locator("li")).to_have_count(8)
    around.get_by_role("button", name="Play the sound of seed 3").click()
    until(page, "() => played.length === 3")
    around.get_by_role("button", name="Go to seed 3").click()
    expect(page.get_by_role("spinbutton", name="Seed")).to_have_value("3")
    around.get_by_role("button", name="Eight more").click()
    expect(around.get_by_role("button", name="Go to seed 9")).to_be_visible()
    for _ in range(2):
        page.get_by_role("button", name="Pin it").click()
        page.get_by_role("button", name="Elsewhere").click()
    expect(page.locator(".pins li")).to_have_count(2)
    page.get_by_label("Sounds each").fill("2")
    page.get_by_role("button", name="Walk between them").click()
    walk = page.locator("section", has=page.get_by_role("heading", name="From pin to pin"))
    expect(walk.locator(".board li")).to_have_count(3)
    before = page.evaluate("played.length")
    walk.get_by_role("button", name="Play all").click()
    until(page, "n => played.length === n + 3", before)
    expect(walk.get_by_role("button", name="Play all")).to_be_visible()
    page.get_by_role("button", name="Nearest in the data").click()
    expect(page.locator(".near li")).to_have_count(8)
    with page.expect_download() as got:
        page.locator(".stage").get_by_role("button", name="WAV").click()
    assert len(decoded(Path(got.value.path()).read_bytes())) == LENGTH["wave"]
    assert serious(page) == []


def test_a_runs_sounds_are_played_on_its_page(sounding, start, page: Page) -> None:
    page.add_init_script(  # an eighth of a second each would be over before it is seen
        "window.played = []; const play = HTMLMediaElement.prototype.play;"
        "HTMLMediaElement.prototype.play = function () { played.push(this.src);"
        "this.playbackRate = window.pace ?? 0.0625; return play.call(this); }"
    )
    page.goto(start(sounding) + "/run/wave")
    expect(page.get_by_alt_text("Spectrograms of the generator's sounds")).to_be_visible()
    kept = page.locator("section", has=page.get_by_role("heading", name="To be heard"))
    expect(kept.locator("li")).to_have_count(16)
    kept.get_by_role("button", name="Play all").click()
    expect(kept.get_by_role("button", name="Stop sound 1", exact=True)).to_be_visible()
    kept.get_by_role("button", name="Stop", exact=True).click()
    until(page, "() => [...document.querySelectorAll('audio')].every((a) => a.paused)")
    page.evaluate("() => { window.pace = 1; window.played = []; }")
    kept.get_by_role("button", name="Play all").click()
    until(page, "() => new Set(played).size === 16", seconds=30)
    expect(kept.get_by_role("button", name="Play all")).to_be_visible()
    assert serious(page) == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_on_a_phone_nothing_serious_and_nothing_beside_the_page(
    sounding, start, browser, theme: str
) -> None:
    address = start(sounding)
    context = browser.new_context(
        viewport={"width": 390, "height": 844}, color_scheme=theme, locale="zh-CN"
    )
    page = context.new_page()
    for path in ("/explore/spectrum", "/run/spectrum"):
        page.goto(address + path)
        expect(page.locator(".board li").first).to_be_visible(timeout=30_000)
        page.wait_for_timeout(300)
        assert serious(page) == [], path
        wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert page.evaluate(wide) <= 0, path
    context.close()
