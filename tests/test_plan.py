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


def test_data_that_are_open_already(tmp_path):
    from ganforge.data import open_source

    some = np.random.default_rng(0).integers(0, 256, (16, 16, 16), np.uint8)
    opened = open_source(some, cache=tmp_path)
    run = ganforge.train(opened, "dcgan", tmp_path / "r", steps=1, width=8, batch_size=4)
    assert run.records()[-1]["step"] == 1
    ganforge.resume(run.path, data=opened, steps=2)
    with pytest.raises(UserError, match="pass it again"):
        ganforge.resume(run.path, steps=3)
    with pytest.raises(UserError, match="open already, so size cannot be chosen"):
        ganforge.plan(opened, "dcgan", size=32)


def labelled(place, count, classes):
    np.savez(place, images=np.zeros((count, 16, 16), np.uint8), labels=np.arange(count) % classes)
    return str(place)


def test_auto_tells_the_networks_the_class_where_classes_are_few_and_full(tmp_path):
    config, _, _ = ganforge.plan(labelled(tmp_path / "a.npz", 300, 3))
    assert (config.conditioning, config.spec.classes) == ("concat", 3)
    assert any("3 classes" in reason for reason in config.plan)
    for name, count, classes in (("thin", 299, 3), ("many", 2500, 25), ("one", 300, 1)):
        config, _, _ = ganforge.plan(labelled(tmp_path / f"{name}.npz", count, classes))
        assert config.spec.classes == 0, name
    uneven = np.repeat([0, 1, 2], (900, 900, 99))
    np.savez(tmp_path / "u.npz", images=np.zeros((1899, 16, 16), np.uint8), labels=uneven)
    config, _, _ = ganforge.plan(str(tmp_path / "u.npz"))
    assert config.spec.classes == 0
    assert any("one of only 99 pictures" in reason for reason in config.plan)


def test_what_is_chosen_by_hand_auto_leaves_alone(tmp_path):
    from ganforge.families.dcgan import DCGAN

    data = labelled(tmp_path / "a.npz", 300, 3)
    for chosen in ({"conditioning": "none"}, {"objective": "lsgan"}, {"family": DCGAN(width=8)}):
        assert ganforge.plan(data, **chosen)[0].spec.classes == 0
