"""`ganforge.plan`: what keyword arguments mean."""

import numpy as np
import pytest
import torch

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


def test_auto_begins_with_components_where_time_is_short_and_classes_are_told(tmp_path):
    data = labelled(tmp_path / "a.npz", 390, 3)
    short = ganforge.plan(data, minutes=0.25)[0]
    assert short.components > 0
    assert any("principal components" in reason for reason in short.plan)
    assert ganforge.plan(data, minutes=1)[0].components == 0
    assert ganforge.plan(DATA, minutes=0.25)[0].components == 0
    few = labelled(tmp_path / "b.npz", 300, 3)  # each is seen 100 times, where 128 are needed
    assert ganforge.plan(few, minutes=0.25)[0].components == 0
    own = ganforge.plan(data, minutes=0.25, settings={"latent.kind": "uniform"})[0]
    assert own.components == 0


def test_what_is_chosen_by_hand_auto_leaves_alone(tmp_path):
    from ganforge.families.dcgan import DCGAN

    data = labelled(tmp_path / "a.npz", 300, 3)
    for chosen in ({"conditioning": "none"}, {"objective": "lsgan"}, {"family": DCGAN(width=8)}):
        assert ganforge.plan(data, **chosen)[0].spec.classes == 0


def test_one_rate_for_all_takes_the_place_of_a_recipe_s_single_ones():
    for recipe in ("infogan", "frogs", "auto"):
        data = np.zeros((8, 32, 32), np.uint8)
        assert ganforge.plan(data, recipe)[0].rates
        assert ganforge.plan(data, recipe, lr=1e-4)[0].rates == {}
        kept, _, _ = ganforge.plan(data, recipe, settings={"lr": 1e-4, "lr.G": 3e-4})
        assert kept.rates == {"G": 3e-4}


def test_an_option_of_two_owners_says_whose_it_is():
    with pytest.raises(UserError, match=r"say train\.clip or objective\.clip"):
        ganforge.plan(DATA, "wgan", clip=0.05)
    config, _, _ = ganforge.plan(DATA, "wgan", settings={"objective.clip": 0.05, "train.clip": 2.0})
    assert (config.objective_options["clip"], config.clip) == (0.05, 2.0)
    assert ganforge.plan(DATA, "dcgan", clip=2.0)[0].clip == 2.0


@pytest.mark.parametrize(
    ("recipe", "settings", "said"),
    [
        ("ebgan", {"conditioning": "concat"}, "does not look at classes"),
        ("began", {"conditioning": "projection"}, "does not look at classes"),
        ("ae", {"degrade": "noise:25"}, "starts from noise"),
        ("vae", {"degrade": "noise:25"}, "starts from noise"),
        ("denoise", {"objective": "infogan"}, "starts from noise"),
        ("ae", {"augment": "translation"}, "has no discriminator"),
        ("denoise", {"objective": "regression", "augment": "color"}, "has no discriminator"),
    ],
)
def test_what_would_mean_nothing_is_refused(tmp_path, recipe, settings, said):
    data = labelled(tmp_path / "a.npz", 30, 3)
    with pytest.raises(UserError, match=said):
        ganforge.plan(data, recipe, settings=settings)


def test_a_game_of_ones_own_says_what_it_can(tmp_path):
    """The rules are the objective's, not the registered names'."""

    class Alone(ganforge.objectives.objective_class("gan")):
        labels, from_source, alone = "ignored", False, True

    data = labelled(tmp_path / "a.npz", 30, 3)
    for given, said in (
        ({"conditioning": "concat"}, "does not look at classes"),
        ({"degrade": "noise:25"}, "starts from noise"),
        ({"augment": "color"}, "has no discriminator"),
    ):
        for own in (Alone, Alone()):
            with pytest.raises(UserError, match=f"Alone' {said}"):
                ganforge.plan(data, "gan", objective=own, settings=given)
    other = ganforge.objectives.make_objective("gan")  # which the recipe's game has no say in
    assert ganforge.plan(data, "ae", objective=other, augment="color")[0].augment == "color"


def test_what_a_recipe_augments_for_d_is_left_out_where_there_is_none():
    small = np.zeros((300, 32, 32), np.uint8)
    assert ganforge.plan(small, "auto", images=3_000_000)[0].augment
    assert not ganforge.plan(small, "auto", images=3_000_000, objective="ae")[0].augment


def test_acgan_without_labels_is_told_what_helps():
    with pytest.raises(UserError, match="sub-folders as classes, or --set conditioning=none"):
        ganforge.plan(DATA, "acgan")


def test_an_auxiliary_classifier_is_a_choice_of_its_own():
    def terms(recipe="dcgan", add=None, **given):
        return ganforge.plan("fashion-mnist-mini", recipe, terms=add, steps=1, **given)[0].terms

    three = {"class": 1.0, "class-fake": 1.0, "class-g": 1.0}
    assert terms("acgan") == terms(conditioning="auxiliary") == three
    assert terms("wgan-gp", conditioning="auxiliary", add={"class-fake": 0, "r1": 2}) == three | {
        "class-fake": 0.0,
        "r1": 2.0,
    }
    assert terms("acgan", conditioning="none") == {}
    for recipe in ("acgan", "auto"):
        with pytest.raises(UserError, match="'acgan' is a recipe, and no objective"):
            terms(recipe, objective="acgan")
    for recipe, given, said in (
        ("dcgan", {"add": {"class-g": 1}}, "add --set conditioning=auxiliary"),
        ("acgan", {"add": {"class": 0, "class-fake": 0}}, "both weigh 0"),
        ("began", {"conditioning": "auxiliary"}, "does not look at classes"),
        ("ae", {"conditioning": "auxiliary"}, "has no D that could say the class"),
        ("dcgan", {"settings": {"terms": "r1"}}, "use --add TERM=WEIGHT"),
    ):
        with pytest.raises(UserError, match=said):
            terms(recipe, **given)


def test_a_recipe_s_own_class_terms_go_with_its_conditioning(tmp_path):
    from dataclasses import replace

    data = labelled(tmp_path / "a.npz", 30, 3)
    acgan = ganforge.recipes.recipe("acgan").with_settings({"terms": {"class-g": 0.5}})
    mine = replace(acgan, name="mine")
    assert ganforge.plan(data, mine)[0].terms["class-g"] == 0.5
    assert ganforge.plan(data, mine, conditioning="none")[0].terms == {}


def test_while_warming_nobody_listens_to_a_critic(tmp_path):
    data = labelled(tmp_path / "a.npz", 30, 3)
    with pytest.raises(UserError, match="has none that asks no critic; add one"):
        ganforge.train(data, "acgan", tmp_path / "r", steps=1, settings={"warmup": 64})
    given = {"degrade": "noise:25", "conditioning": "auxiliary", "width": 8, "batch_size": 4}
    run = ganforge.train(data, "denoise", tmp_path / "w", steps=1, settings=given)
    losses = next(r["loss"] for r in reversed(run.records()) if "loss" in r)
    assert "G/l1" in losses
    assert not any("class" in k for k in losses)


def test_sources_that_samples_were_not_made_from_have_no_class(tmp_path):
    data = labelled(tmp_path / "a.npz", 30, 3)
    with pytest.raises(UserError, match="conditioning=none"):
        ganforge.train(
            data,
            "cut",
            tmp_path / "r",
            steps=1,
            settings={"inputs": data, "conditioning": "concat"},
        )


def test_what_falls_until_the_end_needs_an_end_in_images(tmp_path):
    for given in ({"rate_end": 0.1}, {"objective": "rpgan", "gamma_end": 0.1}):
        with pytest.raises(UserError, match="--images or --steps"):
            ganforge.train(DATA, "gan", tmp_path / "r", minutes=0.01, settings=given)
    assert not (tmp_path / "r").exists()


def test_auto_lets_augmentation_adapt_where_pictures_are_seen_often():
    large = np.zeros((12_000, 8, 8), np.uint8)
    for images, augment, target in (
        (100_000, "", None),
        (2_000_000, "color,translation,cutout", 0.6),
    ):
        config, _, _ = ganforge.plan(large, "auto", images=images)
        assert (config.augment, config.augment_target) == (augment, target)
    config, _, _ = ganforge.plan(large[:300], "auto", images=2_000_000)
    assert config.augment_target == 0.6
    config, _, _ = ganforge.plan(large[:300], "auto", images=2_000_000, augment_p=0.5)
    assert (config.augment_target, config.augment_p) == (None, 0.5)
    other = ganforge.plan(large, "auto", images=2_000_000, objective="hinge")[0]
    assert other.augment_target == 0.6
    mine = ganforge.objectives.make_objective("hinge")  # may not keep what adapting looks at
    assert ganforge.plan(large, "auto", images=2_000_000, objective=mine)[0].augment_target is None
    for yours in ({"augment_p": 0.5}, {"augment": ""}, {"augment": "color"}, {"objective": "ae"}):
        config, _, _ = ganforge.plan(large, "auto", images=2_000_000, settings=yours)
        assert config.augment_target is None
        assert not any("as soon as" in line for line in config.plan)


def test_auto_penalises_d_where_pictures_are_few():
    few = np.zeros((600, 8, 8), np.uint8)
    config, _, _ = ganforge.plan(few, "auto", minutes=0.25)
    assert config.terms == {"r1": 5.0}
    assert config.components > 0  # of all pictures together: no class is told
    assert any("the pictures' mean" in line for line in config.plan)
    assert ganforge.plan(few, "auto", minutes=2)[0].components == 0
    assert ganforge.plan(np.zeros((4000, 8, 8), np.uint8), "auto", minutes=2)[0].terms == {}
    for yours, terms in (
        ({"objective": "lsgan"}, {}),
        ({"terms": {"lecam": 1}}, {"r1": 5.0, "lecam": 1.0}),
        ({"terms": {"r1": 0}}, {"r1": 0.0}),
        ({"terms": {"gp": 1}}, {"gp": 1.0}),
        ({"terms": {"gp": 0}}, {"r1": 5.0, "gp": 0.0}),
        ({"objective": "gan"}, {"r1": 5.0}),
        ({"settings": {"terms": {"r1": 2}}}, {"r1": 2.0}),
    ):
        config, _, _ = ganforge.plan(few, "auto", minutes=2, **yours)
        assert config.terms == terms
        assert any("penalised" in line for line in config.plan) == (terms.get("r1") == 5.0)


def test_auto_takes_smaller_batches_where_memory_is_small(monkeypatch):
    from ganforge.recipes import auto

    large = np.zeros((4, 512, 512), np.uint8)
    assert ganforge.plan(large, "auto", minutes=1)[0].batch_size == 32
    free = 2 * auto._need(20, 16, 512)  # 16 fit half of it, 32 do not
    monkeypatch.setattr(auto, "_free_memory", lambda fast: float(free))
    config, _, _ = ganforge.plan(large, "auto", minutes=1)
    assert config.batch_size == 16
    assert "batches of 32 would not" in config.plan[0]


def test_auto_reads_budgets_in_images_and_steps():
    small = np.zeros((300, 32, 32), np.uint8)
    for given, augmented in (
        ({"images": 3_000_000}, True),
        ({"steps": 100_000}, True),
        ({"images": 3_000}, False),
        ({"steps": 100, "batch_size": 16}, False),
    ):
        config, _, _ = ganforge.plan(small, settings=given)
        assert bool(config.augment) == augmented, given
    config, _, _ = ganforge.plan(small, settings={"images": 3_000, "width": 8, "lr": 1e-4})
    assert config.plan[-1] == "yours, in place of what is said above: width, lr"


def test_auto_gives_every_process_as_many(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert ganforge.plan(DATA)[0].batch_size == 33


def test_one_s_own_game_is_not_changed_by_a_training(tmp_path):
    from ganforge.objectives import make_objective

    mine = make_objective("lsgan")
    for name in ("a", "b"):
        run = ganforge.train(
            DATA, "dcgan", tmp_path / name, objective=mine, terms={"r1": 1.0}, steps=1, width=4,
            batch_size=4,
        )  # fmt: skip
        assert "D/r1" in [r for r in run.records() if "loss" in r][-1]["loss"]
    assert not mine.terms.get("D")


@pytest.mark.parametrize("width", [13, 28, 50])
def test_r3gan_takes_any_width(width):
    from ganforge.families import family

    made = family("r3gan", width=width)
    x = made.generator(16, (1, 28, 28))(torch.randn(2, 16))
    assert x.shape == (2, 1, 28, 28)
    assert made.critic((1, 28, 28))(x).shape == (2,)
