"""A studio over synthetic runs: for the API in process, for the pages on a free port."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake_run import FakeRun
from playwright.sync_api import Browser, Page, expect, sync_playwright
from starlette.testclient import TestClient

import ganforge
from ganforge.studio import create_app
from ganforge.studio.server import Server, listen

CHROMIUM = "/usr/bin/chromium"
expect.set_options(timeout=20_000)  # a busy machine is slow, not wrong
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture(scope="session")
def half_trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    FakeRun(folder / "one", steps=400).play(until=0.5, ticks=40)
    return folder


@pytest.fixture
def runs(half_trained: Path, tmp_path: Path) -> Path:
    """A folder with one half-trained run, "one"."""
    return Path(shutil.copytree(half_trained, tmp_path / "runs"))


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one run that was really trained, for a moment."""
    folder = tmp_path_factory.mktemp("trained")
    ganforge.train(recipe="cgan", run=folder / "real", steps=3, batch_size=16, width=16)
    return folder


@pytest.fixture
def client(runs: Path) -> TestClient:
    return client_of(runs)


def client_of(folder: Path, **options) -> TestClient:
    """A browser's stand-in that holds the action token."""
    app = create_app(folder, **options)
    client = TestClient(app, base_url="http://127.0.0.1:8765", raise_server_exceptions=False)
    answer = client.get("/api/session")
    if answer.status_code == 200:
        client.headers["x-ganforge-action"] = answer.json()["action"]
    return client


@pytest.fixture
def start() -> Iterator[Callable[..., str]]:
    """start(folder) runs a studio in a thread and returns its address."""
    stops = []

    def begin(folder: Path, **options) -> str:
        listening = listen("127.0.0.1", 0)
        server = Server(create_app(folder, **options))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        stops.append((server, thread))
        return f"http://127.0.0.1:{listening.getsockname()[1]}"

    yield begin
    for server, thread in stops:
        server.should_exit = True
        thread.join(10)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as p:
        made = p.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield made
        made.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page that fails its test if it meets an error or asks another host."""
    context = browser.new_context(viewport={"width": 1200, "height": 900}, locale="en-US")
    made = context.new_page()
    made.set_default_timeout(15_000)
    wrong: list[str] = []
    made.on("pageerror", lambda e: wrong.append(f"error: {e}"))
    made.on("console", lambda m: wrong.append(m.text) if m.type == "error" else None)
    ours = ("http://127.0.0.1", "http://localhost", "blob:", "data:")
    made.on("request", lambda r: None if r.url.startswith(ours) else wrong.append(r.url))
    yield made
    context.close()
    assert wrong == []
