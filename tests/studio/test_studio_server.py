"""The studio's API: what it answers, what it refuses, what it survives."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import sys

import pytest
from fake_run import FakeRun

from conftest import client_of
from ganforge.errors import UserError
from ganforge.studio import actions, create_app
from ganforge.studio.guard import HEADERS
from ganforge.studio.library import Library
from ganforge.studio.live import MOST_QUEUED, Feeds, Viewer
from ganforge.studio.server import listen


def problem(answer, status: int) -> dict:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == status
    assert body["title"]
    assert "Traceback" not in answer.text
    return body


# -- what it answers ------------------------------------------------------------------
def test_the_list_says_how_each_run_does(runs, client):
    FakeRun(runs / "deep" / "two", "collapse", steps=400).play(1.0, ticks=40).stop()
    lines = {r["key"]: r for r in client.get("/api/runs").json()["runs"]}
    assert lines.keys() == {"one", "deep~1two"}
    one, two = lines["one"], lines["deep~1two"]
    assert one["state"] == "interrupted"
    assert (one["step"], one["images"], one["progress"]) == (200, 12800, 0.5)
    assert one["health"]["verdict"] == "healthy"
    assert set(one["score"]) == {"kid", "coverage"}
    assert two["state"] == "finished"
    assert two["health"]["verdict"] == "collapse"
    with FakeRun(runs / "three").training() as fake:
        fake.tick()
        three = {r["key"]: r for r in client_of(runs).get("/api/runs").json()["runs"]}["three"]
    assert three["state"] == "training"
    assert three["speed"] > 0
    assert three["left"] > 0


def test_a_single_run_is_a_folder_of_one(runs):
    assert [r["key"] for r in client_of(runs / "one").get("/api/runs").json()["runs"]] == ["."]


def test_pictures(runs, client):
    step, version = client.get("/api/runs/one").json()["sample"]
    answer = client.get(f"/api/runs/one/samples/{step}.png?v={version}")
    assert answer.content == (runs / "one" / "samples" / f"samples-{step:08d}.png").read_bytes()
    assert "immutable" in answer.headers["cache-control"]
    thumb = client.get(f"/api/runs/one/thumbs/{step}.png?v={version}")
    assert thumb.content.startswith(b"\x89PNG")
    problem(client.get("/api/runs/one/samples/999.png"), 404)


def test_series_are_thinned_and_zoomed(client):
    series = client.get("/api/runs/one/series").json()["series"]
    assert series["step"] == list(range(10, 201, 10))
    assert {"images", "seconds", "loss/D/real", "reading/D(x)", "grad/G", "speed"} <= series.keys()
    close = client.get("/api/runs/one/series?low=50&high=90").json()["series"]
    assert close["step"] == [50, 60, 70, 80, 90]


@pytest.mark.parametrize("path", ["/", "/run/one", "/explore", "/lab", "/compare"])
def test_pages_are_served_with_the_policy(client, path):
    answer = client.get(path)
    assert answer.status_code == 200
    assert {k: answer.headers[k] for k in HEADERS} == HEADERS
    assert "unsafe" not in HEADERS["content-security-policy"]
    assert "<script>" not in answer.text


def test_nothing_imports_torch_to_show_runs(runs):
    import subprocess

    code = (
        "import sys; from ganforge.studio import create_app; from starlette.testclient import "
        "TestClient; c = TestClient(create_app(sys.argv[1]), base_url='http://localhost');"
        "assert c.get('/api/runs').json()['runs']; c.get('/api/runs/one/series');"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(runs)], check=True)


# -- what it does ---------------------------------------------------------------------
def test_requests_are_left_in_the_folder(runs, client):
    with FakeRun(runs / "live").training() as fake:
        for body in ({"kind": "save"}, {"kind": "rate", "value": 0.5}, {"kind": "stop"}):
            assert client.post("/api/runs/live/request", json=body).status_code == 202
        assert fake.run.take_requests() == [
            {"kind": "save", "value": None}, {"kind": "rate", "value": 0.5},
            {"kind": "stop", "value": None},
        ]  # fmt: skip
        for body in ({"kind": "rm"}, {"kind": "rate", "value": 11}, {"kind": "stop", "x": 1}, []):
            problem(client.post("/api/runs/live/request", json=body), 422)
        problem(client.post("/api/runs/live/request", json={"kind": "rate"}), 400)
        problem(client.post("/api/runs/live/resume", json={}), 409)


def test_what_does_not_train_cannot_be_asked(client):
    assert (
        "resume"
        in problem(client.post("/api/runs/one/request", json={"kind": "stop"}), 409)["detail"]
    )


def test_a_refused_resume_says_why_in_its_own_words(runs, client, monkeypatch):
    code = "import sys; print('loading'); sys.exit('the data of ' + sys.argv[1] + ' changed')"
    monkeypatch.setattr(actions, "COMMAND", (sys.executable, "-c", code))
    said = problem(client.post("/api/runs/one/resume", json={"minutes": 1.0}), 409)
    assert said["title"] == "Cannot be resumed"
    assert said["detail"] == f"the data of {runs / 'one'} changed"


def test_a_resume_is_over_when_the_run_is_held(runs, client, monkeypatch):
    code = (
        "import sys, time; from ganforge.run import Run; run = Run(sys.argv[1])\n"
        "with run.writing():\n"
        "    while not run.take_requests(): time.sleep(0.02)"
    )
    monkeypatch.setattr(actions, "COMMAND", (sys.executable, "-c", code))
    answer = client.post("/api/runs/one/resume", json={"steps": 500})
    assert answer.status_code == 202
    problem(client.post("/api/runs/one/resume", json={}), 409)
    assert client.post("/api/runs/one/request", json={"kind": "stop"}).status_code == 202
    os.waitpid(answer.json()["pid"], 0)


# -- what it refuses ------------------------------------------------------------------
@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8765", "10.0.0.1", "", "localhost.evil"]
)
def test_a_foreign_name_for_this_host_gets_nothing(client, host):
    problem(client.get("/api/runs", headers={"host": host}), 421)


@pytest.mark.parametrize("host", ["localhost:1", "127.0.0.1", "[::1]:8765"])
def test_the_loopback_goes_by_its_names(client, host):
    assert client.get("/api/runs", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"}, {"origin": "null"}, {"origin": "http://127.0.0.1:9999"},
        {"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"},
    ],
)  # fmt: skip
def test_foreign_origins_neither_read_nor_act(runs, client, headers):
    problem(client.get("/api/runs", headers=headers), 403)
    with FakeRun(runs / "live").training() as fake:
        problem(client.post("/api/runs/live/request", json={"kind": "stop"}, headers=headers), 403)
        assert fake.run.take_requests() == []


def test_a_link_from_elsewhere_opens_a_page(client):
    headers = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert client.get("/", headers=headers).status_code == 200


def test_actions_need_the_pages_token(runs, client):
    with FakeRun(runs / "live").training() as fake:
        for token in ("", "guess", "é"):
            headers = {"x-ganforge-action": token.encode()}
            answer = client.post("/api/runs/live/request", json={"kind": "stop"}, headers=headers)
            problem(answer, 403)
        assert fake.run.take_requests() == []


def test_an_open_address_needs_the_token(runs):
    with pytest.raises(UserError, match="needs a token"):
        create_app(runs, host="0.0.0.0")
    client = client_of(runs, host="0.0.0.0", token="secret-token")
    for path in ("/", "/api/runs", "/static/app.js", "/api/runs?token=wrong"):
        problem(client.get(path), 401)
    answer = client.get("/run/one?token=secret-token&x=1", follow_redirects=False)
    assert answer.status_code == 303
    assert answer.headers["location"] == "/run/one?x=1"
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert client.get("/api/runs").status_code == 200  # by the cookie
    client.cookies.clear()
    bearer = {"authorization": "Bearer secret-token"}
    assert client.get("/api/runs", headers=bearer | {"host": "192.168.1.7"}).status_code == 200
    problem(client.get("/api/runs", headers=bearer | {"host": "evil.example"}), 421)
    away = client.get("//evil.example/?token=secret-token", follow_redirects=False)
    assert not away.headers["location"].startswith("//")


@pytest.mark.parametrize(
    "path",
    [
        "/api/runs/..", "/api/runs/%2e%2e", "/api/runs/..~1outside", "/api/runs/~1etc",
        "/api/runs/one~1samples", "/api/runs/%00", "/api/runs/outside", "/static/../server.py",
        "/static/%2e%2e/server.py", "/static/..%2fserver.py", "/nowhere", "/api/nowhere",
    ],
)  # fmt: skip
def test_no_path_leaves_the_folder(runs, tmp_path, path):
    FakeRun(tmp_path / "outside").tick()
    problem(client_of(runs).get(path), 404)


def test_links_that_leave_the_run_are_not_followed(runs, tmp_path, client):
    secret = tmp_path / "secret.png"
    secret.write_bytes((runs / "one" / "samples").glob("*.png").__next__().read_bytes())
    os.symlink(secret, runs / "one" / "samples" / "samples-00000777.png")
    FakeRun(tmp_path / "outside").tick()
    os.symlink(tmp_path / "outside", runs / "inside")
    problem(client.get("/api/runs/one/samples/777.png"), 404)
    assert [r["key"] for r in client.get("/api/runs").json()["runs"]] == ["one"]


def test_bodies_are_bounded(client):
    problem(client.post("/api/runs/one/request", content=b"x" * (300 << 10)), 413)

    def parts():
        for _ in range(300):
            yield b"x" * 1024

    problem(client.post("/api/runs/one/request", content=parts()), 413)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/runs/one/series?low=abc", 422), ("GET", "/api/runs/one/samples/x.png", 422),
        ("PUT", "/api/runs", 405), ("POST", "/api/runs/nope/request", 422),
    ],
)  # fmt: skip
def test_bad_requests_get_problem_details(client, method, path, status):
    problem(client.request(method, path), status)


def test_a_fault_of_ours_is_no_traceback(runs, client, monkeypatch):
    monkeypatch.setattr(Library, "summaries", lambda self: 1 / 0)
    problem(client.get("/api/runs"), 500)


# -- what it survives -----------------------------------------------------------------
def test_damaged_files(runs, client):
    run = runs / "one"
    for path in (run / "samples").iterdir():
        path.write_bytes(path.read_bytes()[:50])
    (run / "samples" / "samples-00000005.png").write_bytes(b"GIF89a no picture")
    with open(run / "records.jsonl", "ab") as f:
        f.write(b'\xff\xfe{"step":1}\n{"step":}\n{"step":99999,"images":1')
    (run / "scores" / "bad.json").write_text("{")
    (run / "checkpoints" / "best.json").write_text("[")
    assert client.get("/api/runs").json()["runs"][0]["step"] == 200
    assert client.get("/api/runs/one/series").json()["series"]["step"][-1] == 200
    problem(client.get("/api/runs/one/samples/5.png"), 404)
    problem(client.get("/api/runs/one/thumbs/200.png"), 404)
    (run / "config.yaml").write_text("][")
    assert client.get("/api/runs").json()["runs"][0]["recipe"] is None


def test_a_picture_too_large_to_decode(runs, client):
    import struct
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    bomb = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )
    (runs / "one" / "samples" / "samples-00000005.png").write_bytes(bomb)
    problem(client.get("/api/runs/one/thumbs/5.png"), 404)


def events(data: bytes) -> tuple[str, dict]:
    name, body = data.decode().strip().split("\n")
    return name.removeprefix("event: "), json.loads(body.removeprefix("data: "))


def test_the_feed_follows_a_run_through_everything(runs):
    """One watcher, two viewers, one of whom stalls; growth, roll-back, deletion, return."""

    async def scene() -> None:
        feeds = Feeds(Library(runs))
        watcher = feeds.run("one")
        assert feeds.run("one") is watcher
        following = watcher.follow()
        name, first = events(await anext(following))
        assert name == "first"
        assert first["series"]["step"][-1] == 200
        assert first["count"] == 20
        stalled = watcher.follow()
        assert events(await anext(stalled))[0] == "first"

        fake = FakeRun.__new__(FakeRun)
        from ganforge.run import Run

        fake.__dict__.update(
            run=Run(runs / "one"), fate="healthy", steps=400, seed=0, side=32, step=200
        )
        import numpy as np

        fake.random = np.random.default_rng(0)
        fake.tick()
        fake.picture()
        name, news = events(await asyncio.wait_for(anext(following), 5))
        assert name == "news"
        assert news["series"]["step"] == [210]
        assert news["samples"][-1][0] == 210
        assert news["summary"]["step"] == 210

        fake.step = 100
        fake.run.append(fake.record(event="rollback", message="NaN"))
        name, again = events(await asyncio.wait_for(anext(following), 5))
        assert (name, again["series"]["step"][-1]) == ("first", 100)

        shutil.move(runs / "one", runs.parent / "away")
        assert events(await asyncio.wait_for(anext(following), 5))[0] == "gone"
        shutil.move(runs.parent / "away", runs / "one")
        name, back = events(await asyncio.wait_for(anext(following), 10))
        assert (name, back["series"]["step"][-1]) == ("first", 100)
        await following.aclose()
        await stalled.aclose()
        assert watcher.viewers == set()

    asyncio.run(scene())


def test_a_viewer_that_stalls_is_bounded_and_starts_again():
    async def scene() -> None:
        viewer = Viewer()
        viewer.behind = False
        for i in range(10 * MOST_QUEUED):
            viewer.put(b"%d" % i)
        assert len(viewer.queue) <= MOST_QUEUED
        assert viewer.behind

    asyncio.run(scene())


def test_answers_are_sent_at_once():
    """Without TCP_NODELAY each waits for the acknowledgement of its headers."""
    with listen("127.0.0.1", 0) as listening:
        assert listening.proto == socket.IPPROTO_TCP
        with socket.create_connection(listening.getsockname()):
            accepted, _ = listening.accept()
            with accepted:
                assert accepted.proto == socket.IPPROTO_TCP
