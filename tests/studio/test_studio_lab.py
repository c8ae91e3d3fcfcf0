"""The lab's theory against closed forms, its games against what its lessons claim."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm

import ganforge.studio
from conftest import client_of
from ganforge.studio import lab
from ganforge.studio.lab import GAMES, Experiment, Setup

AXIS = np.linspace(-12, 14, 4001)
CELL = AXIS[1] - AXIS[0]


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """However busy the machine, the turns asked for are played."""
    monkeypatch.setattr(lab, "MOST_SECONDS", 1e9)


# p = N(0, 1) against q, to six digits by quadrature: D's loss against the best D.
CLOSED = {
    (0, 1): {"gan": 1.386294, "lsgan": 0.25, "hinge": 2.0, "r3gan": 0.693147, "wgan": 0.0, "ebgan": 1.0},
    (1, 1): {"gan": 1.163451, "lsgan": 0.1989865, "hinge": 1.234150, "r3gan": 0.491802, "wgan": -1, "ebgan": 0.617075},
    (4, 1): {"gan": 0.120854, "lsgan": 0.017150, "hinge": 0.091001, "r3gan": 0.006611, "wgan": -4, "ebgan": 0.0455005},
    (0, 2): {"gan": 1.200828, "lsgan": 0.2100095, "hinge": 1.354651, "wgan": -math.sqrt(2 / math.pi),
             "ebgan": 0.677327},
}  # fmt: skip


@pytest.mark.parametrize("q", CLOSED)
def test_least_losses_of_d_are_those_of_the_papers(q):
    p_grid, q_grid = norm.pdf(AXIS), norm.pdf(AXIS, *q)
    for game, expected in CLOSED[q].items():
        least, _ = GAMES[game].theory.losses(p_grid, q_grid, CELL)
        assert least == pytest.approx(expected, abs=2e-3 if game == "r3gan" else 2e-5)


@pytest.mark.parametrize("game", GAMES)
def test_at_the_end_the_losses_are_the_constants_shown(game):
    theory = GAMES[game].theory
    p = norm.pdf(AXIS)
    for found, shown in zip(theory.losses(p, p, CELL), theory.at_end, strict=True):
        if shown is not None:  # else theory leaves it open
            assert found == pytest.approx(shown, abs=1e-4)


def test_an_energy_is_the_margin_where_forgeries_are_more_likely():
    theory, p, q = GAMES["ebgan"].theory, norm.pdf(AXIS), norm.pdf(AXIS, 1)
    best = theory.best(p, q, CELL)
    assert best is not None
    assert set(best[AXIS > 0.51]) == {1.0}
    assert set(best[AXIS < 0.49]) == {0.0}
    d, _ = theory.losses(p, q, CELL)
    assert d == pytest.approx((p * best + q * np.maximum(0, 1 - best)).sum() * CELL, abs=1e-9)


def test_began_shows_its_measure_and_its_balance():
    made = Experiment(Setup(data="blob", game="began"))
    made.play(4)
    real, fake = made.terms["D/real"], made.terms["G/adv"]
    more = made.frame()["more"]
    assert more["M"] == pytest.approx(real + abs(0.5 * real - fake), rel=1e-4)
    assert 0 < more["k"] < 1


def test_the_wasserstein_critic_has_slope_one_and_its_gap_is_w1():
    theory, p, q = GAMES["wgan"].theory, norm.pdf(AXIS), norm.pdf(AXIS, 1.5)
    best = theory.best(p, q, CELL)
    assert best is not None
    assert np.abs(np.diff(best)).max() <= CELL * (1 + 1e-9)
    assert ((p - q) * best).sum() * CELL == pytest.approx(1.5, abs=0.01)


def test_distance_of_apart_and_of_outside():
    p = norm.pdf(AXIS, -5, 0.2)
    assert lab.jsd(p, p, CELL) == pytest.approx(0, abs=1e-9)
    assert lab.jsd(p, norm.pdf(AXIS, 5, 0.2), CELL) == pytest.approx(math.log(2), abs=1e-6)
    assert lab.jsd(p, np.zeros_like(p), CELL) == pytest.approx(math.log(2), abs=1e-6)


@pytest.mark.parametrize("game", GAMES)
@pytest.mark.parametrize("dims", [1, 2])
def test_every_game_plays_and_every_frame_is_json(game, dims):
    made = Experiment(
        Setup(dims=dims, data={1: "flat", 2: "moons"}[dims], game=game, latent=dims,
              penalties={"r1": 0.1, "lecam": 0.1})
    )  # fmt: skip
    made.play(2)
    made.play(1, "D")
    made.play(1, "G")
    frame = json.loads(json.dumps(made.frame(), allow_nan=False))
    assert frame["step"] == 4
    assert len(frame["field"]) == lab.CELLS[dims] ** dims
    assert np.shape(frame["fake"]) == (lab.SHOWN, dims)
    assert np.shape(frame["pull"]) == (64, dims)
    assert frame["loss"]["D"] is not None
    assert 0 <= frame["distance"] <= math.log(2) + 1e-6


def test_one_players_moves_leave_the_other_as_it_was():
    made = Experiment(Setup())
    before = {k: v.clone() for k, v in made.nets.state_dict().items()}
    made.play(3, "D")
    moved = {k.split(".")[0] for k, v in made.nets.state_dict().items() if not v.equal(before[k])}
    assert moved == {"D"}


def test_same_setup_same_game():
    frames = []
    for _ in range(2):
        made = Experiment(Setup(seed=3))
        made.play(5)
        frames.append(made.frame())
    assert frames[0] == frames[1]


# -- the lessons ------------------------------------------------------------------------
def presets() -> dict:
    """The pages' own presets: what is claimed is what is tested."""
    text = (Path(ganforge.studio.__file__).parent / "static/pages/lab.js").read_text()
    base = re.search(r"const BASE = (\{.*?\});", text, re.S)
    body = re.search(r"export const PRESETS = (\{.*?\n\});", text, re.S)
    assert base is not None
    assert body is not None

    def read(source: str) -> dict:
        quoted = re.sub(r"(\w+):", r'"\1":', source)
        return json.loads(re.sub(r",(\s*\})", r"\1", quoted))

    return {"BASE": read(base[1]), **read(body[1])}


def played(name: str, turns: int, cured: bool = False) -> list[dict]:
    """Frames of a preset, every 50 turns."""
    known = presets()
    cure = known[name]["cure"] if cured else {}
    made = Experiment(Setup(**(known["BASE"] | known[name]["setup"] | cure)))
    frames = []
    while made.trainer.step < turns:
        made.play(50)
        frames.append(made.frame())
    return frames


def offset(frame: dict) -> float:
    """How far the forgeries' mean is from the data's."""
    return float(np.linalg.norm(np.mean(frame["fake"], 0) - np.mean(frame["real"], 0)))


def test_lesson_works():
    frames = played("works", 250)
    assert frames[-1]["modes"] == {"found": 8, "of": 8}
    assert frames[-1]["distance"] < 0.35
    assert frames[-1]["reads"]["real"] == pytest.approx(0.5, abs=0.05)


def test_lesson_line():
    last = played("line", 300)[-1]
    assert last["distance"] < 0.15
    assert -0.05 < last["loss"]["D"] - last["theory"]["D"] < 0.25  # no D beats the best


def test_lesson_collapse():
    assert np.median([f["modes"]["found"] for f in played("collapse", 300)]) <= 2


def test_lesson_cycling_and_its_cure():
    assert min(offset(f) for f in played("cycling", 300)) > 0.3
    assert offset(played("cycling", 200, cured=True)[-1]) < 0.1


def test_lesson_vanishing_and_its_cure():
    frames = played("vanishing", 100)
    assert math.dist(np.mean(frames[-1]["fake"], 0), np.mean(frames[0]["fake"], 0)) < 0.1
    assert frames[-1]["distance"] > 0.68
    assert played("vanishing", 150, cured=True)[-1]["distance"] < 0.4


# -- sessions ---------------------------------------------------------------------------
def test_a_session_by_the_api(runs):
    client = client_of(runs)
    opened = client.post("/api/lab", json={"data": "blob"}).json()
    assert opened["frame"]["step"] == 0
    assert opened["end"]["D"] == pytest.approx(1.3863, abs=1e-4)
    frame = client.post(f"/api/lab/{opened['session']}", json={"turns": 3}).json()
    assert frame["step"] == 3
    drawn = [[0.1 * i, 0.5] for i in range(-9, 10)]
    assert client.post("/api/lab", json={"data": "drawn", "drawn": drawn}).status_code == 200


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"data": "nowhere"}, 422), ({"data": "bump"}, 422), ({"game": "chess"}, 422), ({"width": 10**6}, 422),
        ({"rate_g": "fast"}, 422), ({"penalties": {"tax": 1.0}}, 422), ({"data": "drawn"}, 422), ({"x": 1}, 422),
        ({"data": "drawn", "drawn": [[9.0, 9.0]] * 9}, 422), ({"batch": 0}, 422), ({"seed": -1}, 422),
    ],
)  # fmt: skip
def test_impossible_set_ups_are_refused_in_words(runs, body, status):
    answer = client_of(runs).post("/api/lab", json=body)
    assert answer.status_code == status
    assert answer.json()["detail"]
    assert client_of(runs).post("/api/lab/nobody", json={}).status_code == 404


def test_sessions_are_few_and_end(monkeypatch):
    room = lab.Lab()
    names = [
        room.open({"dims": 1, "data": "bump"})["session"] for _ in range(lab.MOST_SESSIONS + 1)
    ]
    with pytest.raises(lab.Problem):
        room.play(names[0], {})
    monkeypatch.setattr(lab, "LIFETIME", 0.0)
    with pytest.raises(lab.Problem):
        room.play(names[-1], {})


def test_a_request_computes_for_a_bounded_time(monkeypatch):
    made = Experiment(Setup())
    monkeypatch.setattr(lab, "MOST_SECONDS", 0.05)
    made.play(500)
    assert 0 < made.trainer.step < 500
