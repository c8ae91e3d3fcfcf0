"""Records as columns: what is read, what is kept, what is thinned."""

from __future__ import annotations

import json

import numpy as np
from fake_run import FakeRun
from hypothesis import given, settings
from hypothesis import strategies as st

from ganforge.run import Run, Tail, parse_record
from ganforge.studio.ledger import Ledger, numbers, thin
from ganforge.studio.library import Library
from ganforge.studio.live import RunFeed
from ganforge.studio.ticks import Reader, Stretch


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


def written(fake: FakeRun) -> bytes:
    return (fake.run.path / "records.jsonl").read_bytes()


def plainly(text: bytes) -> tuple[list[dict[str, float]], list[dict]]:
    """All ticks' numbers, and all other records, by json alone."""
    records = [r for line in text.split(b"\n") if (r := parse_record(line)) is not None]
    rest = [r for r in records if any(k in r for k in ("event", "score", "health"))]
    return [numbers(r) for r in records if r not in rest], rest


def quickly(text: bytes) -> tuple[list[dict[str, float]], list[dict], int]:
    """The same by stretches, and how many ticks came in stretches."""
    kinds = ("event", "score", "health")
    ticks, rest, stretched = [], [], 0
    for found in Reader(numbers, lambda r: not any(k in r for k in kinds)).read(text):
        if isinstance(found, Stretch):
            rows = np.where(np.abs(found.rows) < 1e300, found.rows, np.nan)
            named = [{n: row[i] for n, i in found.names.items()} for row in rows.tolist()]
            ticks += [{n: v for n, v in row.items() if v == v} for row in named]
            stretched += len(rows)
        elif any(k in found for k in kinds):
            rest.append(found)
        else:
            ticks.append(numbers(found))
    return ticks, rest, stretched


def test_stretches_say_what_json_says(tmp_path):
    fake = FakeRun(tmp_path / "r", steps=1000)
    message = r'a message with ,"histogram":{"quoted"} in it'
    fake.run.append(fake.record(event="save", message=message))
    for i in range(120):
        fake.tick(1)
        if i % 40 == 39:
            fake.score()
            fake.health("healthy")
    ticks, rest, stretched = quickly(written(fake))
    assert (ticks, rest) == plainly(written(fake))
    assert stretched > 100
    assert rest[1]["message"] == message


ODD = [
    b'{"step":7,"images":1,"seconds":0.5,"loss":{"D/r1":1.5,"D/r2":2}}',
    b'{"step":8,"images":1,"seconds":0.5,"loss":{"D/r2":1.5,"D/r1":2}}',  # other order
    b'{"step":9,"images":1,"seconds":5e-1,"loss":{"D/r1":-1e999,"D/r2":1e-05}}',
    b'{"step":1.5,"images":1,"seconds":0.5,"loss":{"D/r1":1,"D/r2":2}}',  # no step
    b'{"step":9,"images":01,"seconds":0.5,"loss":{"D/r1":1,"D/r2":2}}',  # no JSON
    b'{"step":9,"images":1 ,"seconds":0.5,"loss":{"D/r1":1,"D/r2":2}}',
    b'{"step":9,"images":1,"seconds":0.5,"loss":{"D/r1":NaN,"D/r2":2}}',
    b'{"step":9,"images":1,"seconds":0.5,"loss":{"D/r1":1,"D/r2":2},"histogram":{"a":[1,2]}}',
    b'{"step":9,"images":1,"seconds":0.5,"loss":{"D/r1":1,"D/r2":2},"histogram":{"a":{"b":1}}}',
    b'{"step":9,"images":1,"seconds":0.5,"loss":{"D/r1":1,"D/r2":2},"note":":5,"}',
    b'{"step":9,"images":1,"images":2,"loss":{"D/r1":1}}',
    b'{"step":4,"images":1,"seconds":2,"event":"rollback","message":"x"}',
    b'{"step":9,"images":1,"sec',
    b"",
]


@settings(deadline=None, max_examples=150)
@given(st.lists(st.tuples(st.sampled_from(ODD), st.integers(1, 12)), max_size=12))
def test_stretches_say_what_json_says_of_any_lines(parts):
    text = b"".join((line + b"\n") * times for line, times in parts)
    ticks, rest, _ = quickly(text)
    assert (ticks, rest) == plainly(text)


def test_a_long_run_is_shown_while_it_is_read(tmp_path, monkeypatch):
    fake = FakeRun(tmp_path / "r", steps=10**6)
    with open(fake.run.path / "records.jsonl", "a") as f:
        for i in range(1, 60_000):
            f.write(f'{{"step":{i},"images":{i},"seconds":1,"loss":{{"D/real":{i % 97}}},')
            f.write('"reading":{"D(x)":0.5,"D(G(z))":0.25},"histogram":{"range":[0,1]}}\n')
    feed = RunFeed(Library(tmp_path), "r")
    monkeypatch.setattr("ganforge.studio.live.PATIENCE", 0.0)
    ledger, shown = feed.library.ledger("r"), []
    feed.look()
    while True:
        feed.first()
        shown.append(ledger.series(10**6)["step"][-1])
        if not ledger.behind:
            break
        assert b"event: first" in feed.look()[0]
    assert shown == sorted(set(shown))
    assert len(shown) > 1
    assert ledger.series(10**6)["step"] == list(range(1, 60_000))
    assert feed.look() == []
    assert 100 < len(ledger.histograms) <= 240


def test_a_longer_run_keeps_its_spikes_in_less_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("ganforge.studio.ledger.MOST_VALUES", 4000)
    fake = FakeRun(tmp_path / "r")
    ledger = Ledger(fake.run)

    def ticks(steps: range, spike: int) -> None:
        with open(fake.run.path / "records.jsonl", "a") as f:
            for i in steps:
                v = 99 if i == spike else 1
                f.write(f'{{"step":{i},"images":{i},"seconds":1,"loss":{{"D/real":{v}}}}}\n')
        ledger.update()

    ticks(range(1, 5001), 777)
    assert ledger.ticks.length <= 1000
    series = ledger.series(10**6)
    assert max(series["loss/D/real"]) == 99
    assert series["step"][0] == 1
    assert series["step"][-1] == 5000
    told = ledger.generation
    fake.step = 776  # between the two of a pair: what is shown has not seen the spike
    fake.run.append(fake.record(event="rollback", message="NaN"))
    ledger.update()
    series = ledger.series(10**6)
    assert 700 < series["step"][-1] <= 776
    assert max(series["loss/D/real"]) == 1
    assert ledger.generation > told
    ticks(range(777, 800), 0)
    assert ledger.series(10**6)["step"][-23:] == list(range(777, 800))
