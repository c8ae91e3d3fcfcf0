"""Records as columns: what is read, what is kept, what is thinned."""

from __future__ import annotations

import json

import numpy as np
from fake_run import FakeRun
from hypothesis import given, settings
from hypothesis import strategies as st

from ganforge.run import Run, Tail
from ganforge.studio.ledger import Ledger, thin


def test_tail_reads_each_record_once(tmp_path):
    fake = FakeRun(tmp_path / "r")
    tail = Tail(fake.run.path / "records.jsonl")
    assert [len(tail.read()[1]), len(tail.read()[1])] == [1, 0]
    fake.tick()
    fake.tick()
    again, records = tail.read()
    assert not again
    assert [r["step"] for r in records] == [10, 20]


def test_tail_waits_for_the_end_of_a_line(tmp_path):
    path = tmp_path / "records.jsonl"
    tail = Tail(path)
    path.write_bytes(b'{"step":1}\n{"step":2')
    assert [r["step"] for r in tail.read()[1]] == [1]
    with open(path, "ab") as f:
        f.write(b"0}\n")
    assert [r["step"] for r in tail.read()[1]] == [20]


def test_tail_notices_a_file_that_was_cut_replaced_or_rewritten(tmp_path):
    path = tmp_path / "records.jsonl"
    tail = Tail(path)
    lines = [json.dumps({"step": i, "pad": "x" * 40}) for i in range(6)]
    path.write_text("\n".join(lines) + "\n")
    assert len(tail.read()[1]) == 6
    path.write_text("\n".join(lines[:2]) + "\n")
    assert [tail.read()[0], tail.read()[0]] == [True, False]
    aside = tmp_path / "new"
    aside.write_text("\n".join(lines[::-1]) + "\n")
    aside.rename(path)
    again, records = tail.read()
    assert again
    assert records[0]["step"] == 5
    path.write_text("\n".join([*lines, *lines]) + "\n")  # in place, and longer
    assert tail.read()[0]
    path.unlink()
    assert tail.read() == (True, [])
    assert tail.read() == (False, [])


def test_tail_of_a_long_file_begins_near_its_end(tmp_path):
    path = tmp_path / "records.jsonl"
    path.write_text("".join(json.dumps({"step": i}) + "\n" for i in range(10_000)))
    _, records = Tail(path, last=1000).read()
    assert records[-1]["step"] == 9999
    assert 10 < len(records) < 100


def test_tail_in_pieces_loses_nothing(tmp_path):
    path = tmp_path / "records.jsonl"
    path.write_text("".join(json.dumps({"step": i}) + "\n" for i in range(3000)))
    tail, steps = Tail(path), []
    while True:
        steps += [r["step"] for r in tail.read(limit=1000)[1]]
        if not tail.behind:
            break
    assert steps == list(range(3000))


def test_ledger_agrees_with_the_run_after_resumes_and_rollbacks(tmp_path):
    fake = FakeRun(tmp_path / "r")
    ledger = Ledger(fake.run)
    for back in (None, 30, 10, 35):
        if back is not None:
            fake.step = back
            fake.run.append(fake.record(event="rollback", message="NaN"))
        for _ in range(5):
            fake.tick()
        fake.health("healthy")
        ledger.update()
        valid = Run(fake.run.path).records()
        ticks = [r["step"] for r in valid if "loss" in r]
        assert ledger.series(10**6)["step"] == ticks
        assert [r["step"] for r in ledger.notes["health"]] == [
            r["step"] for r in valid if "health" in r
        ]
    assert ledger.generation == 3


def test_values_that_are_no_numbers_and_names_that_come_late(tmp_path):
    run = Run.create(tmp_path / "r", {})
    with open(run.path / "records.jsonl", "w") as f:
        f.write('{"step":1,"loss":{"a":1}}\n')
        f.write('{"step":2,"loss":{"a":NaN,"b":2},"speed":"fast","histogram":null}\n')
        f.write(
            '{"step":3,"loss":[1,2],"rate":null}\n[1]\n{"step":"x"}\n{"step":4,"loss":{"a":1e999}}\n'
        )
    ledger = Ledger(run)
    ledger.update()
    series = ledger.series()
    assert series["step"] == [1, 2, 3, 4]
    assert series["loss/a"] == [1, None, None, None]
    assert series["loss/b"] == [None, 2, None, None]


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 3000), st.integers(2, 400), st.data())
def test_thinning_keeps_every_spike(length, points, data):
    rows = data.draw(st.lists(st.integers(0, length - 1), min_size=1, max_size=3))
    v = np.random.default_rng(length).normal(size=length)
    v[rows] = [100.0 + i for i in range(len(rows))]
    out = thin({"step": np.arange(length, dtype=float), "v": v}, points)
    assert len(out["v"]) == len(out["step"]) <= max(points, 2)
    assert out["v"].max() == v.max()
    assert out["v"].min() == v.min()
    assert (np.diff(out["step"]) >= 0).all()
    assert out["step"][0] == 0
    assert out["step"][-1] == length - 1


def test_a_hundred_thousand_records_answer_quickly_and_small(tmp_path):
    run = Run.create(tmp_path / "r", {})
    with open(run.path / "records.jsonl", "w") as f:
        for i in range(100_000):
            f.write(f'{{"step":{i},"images":{i},"seconds":1,"loss":{{"D/real":{i % 97}}}}}\n')
    ledger = Ledger(run)
    ledger.update()
    series = ledger.series(1000)
    assert len(series["step"]) == 1000
    assert max(series["loss/D/real"]) == 96
    close = ledger.series(1000, low=50_000, high=50_400)
    assert close["step"] == list(range(50_000, 50_401))


def test_in_a_hurry_curves_are_whole_and_some_histograms_stay(tmp_path, monkeypatch):
    monkeypatch.setattr("ganforge.studio.ledger.HURRY", 0)
    fake = FakeRun(tmp_path / "r", steps=1000)
    message = r'a message with ,"histogram":{"quoted"} in it'
    fake.run.append(fake.record(event="save", message=message))
    for _ in range(200):
        fake.tick(1)
    ledger = Ledger(fake.run)
    ledger.update()
    assert ledger.series(10**6)["step"] == list(range(1, 201))
    assert 3 <= len(ledger.histograms) <= 4
    assert ledger.notes["event"][-1]["message"] == message
