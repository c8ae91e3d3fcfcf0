"""A score and its protocol: what it holds, what it refuses, what it warns of."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from ganforge.errors import UserError
from ganforge.judging import protocol as p
from ganforge.judging.features import Features, features
from ganforge.judging.samples import Made, Rows
from ganforge.spec import Ask, Spec

from .conftest import shapes, write_idx

TEST, TRAIN = shapes(400, 1), shapes(500, 2)
TRAIN.split = "train"
REFERENCE = p.Reference(TEST, TRAIN)


def real_like(n=400, seed=3, **changes):
    return Rows(shapes(n, seed, **changes)).at(0, n)


@pytest.fixture(scope="module")
def result():
    return p.score(real_like(), REFERENCE, features="raw@8", n=400)


def test_every_number_has_its_interval_and_floor(result):
    assert set(result) == {"metrics", "protocol"}
    expected = set(p.METRICS) - {"inception_score", "spectral_convergence"}  # of classes, of sound
    assert set(result["metrics"]) == expected
    for name, value in result["metrics"].items():
        assert set(value) == {"value", "low", "high", "floor"}, name
        assert all(math.isfinite(v) for v in value.values()), name
        assert value["low"] <= value["value"] <= value["high"], name


def test_real_samples_score_their_floor(result):
    for name, value in result["metrics"].items():
        margin = 3 * (value["high"] - value["low"]) + 0.02
        assert abs(value["value"] - value["floor"]) < margin, name


def test_the_protocol_says_everything(result):
    protocol = result["protocol"]
    assert protocol["features"]["name"] == "raw@8"
    assert len(protocol["features"]["hash"]) == 16
    assert protocol["features"]["resize"] == "area, to 8x8"
    assert protocol["reference"]["split"] == "test"
    assert protocol["reference"]["fingerprint"] == TEST.fingerprint
    assert (protocol["n_real"], protocol["n_fake"], protocol["seed"]) == (400, 400, 0)
    assert protocol["training"]["split"] == "train"
    assert set(protocol["versions"]) == {"ganforge", "torch", "numpy", "python"}
    assert protocol["omitted"]["classifier_score"].startswith("features 'raw@8' know no classes")
    assert protocol["warnings"] == []
    assert json.loads(json.dumps(result)) == result


def test_worse_samples_score_worse(result):
    noise = torch.rand(400, 1, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    one_kind = real_like(400, 5, kinds=1)
    for bad in (noise, one_kind):
        found = p.score(bad, REFERENCE, features="raw@8", n=400)["metrics"]
        good = result["metrics"]
        for name in ("frechet", "frechet_infinity", "kid"):
            assert found[name]["low"] > good[name]["high"], name
        for name in ("recall", "coverage"):
            assert found[name]["high"] < good[name]["low"], name


def test_a_generator_that_gives_back_its_training_samples_is_caught():
    learnt = Rows(TRAIN, None, 0).at(0, 400) * 0.98
    found = p.score(learnt, REFERENCE, features="raw@8", metrics=["memorisation", "copies"])
    metrics = found["metrics"]
    assert metrics["memorisation"]["low"] > 0.8
    assert metrics["copies"]["low"] > 0.9
    assert 0.4 < metrics["memorisation"]["floor"] < 0.6
    assert metrics["copies"]["floor"] < metrics["copies"]["low"] - 0.2


def test_the_classifier_judges_where_there_are_labels():
    found = p.score(
        real_like(), REFERENCE, features="classifier", metrics=["inception_score", "kid"]
    )
    score = found["metrics"]["classifier_score"]
    assert 1.7 < score["value"] <= 2
    assert score["floor"] == pytest.approx(score["value"], abs=0.2)
    assert found["protocol"]["features"]["accuracy"] > 0.95


def test_only_the_inception_network_gives_a_fid():
    fid = Features("inception", 4, "x", lambda x: x.flatten(1)[:, :4], fid=True)
    found = p.score(real_like(), REFERENCE, features=fid, metrics=["fid", "fid_infinity"])
    assert set(found["metrics"]) == {"fid", "fid_infinity"}
    assert all(v["floor"] is not None for v in found["metrics"].values())


# -- sources ----------------------------------------------------------------------------
def save(x, folder):
    folder.mkdir()
    for i, picture in enumerate(x.add(1).mul(127.5).round().byte()):
        Image.fromarray(picture[0].numpy(), "L").save(folder / f"{i:04d}.png")


def test_a_folder_an_array_file_and_samples_in_memory_score_alike(tmp_path):
    x = real_like(120)
    save(x, tmp_path / "fakes")
    np.save(tmp_path / "fakes.npy", x.add(1).mul(127.5).round().byte().numpy()[:, 0])
    scores = [
        p.score(fake, REFERENCE, features="raw@8", metrics=["kid", "coverage"])["metrics"]
        for fake in (x, tmp_path / "fakes", str(tmp_path / "fakes.npy"))
    ]
    for other in scores[1:]:
        for name, value in scores[0].items():
            assert other[name]["value"] == pytest.approx(value["value"], abs=0.01), name


def test_a_reference_by_name_is_its_test_split_with_the_training_split_beside_it(tmp_path):
    root = tmp_path / "MNIST" / "raw"
    root.mkdir(parents=True)
    for stem, data in (("train", shapes(160, 1, size=28)), ("t10k", shapes(90, 2, size=28))):
        write_idx(root / f"{stem}-images-idx3-ubyte.gz", data.images[..., 0])
        write_idx(root / f"{stem}-labels-idx1-ubyte.gz", data.labels.astype(np.uint8))
    found = p.score(
        real_like(100, size=28), "mnist", features="raw@8", metrics=["kid"],
        options={"data_root": tmp_path},
    )["protocol"]  # fmt: skip
    assert (found["reference"]["split"], found["n_real"]) == ("test", 90)
    assert (found["training"]["split"], found["training"]["used"]) == ("train", 160)
    assert found["warnings"] == []


def test_training_samples_as_reference_are_said_to_be_that(tmp_path):
    save(real_like(80), tmp_path / "real")
    found = p.score(real_like(60, 9), tmp_path / "real", features="raw@8")
    assert found["protocol"]["reference"]["split"] in ("all", "train")
    assert "not held out" in found["protocol"]["warnings"][0]
    assert "memorisation" in found["protocol"]["omitted"]
    assert "half of the reference" in found["protocol"]["floor"]
    swapped = p.score(real_like(60, 9), p.Reference(TRAIN, TEST), features="raw@8", metrics=["kid"])
    assert "@train" in swapped["protocol"]["warnings"][0]


@pytest.mark.parametrize(
    ("data", "held_out", "warned"),
    [("x@train", "test", 0), ("x@test", "test", 1), ("x@test", "train", 0), ("x@all", "test", 1)],
)
def test_what_is_held_out_depends_on_what_was_trained_on(data, held_out, warned):
    sets = p.Reference(TEST, TRAIN) if held_out == "test" else p.Reference(TRAIN, TEST)
    made = Generator(config={"data": data})
    found = p.score(made, sets, features="raw@8", metrics=["kid"], n=60)
    assert len(found["protocol"]["warnings"]) == warned


class Generator:
    """Makes a shape of its label, always the same for the same number."""

    def __init__(self, classes=2, config=None):
        self.spec, self.latent = Spec((1, 16, 16), classes), object()
        self.config, self.state = config or {"recipe": "own"}, {"step": 7, "sha256": {"G": "abc"}}
        self.asked = []

    def ask(self, n, seed=0, label=None, code=None, truncation=1.0, start=0):
        index = torch.arange(start, start + n)
        return Ask(index[:, None] + 1000.0 * seed, index % 2 if self.spec.classes else None)

    def make(self, ask):
        self.asked += ask.latent[:, 0].long().tolist()
        y = torch.zeros(len(ask.latent)) if ask.label is None else ask.label
        noise = torch.sin(ask.latent[:, :, None, None] * torch.arange(256).view(1, 1, 16, 16))
        return (noise * 0.3 + y.view(-1, 1, 1, 1) * 0.5 - 0.2).float()


def test_a_generator_is_asked_by_number_with_the_reference_s_labels():
    made = Made(Generator(), 300, 5, like=Rows(TEST, 400, 0))
    x = made.at(0, 300)
    torch.testing.assert_close(torch.cat([made.at(0, 130), made.at(130, 170)]), x)
    labels = Rows(TEST, 400, 0).batch(0, 300).label
    assert torch.equal((x.flatten(1).mean(1) > 0.1).long(), labels)


def test_a_generator_s_score_holds_its_checkpoint_and_is_not_computed_twice():
    generator = Generator()
    arguments = {"features": "raw@8", "n": 100, "metrics": ["kid"], "truncation": 0.7, "seed": 2}
    one = p.score(generator, REFERENCE, **arguments)
    protocol = one["protocol"]
    assert protocol["fake"]["step"] == 7
    assert (protocol["truncation"], protocol["ema"], protocol["seed"]) == (0.7, True, 2)
    generator.asked.clear()
    assert p.score(generator, REFERENCE, **arguments)["metrics"] == one["metrics"]
    assert generator.asked == []


def test_a_transforming_generator_needs_inputs():
    generator = Generator(0)
    generator.latent = None
    with pytest.raises(UserError, match="transforms its input"):
        p.score(generator, REFERENCE, features="raw@8")


def test_the_floor_is_of_as_many_samples_as_were_judged():
    """The Frechet distance of few samples is large, whatever they are."""
    few, many = (
        p.score(
            real_like(n, 9), p.Reference(TEST, TRAIN), features="raw@4", metrics=["frechet"], n=n
        )
        for n in (60, 150)
    )
    floor = [f["metrics"]["frechet"]["floor"] for f in (few, many)]
    assert floor[0] > 1.3 * floor[1]
    some = p.score(
        real_like(60, 9), p.Reference(TEST, TRAIN), features="raw@4", metrics=["frechet"]
    )
    assert some["protocol"]["n_fake"] == 60
    assert some["metrics"]["frechet"]["floor"] > 1.3 * floor[1]


def test_one_class_is_not_all_of_them():
    one = {"fake": {"kind": "run", "label": "dog"}}
    assert p.comparable(one, {"fake": {"kind": "run", "label": None}}) == [
        "class: dog against None"
    ]
    assert p.comparable(one, {"fake": {"kind": "array"}}) == []
    lite0, lite2 = ({"fidelity": {"perceptual": name, "crop": 0}} for name in ("lite0", "lite2"))
    assert p.comparable(lite0, lite2) == ["perceptual distance: lite0 against lite2"]
    assert p.comparable(lite0, {}) == []


# -- warnings ---------------------------------------------------------------------------
def test_a_discriminator_is_not_judged_by_what_it_trained_on_without_a_warning():
    own = {"recipe": "projected", "family_options": {"features": "lite"}}
    assert p.feature_network_in(own) == "lite"
    assert p.feature_network_in({"objective_options": {"features": 64}}) is None
    assert p.feature_network_in({"terms": {"l1": 50.0, "perceptual": 5.0}}) == "lite"
    lite = Features("lite", 8, "x", lambda x: x.flatten(1)[:, :8])
    found = p.score(Generator(config=own), REFERENCE, features=lite, metrics=["kid"], n=60)
    (warning,) = found["protocol"]["warnings"]
    assert "looked through 'lite', which also judges" in warning
    assert "--features classifier" in warning
    other = p.score(Generator(config=own), REFERENCE, features="raw@8", metrics=["kid"], n=60)
    assert other["protocol"]["warnings"] == []


# -- what is refused --------------------------------------------------------------------
@pytest.mark.parametrize(
    ("fake", "more", "message"),
    [
        (real_like(400, size=20), {}, r"samples are 20x20 grey, the reference 16x16.*--size"),
        (torch.zeros(60, 3, 16, 16), {}, "16x16 colour, the reference 16x16 grey.*--channels"),
        (torch.full((60, 1, 16, 16), torch.nan), {}, "60 of 60 samples hold NaN"),
        (torch.zeros(0, 1, 16, 16), {}, "at least one"),
        (real_like(30), {}, "30 generated samples; a score needs at least 50"),
        (real_like(60), {"metrics": ["frechet"]}, "needs at least 65 generated samples"),
        (real_like(60), {"metrics": ["sharpness"]}, "metric 'sharpness' is unknown"),
        (real_like(60), {"metrics": ["inception_score"]}, "know no classes"),
        ("nowhere", {}, "nowhere does not exist"),
        (real_like(60), {"n": 10}, "at least 50 samples; n=10"),
        (real_like(60), {"features": "vgg"}, "features 'vgg' are unknown"),
    ],
)
def test_what_cannot_be_scored_gives_a_line_and_no_number(fake, more, message):
    with pytest.raises(UserError, match=message) as e:
        p.score(fake, REFERENCE, **{"features": "raw@8", **more})
    assert "\n" not in str(e.value)


def test_a_reference_that_is_too_small_is_refused():
    with pytest.raises(UserError, match="the reference has 30 samples"):
        p.score(real_like(60), p.Reference(shapes(30)), features="raw@8")


def test_metrics_with_too_few_samples_are_left_out_and_said_to_be():
    found = p.score(real_like(60), REFERENCE, features="raw@8")
    assert "frechet" not in found["metrics"]
    assert found["protocol"]["omitted"]["frechet"].endswith("there are 60")


# -- comparing --------------------------------------------------------------------------
def test_a_score_is_comparable_with_itself_and_not_with_another_protocol(result):
    one = result["protocol"]
    assert p.comparable(one, one) == []
    other = p.score(real_like(100), p.Reference(TRAIN), features="raw@4", metrics=["kid"])
    differences = p.comparable(one, other["protocol"])
    text = "; ".join(differences)
    for word in (
        "feature network: raw@8",
        "reference split: test against train",
        "400 against 100",
    ):
        assert word in text
    assert len(differences) == 5


def test_floors_and_features_of_the_real_ones_are_computed_once(monkeypatch):
    p.score(real_like(90), REFERENCE, features="raw@6", metrics=["kid"])

    def never(*_):
        raise AssertionError("computed again")

    monkeypatch.setattr(p.Judge, "_floors", never)
    net = features("raw@6", (1, 16, 16))
    seen = []
    spy = SimpleNamespace(**{**vars(net), "describe": net.describe})
    spying = Features(**{**vars(net), "embed": lambda x: seen.append(len(x)) or net.embed(x)})
    found = p.score(real_like(90), REFERENCE, features=spying, metrics=["kid"])
    assert sum(seen) == 90
    assert found["protocol"]["features"] == spy.describe()
