"""Walking through latent space: what is made where, and what is refused."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
import torch
from PIL import Image
from starlette.testclient import TestClient

from conftest import client_of
from ganforge import draws
from ganforge.generator import Generator
from ganforge.judging.neighbours import Neighbours
from ganforge.objectives.latent import Latent
from ganforge.spec import Ask, Spec
from ganforge.studio import explore
from ganforge.studio.explore import Opened, Point


class Toy:
    """A generator whose picture is its latent: G(z) = tanh(z), two pixels for each number."""

    def __init__(self, latent: Latent, classes: int = 0) -> None:
        self.latent, self.classes = latent, [f"class {i}" for i in range(classes)]
        self.spec = Spec((1, latent.width, 2), classes)

    ask, label = Generator.ask, Generator.label

    def make(self, ask: Ask) -> torch.Tensor:
        assert ask.latent is not None
        x = ask.latent.tanh()
        return torch.stack([x, -x], 2)[:, None]


def opened(latent: Latent, classes: int = 0) -> Opened:
    return Opened(Toy(latent, classes))  # type: ignore[arg-type]


def latent_of(o: Opened, points: list[Point]) -> torch.Tensor:
    z = explore.resolve(o, points).latent
    assert z is not None
    return z


def at(**fields) -> Point:
    return Point(**fields)


@pytest.fixture(scope="module")
def client(trained) -> TestClient:
    return client_of(trained)


@pytest.fixture(scope="module")
def model(client) -> dict:
    return client.post("/api/explore/real/open", json={}).json()


# -- the pad ----------------------------------------------------------------------------
def test_the_pad_is_a_sphere_about_its_centre():
    o = opened(Latent(64))
    with draws.keyed(5, "explore", torch.arange(3)):
        g = draws.normal(3, 64)
    centre, right, back = latent_of(
        o, [at(seed=5), at(seed=5, u=math.pi / 2), at(seed=5, u=math.pi)]
    )
    torch.testing.assert_close(centre, g[0])
    torch.testing.assert_close(right, g[1])
    torch.testing.assert_close(back, -g[0])


@pytest.mark.parametrize("kind", ["normal", "uniform", "truncated"])
def test_every_point_of_the_pad_is_a_fair_draw(kind):
    """Over many pads, what lies at one place has the latent's own distribution."""
    latent = Latent(48, kind)
    z = latent_of(opened(latent), [at(seed=s, u=1.1, v=-0.7) for s in range(128)]).flatten()
    drawn = Latent(48, kind).draw(4000).flatten()
    quantiles = torch.linspace(0.02, 0.98, 25)
    assert (z.quantile(quantiles) - drawn[:100_000].quantile(quantiles)).abs().max() < 0.12


def test_truncation_bounds_and_codes_are_set():
    latent = Latent(16, categorical=(10,), continuous=2)
    o = opened(latent)
    z = latent_of(o, [at(truncation=0.25, code=[7, None, -1.5])])
    assert z[0, :16].abs().max() <= 0.5
    assert latent.categories(z)[0].argmax() == 7
    assert latent.codes(z)[0, 1] == -1.5
    assert -1 <= latent.codes(z)[0, 0] <= 1


def test_paths_go_from_pin_to_pin_and_change_class_half_way():
    o = opened(Latent(32, categorical=(3,), continuous=1), classes=4)
    ends = [
        at(seed=1, label=0, code=[0, -1]),
        at(seed=2, label=3, code=[2, 1]),
        at(seed=2, label=3),
    ]
    pinned = explore.resolve(o, ends)
    way = explore.path(o.generator, pinned, 10)
    assert way.latent is not None
    assert pinned.latent is not None
    assert way.label is not None
    assert len(way.latent) == 21
    torch.testing.assert_close(way.latent[[0, 10, 20]], pinned.latent, rtol=1e-4, atol=1e-5)
    assert way.label[:11].tolist() == [0] * 5 + [3] * 6
    noise, codes = way.latent[:, :32], way.latent[:, 32:]
    assert codes[5, 3] == pytest.approx(0, abs=1e-6)
    assert set(codes[:, :3].flatten().tolist()) == {0.0, 1.0}
    norms = noise[:11].norm(dim=1)
    assert norms.min() > 0.8 * min(norms[0], norms[10])  # along the sphere, not through it


def test_directions_are_those_in_which_pictures_change():
    """A generator that shows only two of its numbers, one of them loudly."""
    latent = Latent(12)

    class Loud(Toy):
        def make(self, ask: Ask) -> torch.Tensor:
            assert ask.latent is not None
            x = torch.zeros(len(ask.latent), 1, 8, 8)
            x[:, 0, :, :4] = (ask.latent[:, 7] * 0.3).view(-1, 1, 1)
            x[:, 0, :, 4:] = (ask.latent[:, 2] * 0.1).view(-1, 1, 1)
            return x

    o = Opened(Loud(latent))  # type: ignore[arg-type]
    found = explore.find_directions(o, None)
    along, shares = found.vectors, found.shares
    assert along[0].abs().argmax() == 7
    assert along[0].abs().max() > 0.95
    assert along[1].abs().argmax() == 2
    assert shares[0] == pytest.approx(0.9, abs=0.03)
    still, moved = latent_of(o, [at(seed=3), at(seed=3, push=[3.0])])
    assert abs((moved - still)[7]) > 1
    assert float(moved.norm()) == pytest.approx(float(still.norm()), rel=1e-5)


@pytest.mark.parametrize("shape", [(1, 5, 7), (2, 4, 4), (3, 8, 8), (5, 4, 4), (1, 512), (2,)])
def test_samples_of_any_shape_become_pictures(shape):
    x = torch.linspace(-1, 1, 3 * math.prod(shape)).reshape(3, *shape)
    v = explore.pictures(x)
    assert v.dtype == np.uint8
    assert v.shape[3] == 3
    if len(shape) == 3:
        assert v.shape == (3, *shape[1:], 3)
        assert v.min() == 0
    Image.open(io.BytesIO(explore.sheet(v, 2))).load()


def test_one_colour_is_exact_to_the_byte():
    x = (torch.arange(256) / 127.5 - 1).reshape(1, 1, 16, 16)
    assert explore.pictures(x)[0, ..., 0].flatten().tolist() == list(range(256))


# -- by the API -------------------------------------------------------------------------
def test_what_can_be_chosen(model):
    assert model["classes"][0] == "T-shirt/top"
    assert model["shape"][0] == 1
    assert model["step"] == model["checkpoints"][-1] == 3
    assert model["latent"]["size"] > 0


def test_pictures_are_the_generators_own(client, model, trained):
    import ganforge

    body = {"step": 3, "points": [{"seed": 9, "u": 0.3, "v": -0.2, "label": 4}]}
    answer = client.post("/api/explore/real/make", json=body)
    assert answer.headers["content-type"] == "image/png"
    got = np.asarray(Image.open(io.BytesIO(answer.content)))[..., 0]
    with draws.keyed(9, "explore", torch.arange(3)):
        g = draws.normal(3, model["latent"]["size"])
    r = math.hypot(0.3, -0.2)
    noise = math.cos(r) * g[0] + math.sin(r) * (0.3 * g[1] - 0.2 * g[2]) / r
    gen = ganforge.load(trained / "real")
    assert gen.latent is not None
    if gen.latent.kind != "normal":
        noise = gen.latent.noise(torch.special.ndtr(noise))
    x = gen.make(Ask(noise[None], torch.tensor([4])))
    want = x[0, 0].add(1).mul(127.5).round().byte().numpy()
    assert np.abs(got.astype(int) - want).max() <= 1


def test_films_and_latents_as_files(client, model):
    body = {"step": 3, "points": [{"seed": 1}, {"seed": 2}], "between": 4}
    for form in ("webp", "gif"):
        answer = client.post("/api/explore/real/make", json=body | {"form": form})
        film = Image.open(io.BytesIO(answer.content))
        assert answer.headers["content-type"] == f"image/{form}"
        assert getattr(film, "n_frames", 1) > 4
        assert min(film.size) >= 200
    answer = client.post("/api/explore/real/make", json=body | {"form": "npy"})
    z = np.load(io.BytesIO(answer.content), allow_pickle=False)
    assert z.shape == (5, model["latent"]["size"])


def test_a_film_is_a_video_where_the_server_has_ffmpeg(client, model, tmp_path, monkeypatch):
    body = {"step": 3, "points": [{"seed": 1}, {"seed": 2}], "between": 4, "form": "mp4"}
    monkeypatch.setenv("PATH", "/nowhere")
    assert client.post("/api/explore/real/open", json={}).json()["video"] is False
    answer = client.post("/api/explore/real/make", json=body)
    assert answer.status_code == 400
    assert "needs ffmpeg" in answer.json()["detail"]
    program = tmp_path / "ffmpeg"
    program.write_text('#!/bin/sh\nfor last; do :; done\n/bin/cat > "$last"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert client.post("/api/explore/real/open", json={}).json()["video"] is True
    answer = client.post("/api/explore/real/make", json=body)
    assert answer.headers["content-type"] == "video/mp4"
    assert answer.content.count(b"\x89PNG") == 8  # there and back


def test_neighbours_are_training_samples(client, model, monkeypatch):
    body = {"step": 3, "point": {"seed": 0, "label": 1}}
    answer = client.post("/api/explore/real/neighbours", json=body).json()
    assert answer["of"] == 8000
    distance = [n["distance"] for n in answer["nearest"]]
    assert distance == sorted(distance)
    assert all(n["picture"].startswith("data:image/png;base64,") for n in answer["nearest"])


def test_a_copy_of_a_training_sample_is_found_at_distance_zero():
    from ganforge.data import Dataset

    data = Dataset(np.random.default_rng(0).integers(0, 256, (300, 20, 20, 1), np.uint8))
    toy = opened(Latent(2))
    found = explore.nearest(toy, Neighbours(data), data.batch(np.array([217])).real, 3)
    assert found["nearest"][0]["number"] == 217
    assert found["nearest"][0]["distance"] == 0


@pytest.mark.parametrize(
    "change",
    [
        {"points": []}, {"points": [{"label": 10}]}, {"points": [{"u": 9}]}, {"points": [{"seed": -1}]},
        {"points": [{"truncation": 0}]}, {"points": [{"code": [1]}]}, {"points": [{"x": 1}]},
        {"points": [{}] * 129}, {"points": [{}] * 60, "between": 60}, {"form": "exe"}, {"step": "latest"},
        {"points": [{"push": [math.nan]}]},
    ],
)  # fmt: skip
def test_impossible_wishes_are_refused_in_words(client, model, change):
    import json

    body = json.dumps({"step": 3, "points": [{}]} | change)
    answer = client.post("/api/explore/real/make", content=body,
                         headers={"content-type": "application/json"})  # fmt: skip
    assert answer.status_code in (400, 422)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"]


def test_runs_without_a_usable_checkpoint(runs):
    client = client_of(runs)
    answer = client.post("/api/explore/one/open", json={})
    assert answer.status_code == 409
    assert "checkpoint" in answer.json()["detail"]
    (runs / "one" / "checkpoints" / "step-00000200").mkdir()
    assert client.post("/api/explore/one/open", json={}).status_code == 400
    assert client.post("/api/explore/none/open", json={}).status_code == 404
