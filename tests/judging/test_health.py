"""Each verdict from records that show it, none from records that do not, and the pulse."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ganforge.judging.health import LIMITS, VERDICTS, Pulse, apart, diagnose, spread

from .conftest import shapes
from .synthetic import at, beat, scored, tick

END = 2400


def ticks(**changes):
    return [at(s, **tick(s, **changes)) for s in range(10, END + 1, 10)]


def run(*extra, **changes):
    """Records in order."""
    return sorted([*ticks(**changes), *extra], key=lambda r: r["step"])


def falling(first=0.2, last=0.02, count=8):
    """Scores that get better to the end."""
    ratio = (last / first) ** (1 / (count - 1))
    return [scored(END * (i + 1) // count, first * ratio**i) for i in range(count)]


def beats(count=6, **changes):
    return [beat(END * (i + 1) // count, **changes) for i in range(count)]


def late(**changes):
    """Three healthy pulses, then three changed ones."""
    return [beat(END * (i + 1) // 6, **(changes if i > 2 else {})) for i in range(6)]


def verdict(*extra, **changes):
    return diagnose(run(*extra, **changes))


# -- verdicts ---------------------------------------------------------------------------
def test_a_healthy_run_raises_no_alarm():
    found = verdict(*falling(), *beats())
    assert found["verdict"] == "healthy"
    assert found["evidence"]["pulse"]["diversity"] == 0.97


def test_the_beginning_is_no_alarm():
    assert diagnose([])["verdict"] == "healthy"
    early = [at(20, **tick(20)), beat(20, diversity=0.01, lost=0.99, auc=1.0)]
    found = diagnose(early)
    assert found["verdict"] == "healthy"
    assert "too early" in found["sentence"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"diversity": 0.21}, "differ only 21%"), ({"lost": 0.6}, "hold 60% of the real data")],
)
def test_collapse(changes, words):
    flat = [scored(END * (i + 1) // 5, 0.3) for i in range(5)]
    found = verdict(*flat, *late(**changes))
    assert found["verdict"] == "collapse"
    assert words in found["sentence"]
    assert "r3gan" in found["remedy"]
    saturated = verdict(*flat, *late(auc=1.0, **changes), d_real=0.999, d_fake=0.001)
    assert saturated["verdict"] == "collapse", "they were varied once: D's victory is no excuse"


def test_samples_that_are_alike_and_get_better_are_the_beginning():
    assert verdict(*falling(), *beats(diversity=0.2))["verdict"] == "healthy"


def test_d_won_before_g_made_anything():
    flat = [scored(END * (i + 1) // 5, 0.3) for i in range(5)]
    alike = beats(diversity=0.04, lost=0.9, auc=1.0)
    found = verdict(*flat, *alike, d_real=0.999, d_fake=0.001)
    assert found["verdict"] == "d-won"
    assert verdict(*flat, *alike)["verdict"] == "collapse"


def test_a_g_that_ignores_its_latents_has_collapsed():
    flat = [scored(END * (i + 1) // 5, 0.3) for i in range(5)]
    dead = beats(diversity=0.0, lost=0.9, auc=1.0)
    assert verdict(*flat, *dead, d_real=0.999, d_fake=0.001)["verdict"] == "collapse"


def test_a_gain_that_may_be_chance_excuses_nothing():
    chance = [scored(END * (i + 1) // 5, v) for i, v in enumerate((0.3, 0.31, 0.3, 0.29, 0.27))]
    assert verdict(*chance, *late(diversity=0.21))["verdict"] == "collapse"


def test_the_first_thousand_turns_are_no_alarm():
    flat = [scored(150 * (i + 1), 0.3) for i in range(6)]
    alike = [beat(150 * (i + 1), diversity=0.2, lost=0.9, auc=1.0) for i in range(6)]
    early = [at(s, **tick(s, d_real=0.999, d_fake=0.001)) for s in range(10, 901, 10)]
    assert diagnose([*early, *flat, *alike])["verdict"] == "healthy"


def test_g_that_stands_still_with_a_gradient_has_no_rate():
    flat = [scored(END * (i + 1) // 5, 0.3) for i in range(5)]
    still = beats(diversity=0.04, lost=0.9, auc=1.0, drift=0.0)
    found = verdict(*flat, *still, d_real=0.999, d_fake=0.001)
    assert found["verdict"] == "stalled"
    assert "lr.G" in found["remedy"]
    early = [at(s, **tick(s, g=1.0)) for s in range(10, END // 2, 10)]
    late = [at(s, **tick(s, g=1e-4, d_real=0.999, d_fake=0.001)) for s in range(END // 2, END, 10)]
    assert diagnose([*early, *late, *flat, *still])["verdict"] == "d-won"


def test_one_bad_look_is_not_a_collapse():
    assert verdict(*falling(), *beats(5), beat(END, diversity=0.1))["verdict"] == "healthy"


def test_d_won_when_saturated_and_nothing_improves():
    flat = [scored(END * (i + 1) // 5, 0.3) for i in range(5)]
    found = verdict(*flat, *beats(auc=1.0), d_real=0.999, d_fake=0.001)
    assert found["verdict"] == "d-won"
    assert "1.00 and generated ones 0.00" in found["sentence"]


def test_where_d_is_penalised_already_more_of_it_is_advised():
    flat = [scored(END * (i + 1) // 5, 0.3) for i in range(5)]
    won = [*flat, *beats(auc=1.0)]
    assert "--add r1=1)" in verdict(*won, d_real=0.999, d_fake=0.001)["remedy"]
    penalised = tick(END, d_real=0.999, d_fake=0.001)
    penalised["loss"] |= {"D/r1": 0.2}
    found = verdict(*won, at(END, **penalised), d_real=0.999, d_fake=0.001)
    assert "a larger gradient penalty" in found["remedy"]


def test_d_won_when_the_gradient_is_gone():
    early = [at(s, **tick(s, g=1.0)) for s in range(10, END // 2, 10)]
    late = [at(s, **tick(s, g=1e-6, d_real=7.0)) for s in range(END // 2, END + 1, 10)]
    found = diagnose([*early, *late, *beats(auc=1.0)])
    assert found["verdict"] == "d-won"
    assert found["evidence"]["gradient_left"] < 1e-5


def test_a_sharp_d_with_samples_that_get_better_has_not_won():
    found = verdict(*falling(), *beats(auc=1.0), d_real=0.999, d_fake=0.001)
    assert found["verdict"] == "healthy"


def test_memorising():
    found = verdict(*falling(), *beats(memory=0.93))
    assert found["verdict"] == "memorising"
    assert "93%" in found["sentence"]
    assert "augment" in found["remedy"]


def test_cycling():
    wander = [scored(END * (i + 1) // 6, 0.1 + 0.05 * (i % 2)) for i in range(6)]
    assert verdict(*wander, *beats(moved=0.6))["verdict"] == "cycling"
    assert verdict(*falling(), *beats(moved=0.6))["verdict"] == "healthy"


def test_diverged_by_what_is_not_a_number():
    found = verdict(at(END, **tick(END) | {"loss": {"D/real": None}}))
    assert found["verdict"] == "diverged"
    assert "D/real" in found["sentence"]


def test_diverged_by_the_trainer_s_word():
    stop = at(END, event="stop", message="diverged: the term G/adv was not finite at step 9")
    assert verdict(stop)["verdict"] == "diverged"
    backs = [at(END, event="rollback", message="back") for _ in range(2)]
    assert verdict(*backs)["verdict"] == "diverged"


def test_diverged_by_its_scores():
    better = falling(count=6)
    ruined = [scored(END, 0.5), scored(END, 0.6)]
    found = diagnose([*better, *ruined])
    assert found["verdict"] == "diverged"
    assert found["evidence"]["best_step"] == END
    assert "--checkpoint best" in found["remedy"]


def test_converged_when_flat_and_better_than_at_first():
    kids = [0.3, 0.1, 0.03, 0.021, 0.02, 0.0205, 0.0198, 0.0202, 0.02, 0.0201]
    scores = [scored(END * (i + 1) // 10, k, error=0.002) for i, k in enumerate(kids)]
    found = verdict(*scores, *beats())
    assert found["verdict"] == "converged"
    assert found["evidence"]["interval"] == pytest.approx(0.002)


def test_stalled_when_flat_from_the_beginning():
    scores = [scored(END * (i + 1) // 8, 0.3 + 0.001 * (i % 2)) for i in range(8)]
    assert verdict(*scores, *beats())["verdict"] == "stalled"
    assert verdict(*beats(drift=0.0))["verdict"] == "stalled"


def test_flat_between_the_two_is_no_alarm():
    """It has come away from where it began, but so little that this may not be all."""
    kids = [0.3, 0.27, 0.24, 0.21, 0.21, 0.211, 0.21, 0.209, 0.21, 0.21]
    scores = [scored(END * (i + 1) // 10, k, error=0.002) for i, k in enumerate(kids)]
    assert verdict(*scores, *beats())["verdict"] == "healthy"


def test_slow_progress_is_neither():
    scores = [scored(END * (i + 1) // 10, 0.3 - 0.02 * i, error=0.002) for i in range(10)]
    assert verdict(*scores, *beats())["verdict"] == "healthy"


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(-0.01, 2), max_size=12),
    st.lists(
        st.fixed_dictionaries(
            {
                k: st.none() | st.floats(0, 1)
                for k in ("diversity", "lost", "auc", "memory", "moved")
            }
        ),
        max_size=6,
    ),
)
def test_there_is_always_one_whole_verdict(kids, pulses):
    scores = [scored(100 * (i + 1), k) for i, k in enumerate(kids)]
    found = diagnose(run(*scores, *[beat(100 * (i + 1), **p) for i, p in enumerate(pulses)]))
    assert set(found) == {"verdict", "sentence", "remedy", "evidence"}
    assert found["verdict"] in VERDICTS
    assert found["sentence"].endswith(".")
    assert found["remedy"]
    assert "nan" not in found["sentence"]


# -- the pulse --------------------------------------------------------------------------
def reals(n=600, seed=0, **changes):
    data = shapes(n, seed, kinds=3, **changes)
    batch = data.batch(torch.arange(n).numpy())
    return batch.real, batch.label


@pytest.fixture
def heart():
    return Pulse(reals()[0])


def test_real_samples_have_the_pulse_of_real_samples(heart):
    found = heart.take(reals(seed=1)[0])
    assert found["diversity"] == pytest.approx(1, abs=0.05)
    assert found["lost"] < 0.1
    assert found["moved"] is None
    assert heart.take(reals(seed=2)[0])["moved"] < 0.15


def test_samples_that_are_alike(heart):
    x = reals(1)[0] + 0.01 * torch.randn(500, 1, 16, 16)
    found = heart.take(x)
    assert found["diversity"] < LIMITS.diversity
    assert found["lost"] > 0.9


def test_lost_kinds_are_counted_by_their_share():
    x, label = reals(1500, noise=5)
    heart = Pulse(x)
    found = heart.take(x[label != 0][:600])
    assert found["lost"] == pytest.approx((label == 0).float().mean().item(), abs=0.12)


def test_variety_within_classes_is_what_counts_where_there_are_labels():
    x, label = reals(900)
    copies = torch.cat([x[label == k][:1].expand(100, -1, -1, -1) for k in range(3)])
    kinds = torch.arange(3).repeat_interleave(100)
    assert Pulse(x, label).take(copies, kinds)["diversity"] < 0.01
    assert Pulse(x).take(copies)["diversity"] > 0.4


def test_moving_between_regions_is_seen(heart):
    x, label = reals(1200, seed=3)
    heart.take(x[label == 0][:300])
    assert heart.take(x[label == 1][:300])["moved"] > 0.8


def test_the_same_samples_again_do_not_drift(heart):
    x = reals(300, seed=4)[0]
    heart.take(x)
    found = heart.take(x)
    assert (found["drift"], found["moved"]) == (0, 0)


def test_d_s_scores_by_their_order(heart):
    x, g = reals(300)[0], torch.Generator().manual_seed(0)
    draw = torch.randn(3, 300, generator=g)
    even = heart.take(x, None, {"train": draw[0], "held_out": draw[1], "fake": draw[2]})
    assert even["auc"] < 0.56
    assert even["memory"] < 0.56
    scores = {"train": draw[0] + 9, "held_out": draw[1], "fake": draw[2] - 9}
    overfit = heart.take(x, None, scores)
    assert overfit["memory"] == 1
    assert overfit["auc"] == 1
    without = heart.take(x, None, {"train": draw[0] + 9, "fake": draw[2]})
    assert without["memory"] is None
    assert without["auc"] == 1


def test_samples_that_are_not_finite_have_no_pulse(heart):
    assert set(heart.take(torch.full((9, 1, 16, 16), torch.nan)).values()) == {None}


def test_vectors_have_a_pulse():
    g = torch.Generator().manual_seed(0)
    ring = torch.randint(0, 8, (800,), generator=g) * (torch.pi / 4)
    x = torch.stack([ring.cos(), ring.sin()], 1) + 0.02 * torch.randn(800, 2, generator=g)
    half = x[ring < torch.pi - 0.1]
    assert Pulse(x).take(half)["lost"] == pytest.approx(0.5, abs=0.1)


def test_apart_and_spread():
    assert apart(torch.tensor([1.0, 2]), torch.tensor([3.0, 4])) == 1
    assert apart(torch.tensor([3.0, 4]), torch.tensor([1.0, 2])) == 1
    assert apart(torch.ones(5), torch.ones(5)) == 0.5
    assert spread(torch.tensor([[0.0], [1.0], [2.0]])) == pytest.approx(4 / 3)
