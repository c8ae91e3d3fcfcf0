"""LPIPS against torchmetrics' own, through a VGG16 of random weights in torchvision's form."""

import pytest
import torch
from torchvision.models import vgg16

from ganforge.errors import UserError
from ganforge.families import vgg
from ganforge.judging.fidelity import judging_distances
from ganforge.objectives.terms import term


@pytest.fixture(scope="module")
def weights():
    """What torchvision's file holds, less the head that nobody looks at."""
    torch.manual_seed(0)
    with torch.device("meta"):
        state = vgg16(weights=None).features.state_dict()
    made = {}
    for k, v in state.items():
        scale = (2 / v[0].numel()) ** 0.5 if v.dim() > 1 else 0.1
        made[f"features.{k}"] = torch.randn(v.shape) * scale
    return made


@pytest.fixture
def there(weights, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    vgg.place().parent.mkdir(parents=True)
    torch.save(weights, vgg.place())


def test_lpips_is_the_published_one(there, weights, monkeypatch):
    from torchmetrics.functional.image import lpips as theirs

    def features(net: str, pretrained: bool = False) -> torch.nn.Module:
        with torch.device("meta"):
            layers = vgg16(weights=None).features
        state = {k.removeprefix("features."): v for k, v in weights.items()}
        layers.load_state_dict(state, assign=True)
        return layers

    monkeypatch.setattr(theirs, "_get_tv_model_features", features)
    a, b = torch.rand(2, 3, 3, 32, 40) * 2 - 1
    expected = theirs.learned_perceptual_image_patch_similarity(
        a, b, net_type="vgg", reduction="none"
    )
    torch.testing.assert_close(vgg.LPIPS()(a, b), expected, rtol=1e-4, atol=1e-6)


def test_lpips_teaches_and_judges_where_the_weights_are(there):
    x = torch.rand(2, 1, 28, 28, requires_grad=True)
    other = torch.zeros(2, 1, 28, 28)
    (gradient,) = torch.autograd.grad(term("lpips").distance(x, other), x)  # type: ignore[attr-defined]
    assert gradient.abs().sum() > 0
    looks, through, warned = judging_distances((1, 28, 28), ["lpips"])
    assert list(looks) == list(through) == ["perceptual", "lpips"]
    assert any("flattered" in w for w in warned)
    assert looks["lpips"](other, other).max() == 0
    assert list(judging_distances((1, 8, 8))[0]) == ["perceptual"]
    with pytest.raises(UserError, match="16 pixels or more"):
        looks["lpips"](torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 8))


def test_nobody_downloads_it_unasked(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert list(judging_distances((1, 28, 28))[0]) == ["perceptual"]
    with pytest.raises(UserError, match="528 MB unasked"):
        vgg.LPIPS()
    vgg.place().parent.mkdir(parents=True)
    torch.save({"conv.weight": torch.zeros(1)}, vgg.place())
    with pytest.raises(UserError, match="does not hold VGG16"):
        vgg.LPIPS()


def test_a_pickle_that_would_run_code_runs_none(tmp_path, monkeypatch):
    class Runs:
        def __reduce__(self):
            return (tmp_path.joinpath("ran").touch, ())

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    vgg.place().parent.mkdir(parents=True)
    torch.save({"features.0.weight": Runs()}, vgg.place())
    with pytest.raises(UserError, match="does not hold VGG16"):
        vgg.LPIPS()
    assert not (tmp_path / "ran").exists()
