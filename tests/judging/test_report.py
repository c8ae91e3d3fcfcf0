"""The report: one file, no network, what matters first; charts that keep to their frame."""

import json
import re
import shlex
from html.parser import HTMLParser

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

import ganforge
from ganforge import recipes
from ganforge.cli.app import app
from ganforge.errors import UserError
from ganforge.judging.charts import POINTS, Curve, chart, short, ticks
from ganforge.judging.page import embedded
from ganforge.judging.report import command, keep_neighbours, neighbours, report
from ganforge.run import Run

from .conftest import shapes
from .synthetic import CONFIG, at, beat, play, scored


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return report(play(tmp_path_factory.mktemp("runs") / "one", steps=800)).read_text()


class Outline(HTMLParser):
    """Headings in order, links to elsewhere, tags left open."""

    VOID = frozenset({"meta", "link", "img", "br", "line", "circle", "polyline", "polygon"})

    def __init__(self):
        super().__init__()
        self.open, self.headings, self.away, self.alts = [], [], [], []

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag not in self.VOID:
            self.open.append(tag)
        for key in ("src", "href"):
            if key in attrs and not attrs[key].startswith("data:"):
                self.away.append(attrs[key])
        if tag == "img":
            self.alts.append(attrs.get("alt"))

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("h1", "h2"):
            self.headings.append(data)


def outline(text):
    found = Outline()
    found.feed(text)
    assert found.open == []
    return found


def test_it_is_whole_and_opens_with_no_network(page):
    found = outline(page)
    assert found.away == []
    assert not re.search(r"(https?:)?//[a-z]+\.[a-z]", re.sub(r'data:[^"]+', "", page))
    assert len(found.alts) > 3
    assert all(found.alts)


def test_the_verdict_comes_first(page):
    assert outline(page).headings[:3] == ["dcgan on fashion-mnist-mini", "Healthy", "In numbers"]
    assert outline(page).headings[3:] == [
        "Samples through time", "Curves", "Scores", "Nearest training samples", "What happened",
        "How to repeat it", "Configuration",
    ]  # fmt: skip


def test_it_holds_numbers_with_intervals_and_floors(page):
    for text in ("20.9 – 21.7", "8.19", "fashion-mnist@test", "not an FID", "real data reach"):
        assert text in page


def test_it_is_bounded_in_size(page):
    assert 50_000 < len(page) < 3_000_000


def test_a_run_that_has_hardly_begun_has_a_report_too(tmp_path):
    run = Run.create(tmp_path / "new", CONFIG)
    page = report(run).read_text()
    assert "too early to say more" in page
    run.append(at(1, event="start", message="begun"))
    outline(report(run.path).read_text())


def test_no_run_no_report(tmp_path):
    with pytest.raises(UserError, match="not a run folder"):
        report(tmp_path)


def test_names_from_a_run_cannot_become_markup(tmp_path):
    evil = "<script>alert(1)</script>"
    config = {"recipe": evil, "data": evil, "plan": [evil]}
    run = Run.create(tmp_path / "evil", CONFIG | config)
    run.append(at(1, event="stop", message=evil))
    run.append(at(2, loss={evil: 1.0}, reading={evil: 0.5}))
    run.append(at(3, health={"verdict": evil, "sentence": evil, "remedy": "", "evidence": {}}))
    page = report(run).read_text()
    assert "alert(1)" in page
    assert page.count("<script>") == 1


def test_an_alarm_is_in_the_title(tmp_path):
    run = Run.create(tmp_path / "bad", CONFIG)
    for step in (800, 1600, 2400):
        run.append(scored(step, 0.3))
        run.append(beat(step, lost=0.7))
    page = report(run).read_text()
    assert "Mode collapse" in outline(page).headings
    assert "verdict bad" in page


def test_scores_of_different_protocols_are_said_to_differ(tmp_path):
    run = play(tmp_path / "two", steps=80)
    (score,) = run.scores()
    score["protocol"]["n_fake"] = 2000
    run.add_score("other", score)
    page = report(run).read_text()
    assert "may not be compared" in page
    assert "generated samples: 10000 against 2000" in page


def test_what_simple_means_reach_stands_beside_a_restorers_score(tmp_path):
    run = play(tmp_path / "restored", steps=80)
    (score,) = run.scores()
    means = {"non-local means": {"frechet": 41.2}, "nothing": {"frechet": 77.5, "psnr": 15.0}}
    run.add_score("again", score | {"baselines": means})
    text = report(run).read_text()
    assert outline(text).headings
    table = text.split("beside simple means")[1].split("</table>")[0]
    for cell in ("this run", "non-local means", "41.2", "77.5"):
        assert cell in table
    assert "psnr" not in table  # which the run has not


def test_the_command_says_every_setting():
    line = command(CONFIG)
    assert line.startswith("ganforge train fashion-mnist-mini --recipe dcgan --minutes 4 --seed 3")
    for part in ("--set batch_size=64", "'betas=[0.5, 0.999]'", "--set lr.D=0.0004", "--add r1=1"):
        assert part in line


CHANGED = {
    "none": {"d_norm": None, "augment": "", "conditioning": "none", "clip": None},
    "game": {"objective": "lsgan", "family": "resnet", "size": 32, "terms": {"r1": 0.5}},
    "rates": {"lr.D": 1e-8, "eps": 1e-12, "device": "cpu", "precision": "bf16", "ema_ramp": 0.3},
}


CASES = [(n, "") for n in recipes.names()]
CASES += [(n, c) for n in ("dcgan", "cgan", "denoise") for c in CHANGED]


@pytest.mark.parametrize(("name", "changed"), CASES)
def test_the_command_settles_the_same_configuration(name, changed, tmp_path, monkeypatch):
    """Whatever was set: the words of the report are a run's whole configuration."""
    data: str = "fashion-mnist-mini"
    more = dict(CHANGED.get(changed, {}))
    if name in ("wavegan", "specgan"):
        for i in range(4):
            soundfile.write(tmp_path / f"{i}.wav", np.sin(np.arange(20_000) * 0.1 * i), 16_000)
        data = str(tmp_path)
    elif name in ("cyclegan", "cut", "pix2pix"):
        for side in ("a", "b"):
            (tmp_path / side).mkdir()
            for i in range(4):
                Image.new("RGB", (16, 16), (i * 40, 9, 9)).save(tmp_path / side / f"{i}.png")
        data, more["inputs"] = str(tmp_path / "a"), str(tmp_path / "b")
    if name == "denoise" and changed in ("none", "game"):
        more = {"objective": "regression", "warmup": 0, "degrade": "noise:10+blur:1"}
    config, _, _ = ganforge.plan(data, name, settings={"images": 1000} | more)
    monkeypatch.setattr("ganforge.api.check", lambda *_: None)
    words = shlex.split(command(config.plain()))
    said = CliRunner().invoke(app, [*words[1:], "--dry-run", "--json"], catch_exceptions=False)
    assert said.exit_code == 0, said.output
    # The reasons of a plan are of what was not said, and by now everything is.
    assert json.loads(said.stdout) | {"plan": []} == config.plain() | {"plan": []}


# -- neighbours -------------------------------------------------------------------------
def test_the_nearest_training_sample_is_found(tmp_path):
    train = shapes(300)
    x = train.batch(np.array([5, 77])).real
    found = neighbours(x * 0.9, train, k=2)
    assert found.shape == (6, 1, 16, 16)
    torch.testing.assert_close(found[1], x[0])
    torch.testing.assert_close(found[4], x[1])
    run = Run.create(tmp_path / "near", CONFIG)
    path = keep_neighbours(run, x, train, count=2, k=2)
    assert Image.open(path).size[0] > Image.open(path).size[1]
    assert "Nearest training samples" in outline(report(run).read_text()).headings


# -- charts -----------------------------------------------------------------------------
@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.none() | st.floats(-1e6, 1e6), max_size=400),
    st.booleans(),
    st.booleans(),
)
def test_a_chart_keeps_to_its_frame(values, log, zero):
    curve = Curve("a<b", range(len(values)), values)  # type: ignore[arg-type]
    drawn = chart([curve], title="t", log=log, zero=zero)
    if not any(v is not None for v in values):
        assert drawn == ""
        return
    outline(drawn)
    assert "nan" not in drawn
    points = re.findall(r'points="([^"]+)"', drawn)[-1].split()
    assert len(points) <= POINTS
    for point in points:
        x, y = map(float, point.split(","))
        assert 57 <= x <= 547
        assert 9 <= y <= 201


@given(st.floats(-1e8, 1e8), st.floats(1e-6, 1e8))
def test_ticks_are_few_and_inside(low, span):
    high = low + span
    found = ticks(low, high)
    assert len(found) <= 8
    near = 1e-6 * max(abs(low), abs(high))
    assert all(low - near <= t <= high + near for t in found)


def test_short_numbers():
    cases = {0.0123: "0.0123", 4.2: "4.2", 1200: "1,200", 35_000: "35k", 1.2e6: "1.2M", 0: "0"}
    assert {v: short(v) for v in cases} == cases


# -- pictures ---------------------------------------------------------------------------
def test_a_large_picture_is_made_small(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (1500, 1500, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    uri = embedded(tmp_path / "a.png", most=600)
    assert uri.startswith("data:image/webp")
    assert len(uri) < 400_000
    (tmp_path / "b.png").write_bytes(b"no picture" * 30_000)
    assert embedded(tmp_path / "b.png") == ""
    assert embedded(tmp_path / "none.png") == ""
