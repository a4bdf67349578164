"""The page as a file: self-contained, marked, small enough, and safe for any name."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.explorer.models import explorer_run, random_model

from logcosh_vae import WAE
from logcosh_vae.base.errors import ConfigError, DataError, UsageError
from logcosh_vae.base.own_outputs import own_output_in
from logcosh_vae.base.settings import override
from logcosh_vae.cli.explore import explore
from logcosh_vae.explorer import runs as explorer_runs
from logcosh_vae.explorer.layers import ExportError
from logcosh_vae.explorer.page import SCRIPTS, WEB, build
from logcosh_vae.explorer.runs import ShownImages, affordable_count, distinct, networks_of, read_run
from logcosh_vae.models.density import CodeDensity
from logcosh_vae.training.autoencoder import config_of, train
from logcosh_vae.training.config import ModelConfig, ObjectiveConfig, TrainConfig
from logcosh_vae.training.model_names import find_model
from logcosh_vae.training.run_folder import RunFolder

NOTHING = ShownImages(torch.empty(0, 1, 28, 28, dtype=torch.uint8), None, "mnist")


def data_of(page: Path) -> dict[str, Any]:
    """The data that a page holds."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text(encoding="utf-8"))
    assert found
    data: dict[str, Any] = json.loads(found[1])
    return data


def test_the_page_needs_no_other_file_and_is_marked(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>")
    assert own_output_in(page) == "explorer-page"
    assert not re.search(r"(src|href)=\"(?!data:)|https?://|@import|url\(", text)
    assert "default-src 'none'" in text
    assert text.count("<script") == text.count("</script>") == 2


def test_every_script_is_on_the_page(page: Path) -> None:
    assert sorted(SCRIPTS) == sorted(path.name for path in WEB.glob("*.js"))
    text = page.read_text(encoding="utf-8")
    for name in SCRIPTS:
        assert (WEB / name).read_text(encoding="utf-8") in text


@pytest.mark.parametrize("scale", [1e30, 1e38, math.inf])
def test_a_model_with_overflowing_activations_is_shown_as_it_computes_or_refused(scale: float, tmp_path: Path) -> None:
    run = explorer_run("mlp")
    layers = [replace(layer, weight=layer.weight * scale) for layer in run.networks.decoder]
    large = replace(run, networks=replace(run.networks, decoder=tuple(layers)))
    try:
        page = build([large], NOTHING, tmp_path / "page.html")
    except ExportError as error:
        assert "not finite" in str(error)  # noqa: PT017
        assert not list(tmp_path.iterdir())
    else:
        assert 0 <= page.difference <= 1


def test_names_are_text_and_never_markup(tmp_path: Path) -> None:
    name = "</script><script>alert(1)</script>\x1b\n\udcff"
    run = replace(explorer_run("mlp"), label=name, detail=name, data=f"/{name.replace('/', '')}")
    page = build([run], replace(NOTHING, data=run.data), tmp_path / "page.html").path
    text = page.read_text(encoding="utf-8")
    assert "alert(1)</script>" not in text
    assert "<title>Latent space of &lt;script&gt;" in text
    assert data_of(page)["runs"][0]["label"] == r"</script><script>alert(1)</script>\x1b\n\xff"


def test_a_page_that_is_too_large_is_refused_with_its_size(tmp_path: Path) -> None:
    run = explorer_run("mlp")
    with pytest.raises(
        ConfigError, match=r"a page with 1 run would take 0\.\d MB, more than the limit of 0\.15 MB; train"
    ):
        build([run], NOTHING, tmp_path / "page.html", limit_mb=0.15)
    with pytest.raises(ConfigError, match=r"a page with 2 runs would take about 0\.4 MB.*explore fewer runs.*--max-mb"):
        build([run, run], NOTHING, tmp_path / "page.html", limit_mb=0.01)
    assert not list(tmp_path.iterdir())


def test_test_images_that_are_too_large_are_refused(tmp_path: Path) -> None:
    images = torch.randint(0, 256, (200, 1, 28, 28), dtype=torch.uint8)
    with pytest.raises(ConfigError, match=r"the test images take 0\.2 MB of a page.*put fewer on it with --images"):
        build([explorer_run("mlp")], ShownImages(images, None, "mnist"), tmp_path / "page.html", limit_mb=0.3)


def test_fewer_images_are_measured_where_they_are_large() -> None:
    assert affordable_count((1, 28, 28), 500) == 500
    assert affordable_count((3, 256, 256), 500) == 170
    assert affordable_count((3, 4000, 4000), 500) == 32


def test_weights_are_rounded_more_coarsely_to_fit(tmp_path: Path) -> None:
    run = explorer_run("mlp")
    fine = build([run], NOTHING, tmp_path / "fine.html")
    limit = (fine.size - 1000) / 1e6
    coarse = build([run], NOTHING, tmp_path / "coarse.html", limit_mb=limit)
    assert coarse.size < fine.size
    assert fine.difference < coarse.difference < 1e-3


def test_runs_with_images_of_different_shapes_are_refused(tmp_path: Path) -> None:
    runs = [explorer_run("mlp"), explorer_run("mlp", (3, 28, 28))]
    with pytest.raises(ExportError, match=r"different shapes, \(1, 28, 28\) and \(3, 28, 28\): make one page for each"):
        build(runs, NOTHING, tmp_path / "page.html")


def test_the_page_says_that_celeba_must_not_be_published(tmp_path: Path) -> None:
    run = replace(explorer_run("mlp", (3, 16, 16)), data="celeba")
    images = torch.zeros(2, 3, 16, 16, dtype=torch.uint8)
    with_images = build([run], ShownImages(images, None, "celeba"), tmp_path / "with.html").path
    assert "do not allow publishing its images: keep this page to yourself" in data_of(with_images)["notice"]
    without = build([run], ShownImages(images[:0], None, "celeba"), tmp_path / "without.html").path
    assert data_of(without)["notice"] == "This page contains no images of a data set."


def test_a_density_is_on_the_page(tmp_path: Path) -> None:
    density = CodeDensity(torch.tensor([0.25, 0.75]), torch.randn(2, 8), torch.eye(8).repeat(2, 1, 1))
    run = replace(explorer_run("mlp"), prior="mixture", density=density)
    written = data_of(build([run], NOTHING, tmp_path / "page.html").path)["runs"][0]["density"]
    assert (written["name"], written["components"]) == ("mixture", 2)


def test_equal_labels_get_what_differs_or_the_names_of_the_folders() -> None:
    details = ("VAE, 3 epochs, seed 0", "VAE, 3 epochs, seed 0", "VAE, 12 epochs, seed 1", "VAE, 3 epochs, seed 1")
    runs = [
        replace(explorer_run("mlp", label=label), detail=detail) for label, detail in zip("abab", details, strict=True)
    ]
    paths = [Path("runs/x"), Path("runs/y"), Path("runs/z"), Path("runs/" + 40 * "w")]
    labels = [run.label for run in distinct(runs, paths)]
    assert labels == ["a, 3 epochs, seed 0", "b, seed 0", "a, 12 epochs, seed 1", "b, seed 1"]
    same = [replace(run, label="a", detail=details[0]) for run in runs]
    assert [run.label for run in distinct(same, paths)] == ["a, x", "a, y", "a, z", f"a, {11 * 'w'}...{10 * 'w'}"]


def test_models_of_two_outputs_per_latent_variable_are_cut_to_the_means() -> None:
    model = random_model("conv", (3, 40, 24), 5)
    assert networks_of(model, (3, 40, 24)).encoder[-1].outputs == (5, 1, 1)


@pytest.fixture(scope="module")
def run_folder(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was trained for seconds."""
    config = TrainConfig(model=ModelConfig("wae", "mlp"), objective=ObjectiveConfig("log-cosh", 50.0), epochs=1)
    config = override(config, ["data.limit=300", "model.hidden=[24,16]"])
    return train(config, tmp_path_factory.mktemp("runs") / "run", root=data_root).path


def test_a_run_is_described_for_a_reader(run_folder: Path) -> None:
    run = read_run(run_folder)
    assert (run.label, run.detail) == ("log-cosh, a = 50", "WAE (MLP), MNIST, 1 epoch, seed 0")
    assert (run.latent_size, run.image_shape, run.density) == (8, (1, 28, 28), None)


def test_the_density_that_a_model_holds_is_taken_by_default() -> None:
    shipped = read_run(find_model("mnist-vae-learned"))
    assert shipped.prior == "mixture"
    assert shipped.density is not None
    assert read_run(find_model("mnist-vae-learned"), "standard").density is None


def test_models_of_the_package_fit_a_page_side_by_side(tmp_path: Path) -> None:
    runs = [read_run(find_model(name)) for name in ("mnist-vae-l2", "mnist-vae-log-cosh", "mnist-vae-learned")]
    page = build(runs, NOTHING, tmp_path / "page.html")
    assert page.size < 5e6
    assert page.difference < 1e-5
    needed = math.ceil(page.size / 1e5) / 10
    with pytest.raises(ConfigError, match=rf"a page with 3 runs would take {needed:g} MB, more than the limit of 2 MB"):
        build(runs, NOTHING, tmp_path / "page.html", limit_mb=2.0)


def test_a_model_that_was_changed_is_not_said_to_have_no_epochs(run_folder: Path, tmp_path: Path) -> None:
    model = WAE.from_pretrained(run_folder)
    with torch.no_grad():
        next(model.parameters()).add_(0.01)
    model.save_pretrained(tmp_path / "changed")
    assert read_run(tmp_path / "changed").detail == "WAE (MLP), MNIST, changed after training, seed 0"


def explored(runs: list[Path], out: Path, root: Path, **options: Any) -> None:
    defaults = {"images": 5, "prior": "standard", "max_mb": 5.0, "seed": 0, "overwrite": False}
    explore(runs, out, data_root=root, **{**defaults, **options})


def test_the_command_writes_a_page(
    run_folder: Path, data_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "page.html"
    explored([run_folder, run_folder], out, data_root, prior="gaussian")
    assert re.match(rf"page: {out}, 0\.\d+ MB; open it in a browser\nlargest difference", capsys.readouterr().out)
    data = data_of(out)
    assert data["images"]["count"] == 5
    assert sorted(data["images"]["labels"]) == data["images"]["labels"]
    assert [run["density"]["name"] for run in data["runs"]] == ["gaussian"] * 2
    assert len(set(data["runs"][0]["deviations"])) > 1
    with pytest.raises(UsageError, match="exists; add --overwrite"):
        explored([run_folder], out, data_root)
    explored([run_folder], out, data_root, overwrite=True, images=0)
    assert len(data_of(out)["runs"]) == 1


@pytest.mark.parametrize(("name", "message"), [("page.png", "end the name in .html"), (".", "is a folder")])
def test_other_targets_are_refused(name: str, message: str, run_folder: Path, data_root: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        explored([run_folder], tmp_path / name, data_root)


def test_without_the_data_set_a_page_without_test_images_is_possible(run_folder: Path, tmp_path: Path) -> None:
    config = json.loads((run_folder / "config.json").read_text(encoding="utf-8"))
    config["train"]["data"]["name"] = str(tmp_path / "gone")
    moved = tmp_path / "moved"
    moved.mkdir()
    (moved / "weights.safetensors").write_bytes((run_folder / "weights.safetensors").read_bytes())
    (moved / "metrics.jsonl").write_bytes((run_folder / "metrics.jsonl").read_bytes())
    (moved / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(DataError, match="add --images 0 for a page without test images"):
        explored([moved], tmp_path / "page.html", tmp_path)
    explored([moved], tmp_path / "page.html", tmp_path, images=0)
    assert data_of(tmp_path / "page.html")["images"]["count"] == 0


def test_a_run_on_other_channels_is_refused(run_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, _ = config_of(RunFolder(run_folder))
    monkeypatch.setattr(explorer_runs, "config_of", lambda _: (config, (4, 28, 28)))
    with pytest.raises(ExportError, match="images with 4 channels cannot be shown"):
        read_run(run_folder)
