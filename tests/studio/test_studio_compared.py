"""The page of a comparison: from the folder that `ganforge compare` writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fake_run import grid, shapes
from playwright.sync_api import expect

from conftest import client_of


def result(variant: str, seed: int, kid: float, features: str = "lite") -> dict:
    protocol = {
        "features": {"name": features, "hash": features}, "resize": 112, "n_real": 2000,
        "n_fake": 2000, "reference": {"name": "fashion-mnist-mini", "split": "test"},
        "seed": 0, "truncation": 1.0, "ema": True,
    }  # fmt: skip
    metric = {"value": kid, "low": kid * 0.9, "high": kid * 1.1, "floor": 0.001}
    return {
        "format": 1, "code": "0" * 16, "variant": variant, "recipe": variant, "data": "fashion-mnist-mini",
        "seed": seed, "minutes": 1.0, "images": None, "settings": {}, "outcome": {"reason": "budget"},
        "health": "collapse" if kid > 0.1 else "healthy", "step": 500, "images_seen": 32000,
        "seconds": 60.0, "speed": 530.0, "memory_mib": 700,
        "curve": [[s, s * 500, {"value": kid + 1 / s, "low": 0, "high": 1}] for s in (5, 15, 30, 60)],
        "score": {"metrics": {"kid": metric, "coverage": metric}, "protocol": protocol},
    }  # fmt: skip


@pytest.fixture
def made(runs: Path) -> Path:
    """runs/match: two recipes, two seeds."""
    folder = runs / "match" / "results"
    folder.mkdir(parents=True)
    for variant, kid in (("r3gan", 0.02), ("gan", 0.15)):
        for seed in (0, 1):
            name = f"{variant}-{seed}-0123abcd"
            (folder / f"{name}.json").write_text(
                json.dumps(result(variant, seed, kid + seed / 100))
            )
            (folder / f"{name}.png").write_bytes(grid(shapes(16, 16, 0.1, seed), 4))
    return runs


def test_a_comparison_by_the_api(made):
    client = client_of(made)
    assert client.get("/api/comparisons").json()["comparisons"] == [
        {"key": "match", "name": "match", "data": "fashion-mnist-mini", "variants": 2, "results": 4}
    ]
    got = client.get("/api/comparisons/match").json()
    assert [r["variant"] for r in got["rows"]] == ["r3gan", "gan"]
    assert got["rows"][0]["mean"] == pytest.approx(0.025)
    assert got["rows"][1]["lost"] == 2
    assert got["differences"] == []
    curve = got["curves"][0]
    assert (curve["variant"], curve["x"][0], curve["x"][-1]) == ("r3gan", 5, 60)
    assert curve["mean"][-1] == pytest.approx(0.025 + 1 / 60, rel=1e-3)
    assert curve["low"][-1] < curve["mean"][-1] < curve["high"][-1]
    shot = client.get(f"/api/comparisons/match/{got['shots'][0]['file']}.png")
    assert shot.content.startswith(b"\x89PNG")
    assert [r["key"] for r in client.get("/api/runs").json()["runs"]] == ["one"]


def test_damage_and_strangers(made, tmp_path):
    client = client_of(made)
    folder = made / "match" / "results"
    (folder / "half.json").write_text('{"variant": "x"')
    (folder / "other.json").write_text('{"hello": 1}')
    (tmp_path / "secret.png").write_bytes(grid(shapes(1, 16, 0.1, 0), 1))
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    assert client.get("/api/comparisons/match").status_code == 200
    for path in (
        "nothing",
        "one",
        "match/none.png",
        "match/link.png",
        "match/..%2f..%2fsecret.png",
    ):
        answer = client.get(f"/api/comparisons/{path}")
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"
    broken = json.loads((folder / "gan-0-0123abcd.json").read_text())
    broken["score"] = {"metrics": 3}
    (folder / "gan-0-0123abcd.json").write_text(json.dumps(broken))
    assert client.get("/api/comparisons/match").status_code == 409


def test_a_comparison_in_the_browser(made, start, page):
    page.goto(start(made) + "/compare")
    page.get_by_role("link", name="match").focus()
    page.keyboard.press("Enter")
    table = page.get_by_role("table")
    expect(table.locator("tbody tr").first).to_contain_text("r3gan")
    expect(page.locator("figure.chart")).to_have_count(1)
    expect(page.locator(".grids img")).to_have_count(2)
