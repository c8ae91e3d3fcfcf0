"""`ganforge.plan`: what keyword arguments mean."""

import numpy as np
import pytest

import ganforge
from ganforge.errors import UserError

DATA = np.zeros((8, 16, 16), np.uint8)


def test_parts_may_be_named():
    config, _, _ = ganforge.plan(DATA, "dcgan", objective="lsgan", family="resnet", width=8)
    assert (config.objective, config.family) == ("lsgan", "resnet")
    with pytest.raises(UserError, match="resnext"):
        ganforge.plan(DATA, "dcgan", family="resnext")


def test_none_is_a_value_of_an_option_and_no_argument_of_the_training():
    config, _, _ = ganforge.plan(DATA, "dcgan", d_norm=None, steps=None, lr=None, size=None)
    assert config.objective_options["d_norm"] is None
    assert config.lr == 2e-4
    assert "d_norm" not in ganforge.plan(DATA, "dcgan")[0].objective_options
