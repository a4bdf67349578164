"""`compare` and `reproduce` from the command to the report, on real images."""

import contextlib
import html.parser
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from logcosh_vae.base.errors import DataError, RunError
from logcosh_vae.data import text_removal
from logcosh_vae.paper.figures import A_VALUES
from logcosh_vae.paper.registry import ALL, EXPERIMENTS
from logcosh_vae.paper.restoration import A_VALUES as RESTORATION_A_VALUES
from logcosh_vae.restoration.corruptions import CORRUPTIONS
from logcosh_vae.training.run_folder import RunFolder


def run(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "logcosh_vae", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=cwd)


class _Page(html.parser.HTMLParser):
    """Collects every address that a page loads or links to, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.mark.slow
def test_table1_from_the_command_to_the_report(tmp_path: Path, data_root: Path) -> None:
    models = ("--model", "vae-mlp", "--model", "wae-mlp")
    arguments = ("reproduce", "table1", "--profile", "smoke", "--seeds", 2, *models, "--data-root", data_root)
    first = run(*arguments, cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    path = tmp_path / "results" / "table1-smoke.json"
    results = json.loads(path.read_text())
    assert [(r["model"], r["loss"]) for r in results["rows"]] == [
        (model, loss) for model in ("vae-mlp", "wae-mlp") for loss in ("l2", "log-cosh", "l1")
    ]
    for row in results["rows"]:
        assert row["seeds"] == [0, 1]
        for values in row["metrics"].values():
            assert len(values["values"]) == 2
            assert values["std"] > 0
        assert set(row["reported"]) == set(row["metrics"])
    assert results["features"]["test_accuracy"] >= 0.994
    assert results["runs"] == {"total": 12, "reused": 0}

    page = _Page()
    page.feed((tmp_path / "runs" / "table1-smoke.html").read_text())
    assert len(page.addresses) == 2 * (3 * 3 + 1) + 3  # pictures, curves, and KL divergences of the VAEs
    assert all(address.startswith("data:") for address in page.addresses)
    assert "VAE (MLP)" in page.words

    # table 3 has the same rows, so nothing is trained again; results with fewer seeds do not replace those with more
    third = run("reproduce", "table3", *arguments[2:], cwd=tmp_path)
    assert third.returncode == 0, third.stderr
    again = json.loads((tmp_path / "results" / "table3-smoke.json").read_text())
    assert again["runs"] == {"total": 12, "reused": 12}
    assert [row["metrics"] for row in again["rows"]] == [row["metrics"] for row in results["rows"]]
    fewer = run(*arguments[:4], *models, "--data-root", data_root, cwd=tmp_path)
    assert (fewer.returncode, "more seeds" in fewer.stderr) == (2, True)

    # a second seed that is trained later, without the run of the first, makes the same results
    one = ("reproduce", "table1", "--profile", "smoke", "--model", "wae-mlp", "--results", "later")
    assert run(*one, "--data-root", data_root, cwd=tmp_path).returncode == 0
    more = (*one, "--seeds", 2, "--runs", "elsewhere", "--extend", "--data-root", data_root)
    later = run(*more, cwd=tmp_path)
    assert later.returncode == 0, later.stderr
    extended = json.loads((tmp_path / "later" / "table1-smoke.json").read_text())
    assert extended["runs"] == {"total": 6, "reused": 3}
    for row, known in zip(extended["rows"], results["rows"][3:], strict=True):
        assert (row["metrics"], row["test"], row["runs"]) == (known["metrics"], known["test"], known["runs"])
    assert len(list((tmp_path / "elsewhere").glob("*wae*"))) == 3
    assert "Samples: the same latent codes" in (tmp_path / "elsewhere" / "table1-smoke.html").read_text()
    enough = run(*more, cwd=tmp_path)
    assert (enough.returncode, "holds 2 seeds already" in enough.stderr) == (2, True)


@pytest.mark.slow
def test_all_experiments_of_the_paper_run_on_real_images(tmp_path: Path, celeba_root: Path) -> None:
    try:
        text_removal("test", celeba_root)
    except DataError as error:
        pytest.skip(str(error))
    result = run("reproduce", "all", "--profile", "smoke", "--data-root", celeba_root, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    trained = set()
    for name in ALL:
        results = json.loads((tmp_path / "results" / f"{name}-smoke.json").read_text())
        trained |= {run for row in results["rows"] for run in row["runs"]}
        assert results["rows"] or name == "figure1"
        for row in results["rows"]:
            assert all(math.isfinite(value["mean"]) for value in row["metrics"].values())
        if EXPERIMENTS[name].draw:
            with Image.open(tmp_path / "runs" / f"{name}-smoke.png") as picture:
                assert len(set(picture.convert("L").resize((99, 99)).tobytes())) > 20, f"{name} is empty"
    # shared runs are trained once: 12 + 6 rows of the tables, 14 further curvatures, 3 of restoration
    runs = [path for path in (tmp_path / "runs").iterdir() if path.is_dir() and not path.name.startswith("features")]
    assert {path.name for path in runs} == trained
    assert len(trained) == 12 + 6 + 2 * (len(A_VALUES) - 1) + 3
    page = _Page()
    page.feed((tmp_path / "runs" / "all-smoke.html").read_text())
    assert {f"#{name}" for name in ALL} <= set(page.addresses)
    assert all(address.startswith(("data:", "#")) for address in page.addresses)
    markdown = (tmp_path / "runs" / "all-smoke.md").read_text()
    assert markdown.count("\n## ") == len(ALL)
    assert markdown.count("**") == 2 * (
        3 * 2 * 18 + 2 * 3
    )  # three metrics in two tables of each pair, two in figure 10
    assert {f"{name}-smoke.png" for name in ALL if EXPERIMENTS[name].draw} == set(re.findall(r"\]\((.+?)\)", markdown))
    assert "Trained on 1,000 of the 162,770 training images" in markdown
    assert "(c) log-cosh: FID from" in markdown
    assert "(c) log-cosh: FID from" in result.stdout
    # how much so short a training restores differs between processors; what is said of it must not
    assert re.search(r"Text removal: (no network raises the SSIM|.+ on \d+ of \d+ images)", result.stdout)


@pytest.mark.slow
def test_restoration_experiments_train_and_evaluate_every_task(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name, count in (("train", 12), ("test", 2)):
        folder = tmp_path / "text-removal" / name / "drawn"
        folder.mkdir(parents=True)
        for index in range(count):
            coarse = Image.fromarray(rng.integers(0, 256, (9, 12, 3)).astype(np.uint8))
            coarse.resize((160, 120), Image.Resampling.BICUBIC).save(folder / f"{index}.png")
    for name, seeds in (("restoration", 1), ("restoration-steps", 1), ("restoration-a", 2)):
        arguments = ("reproduce", name, "--profile", "smoke", "--seeds", seeds, "--data-root", tmp_path, "--jobs", 2)
        result = run(*arguments, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        results = json.loads((tmp_path / "results" / f"{name}-smoke.json").read_text())
        assert {row["task"] for row in results["rows"]} == (set(CORRUPTIONS) if name == "restoration" else {"text"})
        for row in results["rows"]:
            pictures = np.array(row["pictures"]["ssim"])
            assert pictures.shape == (seeds, 2)
            assert row["metrics"]["ssim"]["values"] == pytest.approx(pictures.mean(axis=1))
            assert row["validation"]["ssim"]
        page = _Page()
        page.feed((tmp_path / "runs" / f"{name}-smoke.html").read_text())
        assert len(page.addresses) == 1
    assert "the SSIM of log-cosh is largest at a = " in result.stdout
    assert all(f"log-cosh, a = {a:g}" in page.words for a in RESTORATION_A_VALUES)


def test_resumed_comparison_reuses_runs_and_gives_the_same_metrics(tmp_path: Path, data_root: Path) -> None:
    arguments = ["compare", "--out", "c", "--loss", "l2", "--loss", "log-cosh", "--epochs", "1"]
    arguments += ["--set", "data.limit=2000", "--set", "model.hidden=[32]", "--data-root", str(data_root)]
    assert run(*arguments, cwd=tmp_path).returncode == 0
    first = json.loads((tmp_path / "c" / "results.json").read_text())
    again = run(*arguments, "--resume", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert "report: c/report.html" in again.stdout
    second = json.loads((tmp_path / "c" / "results.json").read_text())
    assert second["runs"] == {"total": 2, "reused": 2}
    assert [row["metrics"] for row in second["rows"]] == [row["metrics"] for row in first["rows"]]


def test_comparison_of_fixed_and_learned_likelihoods(tmp_path: Path, data_root: Path) -> None:
    arguments = ["compare", "--out", "c", "--loss", "log-cosh", "--loss", "auto", "--epochs", "1"]
    arguments += ["--set", "data.limit=1000", "--set", "model.hidden=[32]", "--data-root", str(data_root)]
    result = run(*arguments, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    results = json.loads((tmp_path / "c" / "results.json").read_text())
    assert [row["config"]["objective"]["likelihood"] for row in results["rows"]] == [None, "scale+shape"]
    for row in results["rows"]:
        assert {"fid", "fid_mixture", "fid_codes", "fid_reconstructed"} <= set(row["metrics"])
        assert (tmp_path / "c" / "runs" / row["runs"][0] / "samples-mixture.png").is_file()

    # two labels in every table, caption and sentence
    label = "log-cosh, learned scale and shape"
    page = _Page()
    page.feed((tmp_path / "c" / "report.html").read_text())
    text = (tmp_path / "c" / "report.md").read_text()
    captions = [page.words.count(name) for name in ("log-cosh, a = 100", label)]
    assert captions == [5, 5]  # the table and four pictures, of which one shows samples of the mixture
    assert {"FID, prior", "FID, fitted mixture"} <= set(page.words)
    assert f"| VAE (MLP) | {label} |" in text
    console = " ".join(result.stdout.split())
    assert f"{label} against a = 100, weight 1: FID, prior" in console
    assert "VAE (MLP) log-cosh, learned scale" in console

    # what was learned, in the paper's terms, per run
    scale, shape = (results["rows"][1]["density"][name]["mean"] for name in ("scale", "shape"))
    assert f"| VAE (MLP), {label} | 0 | {scale:.3g} | {shape:.3g} | {1 / scale:.3g} | {shape / scale:.3g} |" in text
    assert f"s = {scale:.3g} and k = {shape:.3g}, in the paper's terms a = {1 / scale:.3g}" in console
    assert f"{1 / scale:.3g}" in page.words
    active = [row["density"]["active_units"]["mean"] for row in results["rows"]]
    bars = [found[1] for word in page.words if (found := re.search(r": (\d) of 8 active, [\d.]+ nats", word))]
    assert bars == [f"{count:.0f}" for count in active]

    again = run(*arguments, "--resume", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert json.loads((tmp_path / "c" / "results.json").read_text())["runs"] == {"total": 2, "reused": 2}


@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGINT])
def test_stopped_comparison_leaves_no_process_and_can_be_resumed(
    kind: signal.Signals, tmp_path: Path, data_root: Path
) -> None:
    arguments = ["compare", "--out", "c", "--loss", "l2", "--loss", "l1", "--epochs", "8"]
    arguments += ["--set", "data.limit=20000", "--set", "model.hidden=[32]", "--data-root", str(data_root)]
    command = [sys.executable, "-m", "logcosh_vae", *arguments]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, start_new_session=True)
    while len(list(tmp_path.glob("c/runs/*/metrics.jsonl"))) < 2 and process.poll() is None:
        time.sleep(0.02)
    if kind == signal.SIGINT:  # to the whole process group, as a terminal does
        os.killpg(process.pid, kind)
    else:
        process.kill()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == (130 if kind == signal.SIGINT else -9)
    assert b"Traceback" not in errors
    folders = [RunFolder(path) for path in (tmp_path / "c" / "runs").iterdir()]
    deadline = time.monotonic() + 20
    for folder in folders:
        while True:  # a surviving worker would hold its lock until its training ends
            with contextlib.suppress(RunError), folder.lock():
                break
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert not folder.weights_path.exists()
    again = run(*arguments, "--resume", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert all(folder.weights_path.is_file() and not list(folder.path.rglob(".tmp-*")) for folder in folders)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="needs a Linux scheduler")
def test_failing_run_ends_the_others_with_one_line(tmp_path: Path, data_root: Path) -> None:
    arguments = ["compare", "--out", "c", "--loss", "l2", "--loss", "log-cosh", "--loss", "l1", "--jobs", "2"]
    arguments += ["--epochs", "1", "--set", "data.limit=1000", "--set", "optimizer.learning_rate=1e30"]
    result = run(*arguments, "--data-root", data_root, cwd=tmp_path)
    lines = result.stderr.splitlines()
    errors = [line for line in lines if " runs done" not in line and not line.startswith("note: ")]
    assert (result.returncode, len(errors)) == (1, 1), result.stderr
    assert "lower the learning rate" in errors[0]


def test_metrics_do_not_depend_on_the_number_of_jobs(tmp_path: Path, data_root: Path) -> None:
    base = ["compare", "--loss", "l2", "--loss", "l1", "--epochs", "1", "--data-root", str(data_root)]
    base += ["--set", "data.limit=1000", "--set", "model.hidden=[16]"]
    metrics = []
    for jobs in ("1", "2"):
        result = run(*base, "--jobs", jobs, "--out", f"j{jobs}", cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        rows = json.loads((tmp_path / f"j{jobs}" / "results.json").read_text())["rows"]
        metrics.append([row["metrics"] for row in rows])
    assert metrics[0] == metrics[1]


def _table(tmp_path: Path, name: str, *arguments: str | Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "logcosh_vae", "reproduce", "table1", "--profile", "smoke", "--model", "vae-mlp"]
    command += ["--runs", str(tmp_path / name), "--results", str(tmp_path / name), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path)


def _metrics(process: subprocess.Popen[str], path: Path) -> list[dict[str, object]]:
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return [row["metrics"] for row in json.loads((path / "table1-smoke.json").read_text())["rows"]]


def _children(pid: int) -> list[int]:
    import psutil

    return [child.pid for child in psutil.Process(pid).children() if "spawn_main" in " ".join(child.cmdline())]


@pytest.mark.slow
def test_runs_survive_a_killed_worker_and_a_cluster_gives_the_same_metrics(tmp_path: Path, data_root: Path) -> None:
    distributed = pytest.importorskip("distributed")
    local = _table(tmp_path, "local", "--data-root", data_root)
    while not (workers := _children(local.pid)) and local.poll() is None:
        time.sleep(0.01)
    os.kill(workers[0], signal.SIGKILL)
    expected = _metrics(local, tmp_path / "local")
    cluster = distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None)
    try:
        remote = _table(tmp_path, "remote", "--data-root", data_root, "--scheduler", cluster.scheduler_address)
        while not list(tmp_path.glob("remote/*/config.json")) and remote.poll() is None:
            time.sleep(0.01)
        os.kill(next(iter(cluster.workers.values())).process.pid, signal.SIGKILL)
        assert _metrics(remote, tmp_path / "remote") == expected
    finally:
        cluster.close()
    absent = _table(tmp_path, "absent", "--data-root", data_root, "--scheduler", "tcp://127.0.0.1:9")
    _, errors = absent.communicate(timeout=120)
    assert (absent.returncode, "no Dask scheduler answers" in errors.splitlines()[-1]) == (1, True)
