"""What the verbs print is what docs/contracts.md says."""

import errno
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from jsonschema import validate
from PIL import Image
from typer.testing import CliRunner

from ganforge.cli import main
from ganforge.cli.app import app
from ganforge.errors import UserError

PAGE = Path(__file__).parents[2] / "docs" / "contracts.md"
SCHEMAS = {
    (s := json.loads(block))["title"]: s
    for block in re.findall(r"```json\n(.*?)```", PAGE.read_text(), re.S)
}
SMALL = ["--recipe", "dcgan", "--steps", "2", "--width", "8", "--batch-size", "8", "--json"]


def run(*args: str) -> object:
    result = CliRunner().invoke(app, list(args), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cli") / "run"
    run("train", "--run", str(path), *SMALL)
    return path


def test_recipes():
    found = run("recipes", "--json")
    validate(found, SCHEMAS["recipes"])
    assert {"gan", "dcgan", "wgan-gp", "r3gan", "frogs"} <= {r["name"] for r in found}  # type: ignore[union-attr]
    validate(run("recipes", "dcgan", "--json"), SCHEMAS["recipes"])


def test_train_resume_sample(trained, tmp_path):
    validate(run("resume", str(trained), "--steps", "3", "--json"), SCHEMAS["train"])
    for out in ("a.png", "b.npy", "c.zip", "folder"):
        body = run("sample", str(trained), "--count", "10", "--out", str(tmp_path / out), "--json")
        validate(body, SCHEMAS["sample"])
    assert Image.open(tmp_path / "a.png").size[0] > 28
    x = np.load(tmp_path / "b.npy", allow_pickle=False)
    assert x.shape == (10, 1, 28, 28)
    assert x.dtype == np.float32
    assert abs(x).max() <= 1
    assert len(list((tmp_path / "folder").iterdir())) == 10
    run(
        "sample",
        str(trained),
        "--count",
        "9",
        "--out",
        str(tmp_path / "u.npy"),
        "--uint8",
        "--json",
    )
    u = np.load(tmp_path / "u.npy", allow_pickle=False)
    assert u.shape == (9, 28, 28, 1)
    assert u.dtype == np.uint8
    assert np.array_equal(u, np.round((x[:9].transpose(0, 2, 3, 1) + 1) * 127.5).astype(np.uint8))
    folder = [np.asarray(Image.open(p)) for p in sorted((tmp_path / "folder").iterdir())]
    assert np.array_equal(np.stack(folder)[:9], u[..., 0])
    run(
        "sample",
        str(trained),
        "--interpolate",
        "--count",
        "16",
        "--out",
        str(tmp_path / "i.png"),
        "--json",
    )


def test_latent_tools(trained, tmp_path):
    out = [str(tmp_path / f"{i}.png") for i in range(3)]
    r = str(trained)
    validate(run("walk", r, "--frames", "2", "--out", out[0], "--json"), SCHEMAS["walk"])
    validate(run("directions", r, "--out", out[1], "--json"), SCHEMAS["directions"])
    sheet = run("sheet", r, "--count", "2", "--out", str(tmp_path / "s.png"), "--json")
    validate(sheet, SCHEMAS["sheet"])
    near = run("neighbours", r, "--count", "2", "--nearest", "2", "--features", "raw", "--out",
               str(tmp_path / "n.png"), "--json")  # fmt: skip
    validate(near, SCHEMAS["neighbours"])
    args = ("fashion-mnist-mini", "--count", "1", "--steps", "2", "--out", out[2], "--json")
    validate(run("invert", r, *args), SCHEMAS["invert"])


def test_apply_and_its_score(trained, tmp_path):
    r = str(tmp_path / "r")
    small = ["--steps", "2", "--width", "4", "--batch-size", "4", "--set", "depth=1", "--json"]
    run("train", "--recipe", "denoise", "--run", r, *small)
    run("sample", str(trained), "--count", "1", "--out", str(tmp_path / "a.png"), "--json")
    args = ("apply", r, str(tmp_path / "a.png"), str(tmp_path / "b.png"), "--json")
    validate(run(*args), SCHEMAS["apply"])
    found = run("score", r, "--features", "raw", "--count", "60", "--json")
    validate(found, SCHEMAS["score"])
    assert "median" in found["baselines"]  # type: ignore[index]
    said = CliRunner().invoke(app, ["score", r, "--features", "raw", "--count", "60"]).stdout
    assert re.search(r"beside simple means +.*psnr", said)
    assert re.search(r"^median +\d", said, re.M)


def test_report_export_line(trained, tmp_path):
    validate(run("report", str(trained), "--json"), SCHEMAS["report"])
    args = ("--format", "safetensors", "--out", str(tmp_path / "g.safetensors"), "--json")
    validate(run("export", str(trained), *args), SCHEMAS["export"])
    line = run("toy", "line", "--steps", "4", "--out", str(tmp_path / "line.png"), "--json")
    validate(line, SCHEMAS["line"])


def test_dry_run_trains_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    body = run("train", "--dry-run", *SMALL)
    assert body["family_options"]["width"] == 8  # type: ignore[index]
    assert not (tmp_path / "runs").exists()


def test_inspect():
    validate(run("inspect", "fashion-mnist-mini", "--json"), SCHEMAS["inspect"])


MISTAKES = [
    (["train", "no/such/folder"], "no/such/folder"),
    (["train", "--recipe", "dcgna"], "did you mean 'dcgan'"),
    (["train", "--recipe", "dcgan", "--set", "widht=3"], "width"),
    (["train", "--recipe", "dcgan", "--set", "lr=fast"], "lr"),
    (["train", "--recipe", "dcgan", "--set", "nonsense"], "KEY=VALUE"),
    (["train", "--recipe", "dcgan", "--set", "lr.Q=1"], "no player"),
    (["train", "--recipe", "dcgan", "--add", "r9=1"], "r1"),
    (["train", "--recipe", "dcgan", "--add", "foo=0"], "foo"),
    (["train", "--recipe", "denoise", "--set", "degrade=5"], "degrade=5"),
    (["toy", "ring", "--out", "ring"], "use .png"),
    (["toy", "ring", "--out", "none/ring.png"], "is no folder"),
    (["toy", "ring", "--set", "steps=5"], "--steps or --minutes"),
    (["toy", "line", "--minutes", "1"], "by --steps"),
    (["train", "--recipe", "dcgan", "--device", "mps"], "not available"),
    (["train", "--recipe", "dcgan", "--add", "foo=1", "--dry-run"], "foo"),
    (["train", "--recipe", "dcgan", "--size", "4", "--dry-run"], "sides of 8"),
    (["resume", "nowhere"], "not a run"),
    (["sample", "nowhere"], "not a run"),
    (["recipes", "nothing"], "choose one of"),
]


@pytest.mark.parametrize(
    ("args", "expected"), MISTAKES, ids=lambda a: " ".join(a) if isinstance(a, list) else ""
)
def test_a_mistake_is_one_line_that_helps(args, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=re.escape(expected)) as caught:
        CliRunner().invoke(app, args, catch_exceptions=False)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "runs").exists()


def test_nothing_is_overwritten(trained, tmp_path):
    out = tmp_path / "x.png"
    out.write_text("mine")
    for args, remedy in (
        (["sample", str(trained), "--out", str(out)], "--force"),
        (["train", "--run", str(trained), *SMALL], "ganforge resume"),
    ):
        with pytest.raises(UserError, match=remedy):
            CliRunner().invoke(app, args, catch_exceptions=False)
    assert out.read_text() == "mine"
    run("sample", str(trained), "--out", str(out), "--force", "--json")
    assert Image.open(out).size[0] > 28


def test_exit_code_2_and_no_traceback():
    done = subprocess.run(
        [sys.executable, "-m", "ganforge", "train", "no/such/folder", "--json"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr


def test_names_of_files_never_break_a_line(tmp_path):
    for name in ("a\nb.png", "c\udcff.png"):  # a line break, and a byte that is no text
        (tmp_path / name).write_bytes(b"no picture")
    Image.new("L", (8, 8)).save(tmp_path / "whole.png")

    def verb(*args: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "ganforge", *args]
        return subprocess.run(command, capture_output=True, text=True)

    done = verb("inspect", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-2:] == [
        r"unreadable: a\nb.png: no picture",
        r"unreadable: c\udcff.png: no picture",
    ]
    done = verb("train", str(tmp_path), "--dry-run")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert r"a\nb.png" in done.stderr


def test_a_full_disk_is_one_line(monkeypatch, capsys):
    def full() -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "a.npy")

    monkeypatch.setattr("ganforge.cli.app.app", full)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said == "error: a.npy: No space left on device; make room and try again\n"


def test_a_result_that_cannot_be_written_is_one_line(trained, tmp_path):
    (tmp_path / "file").touch()
    out = tmp_path / "file" / "x"
    for args in (
        ["sample", str(trained), "--out", f"{out}.npy"],
        ["export", str(trained), "--format", "safetensors", "--out", f"{out}.safetensors"],
    ):
        with pytest.raises(UserError, match=r"cannot write .*file/x.*choose another place"):
            CliRunner().invoke(app, args, catch_exceptions=False)
    odd = ["inspect", "fashion-mnist-mini", "--out", str(tmp_path / "look.foo")]
    with pytest.raises(UserError, match=r"look\.foo has an unknown ending; use \.png"):
        CliRunner().invoke(app, odd, catch_exceptions=False)


def test_resume_refuses_what_does_not_fit(trained):
    for args, expected in (
        (["--device", "tpu"], "--device tpu is unknown"),
        (["--minutes", "-1"], "minutes=-1.0 does not fit"),
        (["--minutes", "nan"], "minutes=nan does not fit"),
    ):
        with pytest.raises(UserError, match=expected):
            CliRunner().invoke(app, ["resume", str(trained), *args], catch_exceptions=False)


def test_help_needs_no_torch():
    code = "import sys, ganforge, ganforge.cli.app; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_what_torchrun_starts_anew_goes_on(trained, tmp_path, monkeypatch):
    path = Path(shutil.copytree(trained, tmp_path / "run"))
    args = ["train", "--run", str(path), *SMALL]
    with pytest.raises(UserError, match="ganforge resume"):
        CliRunner().invoke(app, args, catch_exceptions=False)
    before = json.loads((path / "records.jsonl").read_text().splitlines()[-1])["step"]
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "this")
    for other in (None, "that 1"):  # begun by nobody's launch, or by another one
        if other:
            (path / ".launch").write_text(other)
        with pytest.raises(UserError, match="ganforge resume"):
            CliRunner().invoke(app, args, catch_exceptions=False)
    (path / ".launch").write_text(f"this {os.getppid()}")
    assert CliRunner().invoke(app, args, catch_exceptions=False).exit_code == 0
    records = [json.loads(line) for line in (path / "records.jsonl").read_text().splitlines()]
    assert any(r.get("event") == "resume" for r in records)
    assert records[-1]["event"] == "stop"
    assert records[-1]["step"] == before


def test_the_studio_without_its_extra():
    code = "import sys; sys.modules['uvicorn'] = None; from ganforge.cli import main; sys.argv = ['ganforge', 'studio']; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.strip() == "error: the studio needs uvicorn; pip install 'ganforge[studio]'"


def test_a_look_at_data_sorted_by_class_shows_every_class(tmp_path):
    levels = np.repeat(np.arange(1, 6, dtype=np.uint8) * 50, 100)
    np.save(tmp_path / "sorted.npy", np.broadcast_to(levels[:, None, None], (500, 8, 8)))
    run("inspect", str(tmp_path / "sorted.npy"), "--out", str(tmp_path / "look.png"), "--json")
    with Image.open(tmp_path / "look.png") as shown:
        assert {50, 100, 150, 200, 250} <= set(np.unique(np.asarray(shown.convert("L"))))


def test_a_plan_says_what_to_expect_and_a_slower_training_says_why(tmp_path, capsys, monkeypatch):
    planned = CliRunner().invoke(app, ["train", "--minutes", "1", "--dry-run", "--json"])
    (said,) = [line for line in json.loads(planned.stdout)["plan"] if "expected:" in line]
    assert re.search(r"expected: [\d,]+ images/s and [\d,]+ MiB, by some turns", said)
    assert said in planned.stderr

    from ganforge import api
    from ganforge.cli.training import kept_to

    plain = api.train(recipe="auto", run=tmp_path / "plain", steps=2, batch_size=8, width=8)
    steps = ["--steps", "2", "--batch-size", "8", "--width", "8", "--json"]
    run("train", "--run", str(tmp_path / "tried"), *steps)
    sums = [
        json.loads((p / "checkpoints" / "step-00000002" / "state.json").read_text())["sha256"]
        for p in (plain.path, tmp_path / "tried")
    ]
    assert sums[0] == sums[1], "what was tried has left no trace"
    kept_to(100.0, [{"speed": 60.0}] * 5)
    assert "60 images/s in the median where 100 were expected" in capsys.readouterr().err
    kept_to(100.0, [{"speed": 80.0}] * 5)
    assert not capsys.readouterr().err


def test_a_restart_has_to_know_which_run_it_is(monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_MAX_RESTARTS", "3")
    said = CliRunner().invoke(app, ["train", "fashion-mnist-mini", "--steps", "1"])
    assert isinstance(said.exception, UserError)
    assert "--run-dir" in str(said.exception)
