"""Tables in docs are generated from committed results and from the registry."""

import importlib.util
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from types import ModuleType

import pytest

from ganforge import recipes

ROOT = Path(__file__).parents[2]


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def test_the_table_of_modes_is_what_the_results_say():
    assert (ROOT / "docs" / "modes.md").read_text() == load("modes").page()


def test_the_table_of_headlines_is_what_the_results_say():
    assert (ROOT / "docs" / "headlines.md").read_text() == load("headlines").page()


def test_the_family_page_says_what_the_registry_says():
    family = load("family")
    text = family.PAGE.read_text()
    assert family.page(text) == text
    assert set(family.SHORT) == set(family.sections(text))


def test_every_picture_of_the_family_is_small():
    for picture in load("family").PICTURES.glob("*.png"):
        assert picture.stat().st_size < 60_000


def test_a_headline_that_is_measured_by_the_same_code_is_not_measured_again(tmp_path, monkeypatch):
    heads = load("headlines")
    monkeypatch.setattr(heads, "RESULTS", tmp_path)
    calls = []

    def measure(data, seed):
        calls.append(seed)
        return {"norm": 1.5}

    head = heads.Headline("h", ("gan",), "c", "m", "s", measure, heads.HEADLINES["wgan-gp"].met)
    heads.run(head, heads.MINI, 0)
    heads.run(head, heads.MINI, 0)
    assert calls == [0]
    kept = json.loads((tmp_path / f"h-{heads.MINI}-0.json").read_text())
    assert heads.verdict(head, heads.MINI, [kept]) == ("1.500", "missed")
    kept["numbers"]["norm"] = 1.1
    assert heads.verdict(head, heads.MINI, [kept])[1] == "met"
    assert heads.verdict(head, heads.MINI, []) == ("not measured yet", "open")


def test_fewer_collapses_are_a_paired_sign_test():
    heads = load("headlines")
    always = {"gan": 3, "dragan": 10, "wgan-gp": 10, "gan+r1": 10}
    assert heads.less_often([always] * 5, "")[0]
    assert not heads.less_often([always] * 4, "")[0]
    assert not heads.less_often([always | {"dragan": 2}] * 20, "")[0]


def test_blur_is_less_sharp_and_noise_is_sharper():
    import torch

    heads = load("headlines")
    x = torch.randn(8, 1, 28, 28, generator=torch.Generator().manual_seed(0)).cumsum(2).cumsum(3)
    x = x / x.std()
    blurred = torch.nn.functional.avg_pool2d(x, 3, 1, 1)
    assert heads.sharpness(blurred) < heads.sharpness(x) < heads.sharpness(torch.randn_like(x))


def test_every_recipe_named_by_a_headline_exists():
    for head in load("headlines").HEADLINES.values():
        for name in head.recipes:
            assert recipes.recipe(name).name == name


@pytest.mark.parametrize("name", sorted(load("family").SHORT))
def test_the_command_of_each_picture_plans(name):
    from ganforge import plan

    words = load("family").command(name).split()
    options = dict(zip(words[3::2], words[4::2], strict=False))
    settings = {k[2:]: int(v) for k, v in options.items() if k in ("--width", "--images", "--size")}
    config, _, _ = plan("fashion-mnist-mini", options["--recipe"], settings=settings)
    assert config.images == settings["images"]


def test_the_page_of_throughput_is_what_the_results_say():
    bench = load("throughput")
    assert bench.PAGE.read_text() == bench.page()


def test_the_page_of_time_to_quality_is_what_the_results_say():
    bench = load("time_to_quality")
    assert bench.PAGE.read_text() == bench.page()
    assert bench.PICTURE.exists()


def test_marks_of_time_to_quality_are_the_issues_own():
    bench = load("time_to_quality")

    def at(value):
        return [{"scores": {f: {"frechet": {"value": value}} for f in bench.FEATURES}}]

    def said(quick, long, seeds=3):
        values = {("tutorial", 300): 16.0, ("auto", 15): quick, ("auto", 300): long}
        of = {k: at(v) * seeds for k, v in values.items()}
        return [
            ("met" in line.split("At 300")[0], "): met" in line) for line in bench.verdicts("x", of)
        ]

    assert said(16.0, 4.0) == [(True, True)] * 2
    assert said(16.1, 4.1) == [(False, False)] * 2
    assert said(16.0, 4.0, seeds=1) == [(False, False)] * 2


@pytest.mark.parametrize("name", ["restoration", "translation"])
def test_the_tables_of_what_gans_are_used_for_are_what_the_results_say(name):
    bench = load(name)
    assert bench.PAGE.read_text() == bench.page()


def test_the_page_of_the_comparison_is_what_the_results_say():
    bench = load("comparison")
    assert bench.PAGE.read_text() == bench.page()


def compared(folder: Path, recipe: str, seed: int, value: float, **changes):
    """A kept result, as `ganforge compare` writes it."""
    from ganforge import compare as c

    bench = load("comparison")
    job = c.Job(
        recipe, bench.DATA, seed, bench.MINUTES, None, bench.FAMILY[recipe], "lite", 10_000,
        {"size": 32},
    )  # fmt: skip
    metrics = {"frechet": {"value": value, "low": value, "high": value, "floor": 8.0}}
    protocol = {
        "features": {"name": "lite"}, "n_real": 10_000, "n_fake": 10_000,
        "reference": {"name": "fashion-mnist", "split": "test"}, "seconds": 60.0 + 10 * seed,
    }  # fmt: skip
    made = {
        "variant": job.variant, **c.asdict(job), "outcome": {"reason": "budget"},
        "health": "healthy", "images_seen": 1000 * (seed + 1), "seconds": 240.0,
        "cpu_seconds": 480.0, "speed": 400.0, "memory_mib": 300, "when": "2026-01-01",
        "curve": [[s, 1, {"value": value / s}] for s in (50.0, 110.0, 230.0)],
        "score": {"metrics": metrics, "protocol": protocol}, **changes,
    }  # fmt: skip
    (folder / "results").mkdir(exist_ok=True)
    (folder / "results" / f"{job.name}.json").write_text(json.dumps(made))


def test_the_comparison_names_what_is_open_lost_and_near(tmp_path, monkeypatch):
    bench = load("comparison")
    monkeypatch.setattr(bench, "RESULTS", tmp_path)
    monkeypatch.setattr(bench, "PAGE", tmp_path / "page.md")
    assert "Not measured yet." in bench.page()
    for seed in range(2):
        compared(tmp_path, "dcgan", seed, 100.0 + 10 * seed)
        compared(tmp_path, "wgan-gp", seed, 102.0 + 10 * seed)
        compared(tmp_path, "lsgan", seed, 200.0 + 10 * seed)
        compared(tmp_path, "wgan", seed, 300.0, health="collapse")
    compared(tmp_path, "auto", 0, 5.0, minutes=20.0)
    bench.write()
    text = bench.PAGE.read_text()
    assert "| dcgan width=16 | 2 | 105" in text
    assert text.index("## 4 minutes") < text.index("## 20 minutes") < text.index("## Beside Lucic")
    assert "wgan width=16 (seed 0): collapse; wgan width=16 (seed 1): collapse" in text
    assert "1 of the 3 steps" in text
    assert "from 1,000 pictures" in text
    assert "to 2,000" in text
    assert "from 2.00 to 2.00 seconds of processor" in text
    assert "Spearman's correlation of the two orders is -0.40" in text
    assert "took 65 seconds in the median (from 60 to 70, wgan-gp width=16)" in text
    assert "Of the 8 trainings that have a quick score" in text
    assert "Spearman correlation of 1.00" in text
    assert "| dcgan width=16 | 2.1 | 0.955 | 0.955 | 0.457 |" in text
    assert "| lsgan | LSGAN | 30.7 ± 2.2 | 205 |" in text
    assert "Still open: auto, dragan" in text.split("## 20 minutes")[0]
    assert (tmp_path / "comparison.html").exists()


def test_every_recipe_of_the_comparison_plans():
    from ganforge import plan

    bench = load("comparison")
    assert set(bench.FAMILY) == set(load("family").SHORT)
    for name, settings in bench.FAMILY.items():
        config, data, _ = plan("fashion-mnist-mini", name, settings=settings | {"size": bench.SIZE})
        assert data.shape[1:] == (32, 32)
        assert config.recipe == name


def test_the_table_of_health_is_what_the_results_say():
    health = load("health")
    text = health.PAGE.read_text()
    assert health.page(text) == text


def test_health_s_table_counts_wrong_verdicts_and_every_alarm(tmp_path, monkeypatch):
    health = load("health")
    monkeypatch.setattr(health, "RESULTS", tmp_path)

    def keep(case, seed, verdict, alarms=()):
        made = {"case": case, "seed": seed, "right": health.CASES[case].right,
                "verdict": verdict, "sentence": "So it is.", "alarms": list(alarms)}  # fmt: skip
        (tmp_path / f"{case}-{seed}.json").write_text(json.dumps(made))

    assert "False alarms: 0 of 0" in health.facts()
    keep("huge-d", 0, "d-won", ["d-won", "d-won"])
    keep("tiny-set", 0, "healthy")
    keep("healthy-dcgan", 0, "healthy")
    keep("healthy-dcgan", 1, "healthy", ["collapse"])
    text = health.facts()
    assert "d-won 2 | right |" in text
    assert "64 pictures | memorising | healthy: So it is. | - | **wrong** |" in text
    assert "Right at the end: 1 of 2." in text
    assert "False alarms: 1 of 2 healthy short runs" in text
    assert "| dcgan | 0, 1 | healthy | collapse |" in text
    assert "Not measured yet: rate-of-one" in text


def test_every_case_of_health_plans():
    from ganforge import plan

    health = load("health")
    for name, case in health.CASES.items():
        config, _, _ = plan("fashion-mnist-mini", case.recipe, settings=case.settings)
        assert config.recipe == case.recipe
        assert name.startswith("healthy") == (case.right == ("healthy", "converged"))


@pytest.mark.parametrize("name", ["scaling", "growth"])
def test_pages_of_scale_are_what_the_results_say(name, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    bench = load(name)
    assert bench.PAGE.read_text() == bench.page()
    assert bench.PICTURE.stat().st_size < 80_000


def test_the_model_of_scaling_adds_up():
    bench = load("scaling")
    m = bench.on_paper(1e-9)
    ring = bench.reduced(m, 8, 8e6, ring=True)
    assert ring == pytest.approx(14 * m.latency + 14 / 8 * 8e6 / m.bandwidth)
    assert bench.reduced(m, 1, 8e6) == 0
    assert bench.reduced(m, 1000, 16) < bench.reduced(m, 1000, 16, ring=True)  # by a tree
    n = bench.Network("x", {"D": 10**6, "G": 10**6}, {"D": 2.0, "G": 1.0}, 1e9, 0, 0.0, 0, 100)
    one, many = bench.turn(n, m, 1, 4), bench.turn(n, m, 64, 4)
    assert [k for k in one if one[k] != many[k]] == ["gradients", "agreement"]
    assert bench.turn(n, m, 1, 8)["arithmetic"] == 2 * one["arithmetic"]
    assert bench.efficiency(n, m, 1, 4, 4) == 1 > bench.efficiency(n, m, 64, 4, 4)
    few = replace(m, slots=2, per_host=10)
    assert bench.turn(n, few, 3, 4)["arithmetic"] == pytest.approx(1.5 * one["arithmetic"])


def test_what_scaling_takes_from_a_recipe_is_what_it_has(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    bench = load("scaling")
    kept = {r["recipe"]: r for r in bench.results()[0]["networks"]}
    for name, width in bench.WIDTHS.items():
        if name in ("dcgan", "r3gan"):  # the others take long to make
            row = kept[name]
            made = bench.network(name, width, operators=row["operators"])
            assert asdict(made) | {"width": width} == row


def test_a_slope_is_the_exponent_of_the_upper_half():
    bench = load("growth")
    assert bench.slope([1, 2, 4, 8], [5, 5, 16, 64]) == pytest.approx(2)
    assert bench.slope([8, 16], [3, 3]) == 0
