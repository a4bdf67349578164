"""The GPU script: its rules for results on made-up ones, and its stages on a CPU, killed and started again."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch.utils.flop_counter import FlopCounterMode

from logcosh_vae.base.environment import describe as environment_of
from logcosh_vae.base.errors import DataError, RunError, UserError
from logcosh_vae.base.records import from_json, to_json
from logcosh_vae.base.settings import to_dict
from logcosh_vae.base.versions import numerics
from logcosh_vae.bench import gpu, step
from logcosh_vae.bench.gpu_results import (
    Result,
    conflict,
    declared_keys,
    in_order,
    is_current,
    joined,
    key_of,
    with_origin,
)
from logcosh_vae.experiments.results import ExperimentResults, read_results
from logcosh_vae.experiments.scheduler import Job
from logcosh_vae.paper.figures import curvature_findings
from logcosh_vae.paper.registry import EXPERIMENTS
from logcosh_vae.restoration.network import RestorationNetwork
from logcosh_vae.restoration.training import load_restoration
from logcosh_vae.training.builders import build_model
from logcosh_vae.training.config import resolve

ROOT = Path(__file__).resolve().parents[2]
FIELDS = ("data", "model", "task", "loss", "a", "weight")
LEARNED = ("likelihood", "warmup", "free_bits")


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The script's modules."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import gpu_merge
    import gpu_restoration
    import gpu_runs
    import gpu_session
    import gpu_stages
    import gpu_training

    return SimpleNamespace(
        merge=gpu_merge,
        restoration=gpu_restoration,
        runs=gpu_runs,
        session=gpu_session,
        stages=gpu_stages,
        training=gpu_training,
    )


def describe() -> dict[str, Any]:
    """The environment as a file holds it."""
    values: dict[str, Any] = to_json(environment_of())
    return values


def _summary(value: float) -> dict[str, Any]:
    return {"mean": value, "std": None, "values": [value]}


def _rows(name: str, epochs: int = 40, **more: Any) -> list[dict[str, Any]]:
    """Rows of a table or figure with made-up values, in the declared order."""
    values = {"metrics": {"fid": _summary(1.0)}, "training_seconds": _summary(1.0), "seeds": [0], "reported": {}}
    keys = declared_keys(name)
    rows = [dict(zip(FIELDS, key[: len(FIELDS)], strict=True)) for key in keys]
    learned = [dict(zip(LEARNED, key[len(FIELDS) :], strict=False)) for key in keys]
    configs = [{"epochs": epochs, "device": "cuda", **({"objective": each} if each else {})} for each in learned]
    return [
        {**row, **values, "config": config, "runs": ["run"], **more} for row, config in zip(rows, configs, strict=True)
    ]


def _result(name: str, rows: list[dict[str, Any]], **more: Any) -> Result:
    experiment, _, profile = name.rpartition("-")
    environment = {**describe(), "accelerator": "card"}
    features = {"name": "classifier", "fingerprint": "f"}
    result = {"experiment": experiment, "title": "", "profile": profile, "rows": rows, "environment": environment}
    measured = {"features": features, "evaluation": {"fid_images": 1}, "workers": 1, "seconds": 1.0}
    return with_origin({**result, **measured, "runs": {"total": len(rows), "reused": 0}, **more})


def _shuffled(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return random.Random(0).sample(rows, len(rows))


def _folder(path: Path, results: dict[str, Any], pictures: tuple[str, ...] = ()) -> Path:
    path.mkdir(parents=True)
    (path / "results.json").write_text(json.dumps(results), encoding="utf-8")
    if pictures:
        with zipfile.ZipFile(path / "pictures.zip", "w") as archive:
            for name in pictures:
                archive.writestr(name, b"picture")
    return path


def _repository(path: Path, **results: Any) -> Path:
    (path / "results").mkdir(parents=True)
    for name, result in results.items():
        (path / "results" / f"{name.replace('_', '-')}.json").write_text(json.dumps(result), encoding="utf-8")
    return path


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _session(script: Any, folder: Path, *, smoke: bool = True, repository: Path | None = None) -> Any:
    return script.session.Session(folder / "out", folder / "runs", "cpu", smoke, repository or folder / "repository")


@pytest.mark.parametrize(
    "name", ["table3-paper", "table4-excerpt", "figure6-paper", "figure10-excerpt", "likelihood-faces-laptop"]
)
def test_rows_are_in_the_declared_order_however_runs_finish(name: str) -> None:
    rows = _rows(name)
    assert len({key_of(row) for row in rows}) == len(rows)
    assert in_order(name, _shuffled(rows)) == rows
    shuffled = _shuffled(rows)
    assert joined(name, shuffled[:2], shuffled[1:]) == rows


def test_timings_are_in_the_declared_order_card_by_card() -> None:
    rows = [{"accelerator": card, "what": key[0]} for card in "AB" for key in declared_keys("bench-gpu")]
    assert in_order("bench-gpu", _shuffled(rows)) == rows
    assert rows[0]["what"] == "ceilings"


def test_tests_of_a_card_replace_all_that_ran_on_it_before() -> None:
    old = [{"accelerator": card, "what": name} for card in "AB" for name in ("kept", "renamed since")]
    new = [{"accelerator": "A", "what": "kept", "outcome": "passed"}]
    assert joined("gpu-tests", old, new) == [*new, *old[2:]]


def test_the_trend_of_figure_6_does_not_depend_on_the_order_of_its_rows() -> None:
    rows = _rows("figure6-paper")
    for number, row in enumerate(rows):
        row["metrics"] = {"fid": _summary(100.0 - number)}
        row["test"] = {name: _summary(float(number)) for name in ("squared_l2", "kl")}
    ordered, shuffled = (
        from_json(ExperimentResults, _result("figure6-paper", each)) for each in (rows, _shuffled(rows))
    )
    assert curvature_findings(shuffled) == curvature_findings(ordered)


def test_a_session_records_rows_in_order_with_their_origin_and_without_those_that_are_not_finite(
    script: Any, tmp_path: Path
) -> None:
    session = _session(script, tmp_path)
    rows = _rows("table3-smoke", epochs=2)
    broken = replace_fid(rows[4], float("nan"))
    for row in _shuffled([*rows[:4], broken, *rows[5:]]):
        session.record("table3-smoke", {"experiment": "table3", "profile": "smoke", "rows": [row]})
    written = _read(tmp_path / "out" / "results.json")["table3-smoke"]
    assert [key_of(row) for row in written["rows"]] == [key_of(row) for row in rows if row is not rows[4]]
    for row in (*written["rows"], written["environment"]):
        assert row["accelerator"] is None  # of a session on the CPU, whatever the machine has
        assert row["commit"] == describe()["commit"]
        assert row["numerics"] == numerics()
    assert "left out vae-conv log-cosh a=100" in (tmp_path / "out" / "log.txt").read_text(encoding="utf-8")


def replace_fid(row: dict[str, Any], value: float) -> dict[str, Any]:
    return {**row, "metrics": {"fid": {"mean": value, "std": None, "values": [value]}}}


def test_rows_of_other_features_or_numerics_are_neither_joined_nor_known(script: Any, tmp_path: Path) -> None:
    rows = _rows("table3-paper")
    known, new = _result("table3-paper", rows[:3]), _result("table3-paper", rows[3:])
    assert conflict("table3-paper", known, new) == ""
    others = {**new, "features": {"fingerprint": "g"}}
    assert conflict("table3-paper", known, others) == "features"
    assert conflict("table3-paper", known, {**others, "rows": rows}) == ""  # all that was there is replaced
    old = [{**row, "numerics": {**numerics(), "training": 0}} for row in rows[:3]]
    assert conflict("table3-paper", {**known, "rows": old}, new) == "numerics"
    assert not is_current(old[0])
    assert is_current(rows[0])  # from before versions were recorded
    session = _session(
        script, tmp_path, smoke=False, repository=_repository(tmp_path, table3_paper={**known, "rows": old})
    )
    assert session.rows("table3-paper") == []


def test_an_excerpt_is_of_one_length(script: Any, tmp_path: Path) -> None:
    rows, longer = _rows("table4-excerpt", 5), _rows("table4-excerpt", 6)
    known, new = _result("table4-excerpt", rows[:3]), _result("table4-excerpt", longer[3:])
    assert conflict("table4-excerpt", known, new) == "epochs or steps"
    repository = _repository(tmp_path, table4_excerpt=known)
    assert (
        _session(script, tmp_path, smoke=False, repository=repository).chosen(
            "table4 epochs", "table4-excerpt", "epochs", lambda: 9
        )
        == 5
    )  # as in the rows that are there


def test_a_row_of_the_study_is_known_with_all_of_its_seeds_and_the_declared_settings(
    script: Any, tmp_path: Path
) -> None:
    rows = _rows("likelihood-faces-laptop", seeds=[0, 1, 2])
    for row, declared in zip(rows, EXPERIMENTS["likelihood-faces"].experiment("laptop").rows, strict=True):
        row["config"] = {**to_dict(resolve(declared.config)), "device": "cuda"}
    rows[0]["seeds"] = [0]
    del rows[1]["config"]["model"]["max_log_variance"]  # from before the setting
    rows[2]["config"]["optimizer"]["betas"] = [0.5, 0.999]
    rows[3]["config"]["model"] = None  # damaged
    rows[4]["config"]["of_a_later_version"] = 1
    repository = _repository(tmp_path, likelihood_faces_laptop=_result("likelihood-faces-laptop", rows))
    session = _session(script, tmp_path, smoke=False, repository=repository)
    assert script.training.count_likelihood(session) == (len(rows) - 5, len(rows))


def test_a_length_is_chosen_once(script: Any, tmp_path: Path) -> None:
    for offered, expected in ((0, 0), (-1, 0), (7, 7), (9, 7)):
        session = _session(script, tmp_path, smoke=False)
        assert session.chosen("table4 epochs", "table4-excerpt", "epochs", lambda n=offered: n) == expected


def test_smoke_and_real_results_do_not_share_a_folder(script: Any, tmp_path: Path) -> None:
    _session(script, tmp_path, smoke=True)
    with pytest.raises(DataError, match=r"out was made with --smoke, and this is a real run; choose another --out"):
        _session(script, tmp_path, smoke=False)
    _folder(tmp_path / "old" / "out", {"bench-gpu": _result("bench-gpu", []) | {"experiment": "bench-gpu"}})
    results = tmp_path / "old" / "out" / "results.json"
    results.write_text(results.read_text(encoding="utf-8").replace('"gpu"', '"paper"'), encoding="utf-8")
    with pytest.raises(DataError, match="was made without --smoke"):
        _session(script, tmp_path / "old", smoke=True)


def test_two_sessions_do_not_share_a_folder(script: Any, tmp_path: Path) -> None:
    with (
        script.session.locked(tmp_path / "out"),
        pytest.raises(RunError, match="another session is writing there"),
        script.session.locked(tmp_path / "out"),
    ):
        pass


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is damaged"),
        ("[]", "holds no object"),
        ('{"../evil": {"rows": []}}', "'../evil' is not the name of a result"),
        ('{"table3-paper": []}', "has no list of rows"),
        (
            '{"bench-step": {"experiment": "bench-step", "profile": "paper", "rows": []}}',
            "has the experiment 'bench-step'",
        ),
        ('{"table4-paper": {"experiment": "table3", "profile": "paper", "rows": []}}', "holds table3-paper"),
        (
            '{"table3-paper": {"experiment": "table3", "profile": "paper", "rows": [{"loss": "l1"}]}}',
            "has a row without",
        ),
        ('{"gpu-tests": {"experiment": "gpu-tests", "profile": "paper", "rows": [{}]}}', "has a row without what"),
    ],
)
def test_a_foreign_or_damaged_file_of_results_is_named(script: Any, tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "results.json").write_text(content, encoding="utf-8")
    for use in (_session, lambda *_: script.merge.merge(tmp_path / "out", tmp_path)):
        with pytest.raises(UserError, match=r"results\.json") as error:
            use(script, tmp_path)
        assert message in str(error.value)


def test_damaged_pictures_are_named_before_anything_is_written(script: Any, tmp_path: Path) -> None:
    folder = _folder(tmp_path / "out", {"table3-paper": _result("table3-paper", _rows("table3-paper"))}, ("a.png",))
    pictures = folder / "pictures.zip"
    pictures.write_bytes(pictures.read_bytes()[:-30])
    repository = _repository(tmp_path / "repository")
    with pytest.raises(DataError, match=r"pictures.zip is damaged"):
        script.merge.merge(folder, repository)
    assert not list((repository / "results").iterdir())


def test_merging_joins_rows_keeps_their_origin_and_puts_pictures_that_may_be_shown(
    script: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = _rows("table3-paper")
    older = {**_result("table3-paper", []), "rows": _shuffled(rows[:6])}  # without origins, as older files are
    older["environment"] = {**older["environment"], "commit": "older", "accelerator": "other card"}
    repository = _repository(tmp_path / "repository", table3_paper=older)
    results = {
        "table3-paper": _result("table3-paper", _shuffled(rows[6:])),
        "table4-excerpt": _result("table4-excerpt", _rows("table4-excerpt", 5)),
        "figure2-paper": _result("figure2-paper", _rows("figure2-paper")),
        "figure4-excerpt": _result("figure4-excerpt", _rows("figure4-excerpt", 5)),
        "table3-smoke": _result("table3-smoke", _rows("table3-smoke", 2)),
    }
    pictures = ("figure2-paper.png", "figure4-excerpt.png", "figure2-smoke.png", "../evil.png")
    folder = _folder(tmp_path / "out", results, pictures)
    assert script.merge.merge(folder, repository) == 0
    merged = _read(repository / "results" / "table3-paper.json")
    assert [key_of(row) for row in merged["rows"]] == [key_of(row) for row in rows]
    assert [row["commit"] for row in merged["rows"]] == ["older"] * 6 + [describe()["commit"]] * 6
    assert [row["accelerator"] for row in merged["rows"]] == ["other card"] * 6 + ["card"] * 6
    assert merged["runs"] == {"total": 12, "reused": 6}
    assert not (repository / "results" / "table3-smoke.json").exists()
    assert [path.name for path in (repository / "docs" / "images").iterdir()] == ["figure2-paper.png"]
    assert not list(tmp_path.rglob("evil*"))
    said = capsys.readouterr().out
    assert "table3-smoke: left out, it is of a smoke run" in said
    assert "figure4-excerpt.png: left out, the licence of CelebA" in said
    assert script.merge.merge(folder, repository) == 0  # again
    assert _read(repository / "results" / "table3-paper.json")["rows"] == merged["rows"]


def test_merging_leaves_out_what_cannot_stand_beside_the_rows_that_are_there(
    script: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = _rows("table3-paper")
    repository = _repository(tmp_path / "repository", table3_paper=_result("table3-paper", rows[:6]))
    others = _result("table3-paper", rows[6:]) | {"features": {"fingerprint": "g"}}
    figure = _result("figure6-paper", _rows("figure6-paper"))
    folder = _folder(tmp_path / "out", {"table3-paper": others, "figure6-paper": figure})
    assert script.merge.merge(folder, repository) == 1
    assert "table3-paper: left out, it differs from the rows that are there in: features" in capsys.readouterr().out
    assert len(_read(repository / "results" / "table3-paper.json")["rows"]) == 6
    assert (repository / "results" / "figure6-paper.json").exists()


def _restoration_folder(path: Path, script: Any, losses: tuple[str, ...], steps: int = 100) -> Path:
    """A session's folder with networks of figure 10."""
    rows = [row for row in _rows("figure10-excerpt") if row["loss"] in losses]
    for row in rows:
        row |= {"validation": [{"psnr": 1.0, "ssim": 0.5}], "training_seconds": float(len(str(path)))}
        row["config"] = {"data": "text-removal", "task": "text", "loss": row["loss"], "epochs": 4, "steps": steps}
    result = _result("figure10-excerpt", rows)
    del result["features"], result["evaluation"]
    _folder(path, {"figure10-excerpt": result})
    for loss in losses:
        script.restoration.weights_path(path, "figure10-excerpt", loss).touch()
    return path


def test_networks_of_two_folders_are_measured_with_their_own_weights_and_once(
    script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for part in ("train", "test"):
        (tmp_path / "data" / "text-removal" / part).mkdir(parents=True)
    monkeypatch.setenv("LOGCOSH_VAE_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(script.merge, "networks", lambda *_: [])
    measured = []

    def measure(_: str, result: Result, folder: Path) -> Result:
        measured.append((folder.name, [row["loss"] for row in result["rows"]]))
        rows = [
            {**row, "training_seconds": _summary(row["training_seconds"]), "validation": None} for row in result["rows"]
        ]
        return {**result, "rows": rows, "pictures": ["a.png"], "corrupted": {"text": {}}}

    repository = _repository(tmp_path / "repository")
    first = _restoration_folder(tmp_path / "first", script, ("l2", "l1"))
    second = _restoration_folder(tmp_path / "the second", script, ("log-cosh",))
    third = _restoration_folder(tmp_path / "third", script, ("log-cosh",), steps=200)
    for folder, code in ((second, 0), (first, 0), (first, 0), (third, 1)):
        assert script.merge.merge(folder, repository, measure) == code
    assert measured == [("the second", ["log-cosh"]), ("first", ["l2", "l1"])]
    merged = _read(repository / "results" / "figure10-excerpt.json")["rows"]
    assert [row["loss"] for row in merged] == ["l2", "log-cosh", "l1"]
    assert (
        "figure10-excerpt: left out, it differs from the rows that are there in: epochs or steps"
        in capsys.readouterr().out
    )


@pytest.mark.parametrize("missing", ["data", "weights"])
def test_merging_sees_what_measuring_needs_before_it_writes(
    script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    if missing == "weights":
        for part in ("train", "test"):
            (tmp_path / "text-removal" / part).mkdir(parents=True)
    monkeypatch.setenv("LOGCOSH_VAE_DATA", str(tmp_path))
    repository = _repository(tmp_path / "repository")
    folder = _restoration_folder(tmp_path / "out", script, ("l2",))
    results = _read(folder / "results.json") | {"table3-paper": _result("table3-paper", _rows("table3-paper"))}
    (folder / "results.json").write_text(json.dumps(results), encoding="utf-8")
    with pytest.raises(DataError, match="text-removal" if missing == "data" else "weights-figure10-excerpt-l2"):
        script.merge.merge(folder, repository)
    assert not list((repository / "results").iterdir())


@dataclass(frozen=True)
class _FakeJob(Job):
    path: Path
    fails: bool = False

    @property
    def label(self) -> str:
        return self.path.name

    def cost(self) -> float:
        return 1.0

    def cached_result(self) -> dict[str, Any] | None:
        if self.fails:
            raise RunError("metrics.jsonl is damaged")
        return {} if (self.path / "done").exists() else None

    def run(self) -> dict[str, Any]:
        raise RuntimeError("out of memory")


def test_a_damaged_run_counts_as_not_finished(script: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    session = _session(script, tmp_path)
    damaged = _FakeJob(tmp_path / "damaged", fails=True)
    assert script.runs.result_of(session, damaged) is None
    assert script.runs.result_of(session, damaged) is None
    assert capsys.readouterr().out.count("damaged: counts as not finished: metrics.jsonl is damaged") == 1
    attempt = script.runs.Attempt(damaged, damaged.path)
    assert attempt.cached_result() is None
    assert attempt.run() == script.runs.Failure("RuntimeError: out of memory")


def test_runs_that_finished_before_are_recorded_although_the_time_is_up(script: Any, tmp_path: Path) -> None:
    session = _session(script, tmp_path)
    jobs = [_FakeJob(tmp_path / "one"), _FakeJob(tmp_path / "two")]
    for job in jobs:
        job.path.mkdir()
        (job.path / "done").touch()
    recorded = []
    script.runs.run_all(session, jobs, lambda: recorded.append(True))
    assert recorded  # there was nothing to run, and so nothing to watch


def test_a_row_that_cannot_be_recorded_does_not_hold_up_the_others(script: Any, tmp_path: Path) -> None:
    session = _session(script, tmp_path)
    rows = _rows("table3-smoke", 2)[:3]

    class Experiment(SimpleNamespace):
        def add_results(self, result: Any, plan: Any, outcomes: Any, _: Path) -> Any:
            made = [rows[int(jobs[0].path.name)] | {"extra": outcomes[jobs[0].path]["real"]} for jobs in plan]
            return replace(result, rows=tuple(made))

    jobs = [_FakeJob(tmp_path / str(number)) for number in range(3)]
    experiment = Experiment(name="table3", profile="smoke", title="", source="", rows=(0, 1, 2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(script.training, "replace", lambda each, rows: Experiment(**{**vars(each), "rows": rows}))
        patch.setattr(script.training, "data_root", lambda: tmp_path)
        patch.setattr(script.training, "result_of", lambda _, job: {} if job.path.name == "1" else {"real": 1})
        script.training._Recorder(session, experiment, [[job] for job in jobs])()
    assert [row["loss"] for row in session.results["table3-smoke"]["rows"]] == ["l2", "l1"]
    assert session.failed


def test_tests_use_no_older_report_and_record_no_skipped_ones(
    script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = _session(script, tmp_path)
    session.start_clock(1)
    report = tmp_path / "runs" / "tests.xml"
    report.write_text('<testsuites><testcase name="old" time="1"/></testsuites>', encoding="utf-8")

    def run(code: int, outcome: str) -> Any:
        def pytest_run(*_: Any, **__: Any) -> Any:
            if outcome:
                report.write_text(f'<x><testcase name="new" time="1">{outcome}</testcase></x>', encoding="utf-8")
            return SimpleNamespace(returncode=code, stdout="", stderr="no module named x")

        return pytest_run

    monkeypatch.setattr(script.stages.subprocess, "run", run(4, ""))
    with pytest.raises(RunError, match="exit code 4"):
        script.stages.tests(session)
    monkeypatch.setattr(script.stages.subprocess, "run", run(0, "<skipped/>"))
    script.stages.tests(session)
    assert session.results == {}
    monkeypatch.setattr(script.stages.subprocess, "run", run(1, "<failure/>"))
    script.stages.tests(session)
    assert [(row["what"], row["outcome"]) for row in session.results["gpu-tests-smoke"]["rows"]] == [("new", "failed")]
    assert "no module named x" in (tmp_path / "out" / "log.txt").read_text(encoding="utf-8")


def test_no_timing_is_begun_that_would_not_end_in_time(script: Any, tmp_path: Path) -> None:
    session = _session(script, tmp_path)
    session.start_clock(0.5 / 60)

    def slow(_: Any) -> dict[str, Any]:
        time.sleep(0.3)
        return {"what": "ceilings", "rates": {}}

    with pytest.raises(script.session.TimeUpError, match="'second' needs about 0 s"):
        script.stages._measure(session, {"ceilings": slow, "second": slow})
    assert [row["what"] for row in session.results["bench-gpu-smoke"]["rows"]] == ["ceilings"]
    assert session.left() >= 0


def test_preparing_ends_at_the_deadline(script: Any, tmp_path: Path) -> None:
    session = _session(script, tmp_path)
    session.start_clock(-1)
    preparing = script.runs.preparing(session)
    for tell in (
        lambda: preparing.on_images("mnist", 1, 2, "images"),
        lambda: preparing.on_training("mnist").on_step(None),
    ):
        with pytest.raises(script.session.TimeUpError):
            tell()


def test_an_interrupt_that_a_library_swallowed_is_not_lost(script: Any, tmp_path: Path) -> None:
    interrupts = script.session.Interrupts()
    session = script.session.Session(tmp_path / "out", tmp_path / "runs", "cpu", True, tmp_path, interrupts)
    with pytest.raises(KeyboardInterrupt):
        interrupts._handle(signal.SIGINT, None)
    with pytest.raises(KeyboardInterrupt):
        session.check_time()


def test_a_figure_with_missing_runs_is_neither_drawn_nor_recorded(
    script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = _session(script, tmp_path)
    done = _FakeJob(tmp_path / "0")
    done.path.mkdir()
    (done.path / "done").touch()
    experiment = replace(script.training.figure("figure9", "smoke"))
    plan = [[done], *([_FakeJob(tmp_path / str(number))] for number in range(1, 4))]
    monkeypatch.setattr(script.training, "_planned", lambda *_: (experiment, plan))
    script.training.draw(session, experiment)
    assert session.results == {}
    assert session.not_drawn["figure9"].startswith("3 of its 4 runs are not in")


def test_pictures_are_kept_beside_each_other(script: Any, tmp_path: Path) -> None:
    session = _session(script, tmp_path)
    for name in ("figure2-smoke", "figure3-smoke"):
        session.picture(name, Image.new("RGB", (2, 2)))
    assert session.has_picture("figure2-smoke")
    again = _session(script, tmp_path)
    assert again.has_picture("figure3-smoke")
    assert (tmp_path / "out" / "pictures.zip").stat().st_mode & 0o777 == 0o666 & ~_umask()


def test_operations_of_a_step_are_those_of_a_forward_and_a_backward_pass() -> None:
    config = step.config_of("conv", 1 / 16, batch_size=3, device="cpu")
    model = build_model(config, (1, 28, 28))
    with FlopCounterMode(display=False) as counter:
        output = model(torch.rand(3, 1, 28, 28), torch.Generator())
        (output.x_hat.sum() + output.z.sum()).backward()
    assert gpu.flops_of_step(config, (1, 28, 28)) == counter.get_total_flops()


ROWS = {"bench-gpu-smoke": 5, "table3-smoke": 12, "table4-smoke": 6, "figure6-smoke": 16, "figure10-smoke": 3}


@pytest.mark.slow
@pytest.mark.gpu_script
def test_every_stage_runs_on_the_cpu(celeba_root: Path, tmp_path: Path) -> None:
    """The whole session as on a GPU, with small networks; the tests that need a card are skipped in it."""
    if not (celeba_root / "text-removal" / "train").is_dir():
        pytest.skip("there are no pictures to train restoration on")
    command = _command(tmp_path, "--jobs", "1", "--minutes", "30", "--data-root", str(celeba_root))
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1500, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    results = _read(tmp_path / "out" / "results.json")
    assert {name: len(results[name]["rows"]) for name in ROWS} == ROWS
    with zipfile.ZipFile(tmp_path / "out" / "pictures.zip") as archive:
        assert archive.testzip() is None
        assert {"figure2-smoke.png", "figure6-smoke.png", "figure9-smoke.png"} <= set(archive.namelist())
    assert len(list((tmp_path / "out").glob("weights-figure10-smoke-*.safetensors"))) == 3
    assert load_restoration(tmp_path / "out" / "captions")[1].captions
    assert max(path.stat().st_size for path in (tmp_path / "out").iterdir()) < 16 << 20


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _command(folder: Path, *more: str) -> list[str]:
    where = ["--out", str(folder / "out"), "--runs", str(folder / "runs")]
    return [sys.executable, "benchmarks/gpu.py", "--device", "cpu", "--smoke", *where, *more]


def _run(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)


def _wait_for(path: Path, text: str, times: int = 1) -> None:
    deadline = time.monotonic() + 200
    while not path.exists() or path.read_text(encoding="utf-8").count(text) < times:
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
def test_a_session_that_is_stopped_goes_on_and_says_when_it_is_done(
    main: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = _command(tmp_path, "--stages", " speed , compiled", "--minutes", "5")
    log = tmp_path / "out" / "log.txt"
    for number, (stop, code) in enumerate([(signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 130)], 1):
        with subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        ) as process:
            _wait_for(log, "row 2 of 5" if number == 1 else "speed: begins", number)
            process.send_signal(stop)
            assert process.stderr is not None
            said = process.stderr.read()
        assert process.returncode == code
        assert said == "" if stop == signal.SIGKILL else "the same command continues" in said
    known = _read(tmp_path / "out" / "results.json")["bench-gpu-smoke"]["rows"]
    assert len(known) >= 2
    for text in ("row 1 of", "speed: done before"):  # the rest, and then nothing
        assert main(*command[2:]) == 0
        said = capsys.readouterr().out
        assert text in said
        assert "summary: speed: done, 5 of 5 rows are known" in said
    rows = _read(tmp_path / "out" / "results.json")["bench-gpu-smoke"]["rows"]
    assert [row for row in rows if row in known] == known  # what was known is not measured again
    assert max(map(len, log.read_text(encoding="utf-8").splitlines())) < 200


@pytest.mark.slow
def test_a_table_is_trained_and_what_time_does_not_allow_is_left(data_root: Path, tmp_path: Path) -> None:
    more = ("--jobs", "1", "--data-root", str(data_root), "--stages", "figure6")
    command = _command(tmp_path, *more, "--minutes", "4")
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, start_new_session=True) as process:
        _wait_for(tmp_path / "out" / "results.json", '"figure6-smoke"')
        os.killpg(process.pid, signal.SIGKILL)
    known = _read(tmp_path / "out" / "results.json")["figure6-smoke"]["rows"]
    assert [key_of(row) for row in known] == list(declared_keys("figure6-smoke"))[: len(known)]
    ended = subprocess.run([*command[:-1], "0.001"], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 3, ended.stdout + ended.stderr
    assert "the time is up" in ended.stdout
    (count,) = re.findall(r"not done, (\d+) of 16 rows are known; the time ran out", ended.stdout)
    assert len(known) <= int(count) < 16
    assert "to continue: python benchmarks/gpu.py --device cpu --smoke" in ended.stdout
    assert "-0" not in ended.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give either --out or --merge"),
        (["--out", "x", "--merge", "y"], "give either --out or --merge"),
        (["--out", "x", "--stages", "table5"], "unknown stage 'table5'"),
        (["--out", "x", "--stages", " , "], "--stages names no stage"),
        (["--out", "x", "--minutes", "0"], "--minutes must be positive; got 0"),
        (["--out", "x", "--jobs", "0"], "--jobs must be at least 1; got 0"),
        (["--out", "x", "--device", "mps"], "--device must be cuda, cuda:N or cpu; got 'mps'"),
        (["--out", "x", "--device", "cpu"], "add --smoke"),
        (["--out", "x", "--data-root", "no such folder"], "is not a folder"),
    ],
)
def test_wrong_arguments_are_named(arguments: list[str], message: str) -> None:
    done = _run(*arguments)
    assert done.returncode == 2
    assert message in done.stderr


def test_the_help_lists_the_stages_and_what_merging_needs() -> None:
    said = " ".join(_run("--help").stdout.split())
    for text in ("table3 420 s", "text-removal/test", "default: 9", "figures that need its runs are not drawn"):
        assert text in said


@pytest.fixture
def main(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., int]]:
    """The script's `main` in this process, given its arguments."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import gpu as script_main

    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    monkeypatch.setenv("LOGCOSH_VAE_DATA", "")
    monkeypatch.setenv("PYTHONPATH", "")

    def call(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["gpu.py", *arguments])
        return int(script_main.main())

    yield call
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--merge", "."], "holds no results.json: there is nothing to merge"),
        (["--out", "file/out", "--device", "cpu", "--smoke"], "Not a directory"),
        (["--out", "out", "--device", "cuda:99"], "device 'cuda:99' cannot be used"),
    ],
)
def test_what_cannot_be_used_is_named_in_one_line(
    main: Callable[..., int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    assert main(*arguments, *(["--runs", "runs"])) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("gpu.py: ")
    assert message in line


def test_stages_without_their_data_are_left_out_before_the_clock_starts(
    main: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").mkdir()
    where = ("--data-root", str(tmp_path / "data"), "--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "out"))
    assert main("--device", "cpu", "--smoke", "--stages", "table4,figure10", *where) == 1
    said = capsys.readouterr().out
    for name in ("table4", "figure10"):
        assert f"{name} is left out: " in said
        assert f"summary: {name}: not done" in said


def test_an_early_interrupt_is_one_line(
    main: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(_: str) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)

    monkeypatch.setattr("logcosh_vae.base.devices.find_device", interrupt)
    assert main("--out", str(tmp_path / "out"), "--runs", str(tmp_path / "runs")) == 130
    assert capsys.readouterr().err.count("\n") == 1


def test_networks_are_measured_on_whole_pictures(
    script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for part, count in (("train", 12), ("test", 2)):
        folder = tmp_path / "data" / "text-removal" / part
        folder.mkdir(parents=True)
        for number in range(count):
            pixels = torch.randint(256, (96, 96, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(number))
            Image.fromarray(pixels.numpy()).save(folder / f"{number}.png")
    monkeypatch.setenv("LOGCOSH_VAE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("LOGCOSH_VAE_CACHE", str(tmp_path / "cache"))
    small = {"widths": [8, 8], "blocks": 1, "tile_size": 64, "crop_size": 32}
    folder = _restoration_folder(tmp_path / "out", script, ("l2",))
    results = _read(folder / "results.json")
    results["figure10-excerpt"]["rows"][0]["config"] |= small
    (folder / "results.json").write_text(json.dumps(results), encoding="utf-8")
    weights = {key: value.half() for key, value in RestorationNetwork((8, 8), 1).state_dict().items()}
    save_file(weights, script.restoration.weights_path(folder, "figure10-excerpt", "l2"))
    repository = _repository(tmp_path / "repository")
    assert script.merge.merge(folder, repository) == 0
    merged = read_results(repository / "results" / "figure10-excerpt.json")
    assert merged.pictures == ("0.png", "1.png")
    assert merged.rows[0].more["accelerator"] == "card"
    assert "measuring 2 pictures" in capsys.readouterr().out
