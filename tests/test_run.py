import errno
import json
import multiprocessing

import pytest

from ganforge.errors import UserError
from ganforge.run import Run, find_runs, write_whole


def test_create_never_overwrites(tmp_path):
    Run.create(tmp_path / "a", {"recipe": "x"})
    with pytest.raises(UserError, match="ganforge resume"):
        Run.create(tmp_path / "a", {})
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "mine.txt").write_text("precious")
    with pytest.raises(UserError, match="not an empty folder"):
        Run.create(tmp_path / "b", {})
    assert (tmp_path / "b" / "mine.txt").read_text() == "precious"
    with pytest.raises(UserError, match="not a run folder"):
        Run.open(tmp_path / "b")


@pytest.mark.parametrize("text", [b"lr: [1", b"\xff\xfe", b"", b"- 1"])
def test_a_damaged_configuration_is_one_line(tmp_path, text):
    run = Run.create(tmp_path / "a", {"recipe": "x"})
    (run.path / "config.yaml").write_bytes(text)
    with pytest.raises(UserError, match=r"config\.yaml .*undo what was") as caught:
        _ = run.config
    assert "\n" not in str(caught.value)


def test_a_full_disk_at_the_beginning_is_one_line(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("ganforge.run.write_whole", full)
    with pytest.raises(UserError, match=r"cannot make the run folder .*No space left"):
        Run.create(tmp_path / "a", {})


def test_a_full_disk_under_the_lock_is_one_line(tmp_path, monkeypatch):
    run = Run.create(tmp_path / "a", {})

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as m:
        m.setattr("ganforge.run.os.write", full)
        with pytest.raises(UserError, match=r"cannot write into .*No space left"), run.writing():
            raise AssertionError("it may not begin")
    with run.writing():  # and it is free again
        assert run.live


def test_a_cut_last_line_is_completed_and_ignored(tmp_path):
    run = Run.create(tmp_path / "a", {})
    run.append({"step": 1, "images": 1, "seconds": 0.1})
    with open(run.path / "records.jsonl", "a") as f:
        f.write('{"step":2,"ima')
    assert [r["step"] for r in run.records()] == [1]
    run.append({"step": 3, "images": 3, "seconds": 0.3})
    assert [r["step"] for r in run.records()] == [1, 3]


def test_a_resume_drops_what_lay_beyond(tmp_path):
    run = Run.create(tmp_path / "a", {})
    for step in (0, 10, 20, 30):
        run.append({"step": step, "images": step, "seconds": 0.0})
    run.append({"step": 20, "images": 20, "seconds": 0.0, "event": "resume", "message": ""})
    run.append({"step": 25, "images": 25, "seconds": 0.0})
    assert [r["step"] for r in run.records()] == [0, 10, 20, 20, 25]
    assert len((run.path / "records.jsonl").read_text().splitlines()) == 6  # never rewritten


def _hold(path, ready, done):
    with Run(path).writing():
        ready.set()
        done.wait(30)


def test_a_second_writer_is_refused(tmp_path):
    run = Run.create(tmp_path / "a", {})
    assert not run.live
    spawn = multiprocessing.get_context("spawn")
    ready, done = spawn.Event(), spawn.Event()
    other = spawn.Process(target=_hold, args=(run.path, ready, done))
    other.start()
    try:
        assert ready.wait(60)
        assert run.live
        with pytest.raises(UserError, match=f"pid {other.pid}"), run.writing():
            raise AssertionError("held twice")
    finally:
        done.set()
        other.join()
    with run.writing():
        pass


def test_requests_go_through_once_and_nothing_foreign_is_obeyed(tmp_path):
    run = Run.create(tmp_path / "a", {})
    run.request("save")
    run.request("rate", 0.5)
    (run.path / "requests" / "0-evil.json").write_text(json.dumps({"kind": "exec", "value": "rm"}))
    (run.path / "requests" / "1-broken.json").write_text("{")
    assert [r["kind"] for r in run.take_requests()] == ["save", "rate"]
    assert run.take_requests() == []
    with pytest.raises(UserError, match="rates"):
        run.request("rate", -1)
    with pytest.raises(UserError, match="unknown"):
        run.request("dance")


def test_whole_or_not_at_all(tmp_path):
    path = tmp_path / "x"
    write_whole(path, b"old")
    with pytest.raises(TypeError):
        write_whole(path, "not bytes")  # type: ignore[arg-type]
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_scores_keep_their_names(tmp_path):
    run = Run.create(tmp_path / "a", {})
    assert run.add_score("lite", {"metrics": {}}).name == "lite.json"
    assert run.add_score("lite", {"metrics": {}}).name == "lite-2.json"
    assert len(run.scores()) == 2


def test_find_runs(tmp_path):
    Run.create(tmp_path / "x" / "a", {})
    Run.create(tmp_path / "b", {})
    assert [r.path.name for r in find_runs(tmp_path)] == ["b", "a"]
    assert [r.path.name for r in find_runs(tmp_path / "b")] == ["b"]
