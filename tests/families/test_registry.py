"""The registry: names, options, refusals."""

import inspect
import subprocess
import sys

import pytest

from ganforge.errors import UserError
from ganforge.families import FAMILIES, family, family_class, options
from ganforge.families.base import Family, having

METHODS = ("generator", "critic", "autoencoder", "translator")
ASK = {
    "generator": ((8, (3, 16, 16)), {}),
    "critic": (((3, 16, 16),), {}),
    "autoencoder": (((3, 16, 16),), {}),
    "translator": (((3, 16, 16), (3, 16, 16)), {}),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_options_are_the_constructor_s_own(name):
    found = options(name)
    assert found == {
        k: p.default for k, p in inspect.signature(family_class(name).__init__).parameters.items()
        if k != "self"
    }  # fmt: skip
    assert all(v is not inspect.Parameter.empty for v in found.values())
    assert "width" in found
    family(name, **found)


def test_unknown_names_are_refused_with_what_there_is():
    with pytest.raises(UserError, match=r"'dcgna' is unknown; did you mean 'dcgan'.*mlp"):
        family("dcgna")
    with pytest.raises(UserError, match=r"no option 'widht'; it has: width=64"):
        family("dcgan", widht=3)


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("dcgan", {"conditioning": "cat"}, "choose one of concat, projection"),
        ("dcgan", {"width": 0}, "use 1 or more"),
        ("dcgan", {"width": "wide"}, "give a number such as 64"),
        ("mlp", {"depth": -1}, "use 0 or more"),
        ("mlp", {"activation": "gelu"}, "choose one of relu, lrelu, maxout"),
        ("frogs", {"dropout": 1.0}, None),
    ],
)
def test_values_that_do_not_fit_are_refused(name, settings, words):
    with pytest.raises(UserError, match=words):
        family(name, **settings).critic((3, 32, 32))


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("method", METHODS)
def test_what_a_family_lacks_names_those_that_have_it(name, method):
    made = family(name)
    args, _ = ASK[method]
    if made.has(method):
        return
    with pytest.raises(UserError, match=f"family '{name}' has no {method}") as caught:
        getattr(made, method)(*args)
    assert having(method)
    for other in having(method):
        assert other in str(caught.value)


def test_a_shape_that_does_not_fit_names_those_that_do():
    with pytest.raises(UserError, match=r"vectors.*one of mlp, r3gan"):
        family("dcgan").generator(8, (2,))
    with pytest.raises(UserError, match=r"'wavegan' makes sound"):
        family("wavegan").critic((3, 32, 32))
    with pytest.raises(UserError, match=r"sides of 8 or more"):
        family("dcgan").critic((3, 4, 64))
    with pytest.raises(UserError, match=r"even sides.*--size 28x30"):
        family("frogs").generator(8, (1, 27, 29))
    with pytest.raises(UserError, match=r"critic norm 'batch'"):
        family("dcgan").critic((3, 16, 16), norm="batch")
    with pytest.raises(UserError, match=r"latent.size=4"):
        family("biggan").generator(3, (3, 32, 32))


def test_translators_refuse_sizes_that_they_cannot_make():
    with pytest.raises(UserError, match="srresnet"):
        family("unet").translator((3, 16, 16), (3, 32, 32))
    with pytest.raises(UserError, match="residual=false"):
        family("unet", residual=True).translator((1, 16, 16), (3, 16, 16))
    for target in ((3, 24, 24), (3, 32, 16), (3, 8, 8), (3, 80, 80)):
        with pytest.raises(UserError, match="enlarges every side"):
            family("srresnet").translator((3, 16, 16), target)


def test_one_s_own_family_is_called_by_its_class():
    class Mine(Family):
        pass

    with pytest.raises(UserError, match="'Mine' has no critic"):
        Mine().critic((3, 8, 8))


def test_the_registry_itself_needs_no_torch():
    code = "import sys, ganforge.families; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
