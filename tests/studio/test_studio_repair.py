"""A picture of one's own, given to a restorer on its page."""

from __future__ import annotations

import base64
import io
import struct
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect
from starlette.testclient import TestClient
from test_studio_pages import serious

import ganforge
from conftest import client_of
from ganforge.studio import repair
from ganforge.studio.problems import Problem


@pytest.fixture(scope="module")
def restorers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("restorers")
    small = {"steps": 2, "batch_size": 4, "width": 8}
    ganforge.train(recipe="denoise", run=folder / "mend", settings=small)
    ganforge.train(recipe="inpaint", run=folder / "fill", settings=small)
    return folder


@pytest.fixture(scope="module")
def client(restorers: Path) -> Iterator[TestClient]:
    client = client_of(restorers)
    yield client
    client.app.app.state.explorer.repairs.close()  # type: ignore[attr-defined]


def picture(size: tuple[int, int] = (40, 30), mode: str = "RGB") -> bytes:
    rng = np.random.default_rng(0)
    levels = rng.integers(0, 256, (size[1], size[0], len(mode)), dtype=np.uint8)
    to = io.BytesIO()
    Image.fromarray(levels, mode).save(to, "PNG")
    return to.getvalue()


def pixels(url: str) -> np.ndarray:
    head, _, data = url.partition(",")
    assert head == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


def give(client: TestClient, key: str, data: bytes, query: str = "&damage=true", **more):
    step = client.post(f"/api/explore/{key}/open", json={}).json()["step"]
    return client.post(f"/api/upload/{key}?step={step}{query}", content=data, **more)


def test_before_and_after_are_of_one_size(client: TestClient) -> None:
    assert client.post("/api/explore/mend/open", json={}).json()["damage"] == "noise:25"
    for mode in ("RGB", "RGBA"):
        found = give(client, "mend", picture(mode=mode))
        assert found.status_code == 200, found.text
        body = found.json()
        before, after = pixels(body["before"]), pixels(body["after"])
        assert before.shape[:2] == after.shape[:2] == tuple(body["size"]) == (30, 40)
    clean = give(client, "mend", picture(), "").json()
    given = np.asarray(Image.open(io.BytesIO(picture())))
    assert np.array_equal(pixels(clean["before"]), given), "undamaged, it is as it was given"
    assert not np.array_equal(pixels(body["before"])[..., :3], given)


def test_holes_are_where_the_picture_is_transparent(client: TestClient) -> None:
    whole = give(client, "fill", picture(), "")
    assert whole.status_code == 400
    assert "transparent places, or ganforge apply --mask" in whole.json()["detail"]
    assert give(client, "fill", picture(mode="RGBA"), "").status_code == 200


def bomb() -> bytes:
    """A PNG that says it has 60,000 x 60,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_what_is_no_good_picture_is_refused_in_words(client: TestClient, monkeypatch) -> None:
    for data, status, said in (
        (b"", 415, "drop a PNG"),
        (b"<svg onload=alert(1)>", 415, "drop a PNG"),
        (picture()[:200], 415, "drop a PNG"),
        (bomb(), 400, "bomb"),
    ):
        answer = give(client, "mend", data)
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert said in answer.json()["detail"].replace(",", "")
    monkeypatch.setattr(repair, "MOST_PIXELS", 1000)
    assert give(client, "mend", picture()).status_code == 413
    assert give(client, "mend", bytes(17 << 20)).status_code == 413
    foreign = {"origin": "https://example.org"}
    assert give(client, "mend", picture(), headers=foreign).status_code == 403


def test_others_do_not_wait_for_a_large_picture(client: TestClient, restorers, monkeypatch) -> None:
    """A repair that never ends leaves the explorer's own thread alone."""
    monkeypatch.setattr(repair, "MOST_WAITING", 2)
    slow = repair.Repairs(("/bin/sh", "-c", "exec sleep 600"))
    found: list[Problem] = []

    def give_up() -> None:
        with pytest.raises(Problem) as e:
            slow.make(restorers / "mend", 2, picture(), True)
        found.append(e.value)

    waiting = [threading.Thread(target=give_up) for _ in range(2)]
    for thread in waiting:
        thread.start()
    while slow._process is None or slow._places._value:
        waiting[0].join(0.01)
    assert client.post("/api/explore/mend/open", json={}).status_code == 200
    with pytest.raises(Problem) as e:
        slow.make(restorers / "mend", 2, picture(), True)
    assert e.value.status == 503
    assert e.value.title == "Too many pictures"
    for thread in waiting:
        while thread.is_alive():
            slow.close()
            thread.join(0.05)
    assert [p.title for p in found] == ["The picture was not made"] * 2


def test_a_process_that_died_is_followed_by_another(client: TestClient) -> None:
    assert give(client, "mend", picture()).status_code == 200
    client.app.app.state.explorer.repairs.close()  # type: ignore[attr-defined]
    assert give(client, "mend", picture()).status_code == 200


def test_one_drops_a_picture_and_moves_the_divider(restorers, start, page: Page, tmp_path) -> None:
    file = tmp_path / "mine.png"
    file.write_bytes(picture((64, 48)))
    page.goto(start(restorers) + "/explore/mend")
    expect(page.get_by_role("heading", name="Before and after")).to_be_visible()
    page.get_by_label("Drop a picture here").set_input_files(file)
    before = page.get_by_alt_text("Before")
    expect(before).to_be_visible()
    divider = page.get_by_role("slider", name="Divider")
    divider.focus()
    page.keyboard.press("Home")
    expect(before).to_have_css("clip-path", "inset(0px 100% 0px 0px)")
    box = page.locator(".divided").bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + 0.75 * box["width"], box["y"] + 0.5 * box["height"])
    expect(divider).to_have_value("75")
    damaged = before.get_attribute("src")
    page.get_by_label("It is whole").uncheck()
    expect(before).not_to_have_attribute("src", damaged or "")
    asked = []
    page.on("request", lambda r: asked.append(r.url) if "/api/upload/" in r.url else None)
    with page.expect_file_chooser() as chooser:
        page.get_by_label("Drop a picture here").click()
    assert page.get_by_label("Drop a picture here").input_value() == "", "the same is a change"
    with page.expect_response("**/api/upload/**"):
        chooser.value.set_files(file)
    assert len(asked) == 1
    with page.expect_download() as download:
        page.get_by_role("link", name="Download PNG").click()
    assert Image.open(download.value.path()).size == (64, 48)
    assert not serious(page)
