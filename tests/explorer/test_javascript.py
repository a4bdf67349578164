"""The page's JavaScript without a browser: it computes what Python computes. Skipped where there is no node."""

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.explorer.models import explorer_run, random_model

from logcosh_vae.data.batches import to_unit
from logcosh_vae.explorer.layers import apply
from logcosh_vae.explorer.page import SCRIPTS, WEB, build
from logcosh_vae.explorer.runs import ExplorerRun, ShownImages, networks_of
from logcosh_vae.metrics.sharpness import sharpness
from logcosh_vae.models.density import CodeDensity
from logcosh_vae.training.precision import in_single_precision, reduced

NODE = shutil.which("node") or shutil.which("nodejs")
COMPUTING = SCRIPTS[: SCRIPTS.index("schedule.js")]
"""Scripts that need no browser."""

HARNESS = """
const input = JSON.parse(require("fs").readFileSync(0, "utf8"));
const html = input.page === null ? "" : require("fs").readFileSync(input.page, "utf8");
const data = html ? JSON.parse(html.match(/id="data">(.*?)<\\/script>/)[1]) : null;
const list = (values) => Array.from(values);
(async () => { const result = await (async () => { %s })(); console.log(JSON.stringify(result)); })();
"""

pytestmark = pytest.mark.skipif(NODE is None, reason="node is not installed")


def in_node(script: str, page: Path | None = None, **values: Any) -> Any:
    """What a script returns that uses the functions of the page, `data` of a page, and the values in `input`."""
    source = "".join((WEB / name).read_text(encoding="utf-8") for name in COMPUTING) + HARNESS % script
    given = json.dumps({"page": None if page is None else str(page), **values})
    done = subprocess.run(
        [str(NODE), "-e", f'"use strict";{source}'], input=given, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_have_no_syntax_errors(name: str) -> None:
    done = subprocess.run([str(NODE), "--check", WEB / name], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


ENGINES = {"WebAssembly": "", "JavaScript": "engine = plainEngine();"}
"""What chooses the engine of the networks."""


@pytest.fixture(params=list(ENGINES))
def choice(request: pytest.FixtureRequest) -> str:
    """A statement that chooses an engine."""
    return ENGINES[request.param]


def compare_networks(page: Path, runs: list[ExplorerRun], images: torch.Tensor, choice: str) -> None:
    codes = [torch.randn(6, run.latent_size) for run in runs]
    images = images.flatten(1)
    script = (
        choice
        + """
      const runs = await Promise.all(data.runs.map(readRun));
      const images = Float32Array.from(input.images.flat());
      return runs.map((each, i) => {
        const codes = Float32Array.from(input.codes[i].flat());
        const one = run(each.decoder, codes.slice(0, each.latent));
        return { encoded: list(run(each.encoder, images, input.images.length)),
                 decoded: list(run(each.decoder, codes, input.codes[i].length)), one: list(one) };
      });"""
    )
    results = in_node(script, page, images=images.tolist(), codes=[code.tolist() for code in codes])
    for run, code, result in zip(runs, codes, results, strict=True):
        decoded = apply(run.networks.decoder, code).flatten(1)
        assert (torch.tensor(result["decoded"]).reshape(decoded.shape) - decoded).abs().max() < 1e-3
        assert (torch.tensor(result["one"]) - decoded[0]).abs().max() < 1e-3
        encoded = apply(run.networks.encoder, images.reshape(-1, *run.image_shape))
        error = (torch.tensor(result["encoded"]).reshape(encoded.shape) - encoded).abs().max()
        assert error < 2e-3 * float(encoded.abs().max() + 1)


def test_networks_compute_what_python_computes(
    page: Path, runs: list[ExplorerRun], shown: ShownImages, choice: str
) -> None:
    compare_networks(page, runs, to_unit(shown.images[:4]), choice)


def test_weights_with_a_step_for_each_row_are_read_exactly(tmp_path: Path) -> None:
    model = random_model("mlp")
    model.load_state_dict(in_single_precision(reduced(model.state_dict(), "int8"), model))
    run = replace(explorer_run("mlp"), networks=networks_of(model, (1, 28, 28)))
    nothing = ShownImages(torch.empty(0, 1, 28, 28, dtype=torch.uint8), None, "mnist")
    page = build([run], nothing, tmp_path / "page.html")
    assert page.difference < 2e-5
    script = """
      const [{ numbers, encoder, decoder }] = data.runs;
      const read = await numberReader(numbers);
      return readLayers([...encoder, ...decoder], read).map((layer) => list(layer.weight));"""
    for found, layer in zip(in_node(script, page.path), run.networks.layers, strict=True):
        torch.testing.assert_close(torch.tensor(found), layer.weight.flatten(), rtol=2e-6, atol=0)


def test_webassembly_is_used() -> None:
    assert in_node("return simdEngine() !== null && engine.speed > 1;")


@pytest.mark.parametrize(("rows", "inner", "count"), [(8, 1, 4), (16, 7, 12), (40, 300, 8), (24, 9, 1)])
def test_a_product_is_that_of_matrices(rows: int, inner: int, count: int, choice: str) -> None:
    a, b = torch.randn(inner, rows), torch.randn(count, inner)
    script = """
      const memory = [input.a, input.b].map((values) => {
        const room = engine.room(values.length);
        engine.view(room).set(values);
        return room;
      });
      const out = engine.room(input.rows * input.count);
      engine.product(memory[0], input.rows, input.inner, memory[1], input.count, out);
      return list(engine.view(out));"""
    values = {"a": a.flatten().tolist(), "b": b.flatten().tolist(), "rows": rows, "inner": inner, "count": count}
    found = torch.tensor(in_node(choice + script, **values)).reshape(count, rows)
    torch.testing.assert_close(found, b @ a, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", [(3, 64, 64), (1, 17, 30)], ids=str)
def test_networks_of_other_shapes_do_too(shape: tuple[int, int, int], tmp_path: Path, choice: str) -> None:
    runs = [explorer_run("conv", shape), explorer_run("mlp", shape)]
    nothing = ShownImages(torch.empty(0, *shape, dtype=torch.uint8), None, "mnist")
    page = build(runs, nothing, tmp_path / "page.html").path
    compare_networks(page, runs, torch.rand(3, *shape), choice)


def test_test_images_are_read_exactly(page: Path, shown: ShownImages) -> None:
    read = in_node("return (await readImages(data.images, sizeOf(data.image))).map(list);", page)
    torch.testing.assert_close(torch.tensor(read), to_unit(shown.images).flatten(1), atol=1e-7, rtol=0)


@pytest.mark.parametrize("shape", [(1, 9, 12), (3, 8, 8)], ids=str)
def test_sharpness_is_that_of_the_metric(shape: tuple[int, int, int]) -> None:
    image = torch.rand(shape)
    found = in_node("return sharpness(input.image, input.shape);", image=image.flatten().tolist(), shape=shape)
    assert found == pytest.approx(float(sharpness(image[None])), rel=1e-5)


def test_random_codes_have_the_moments_of_the_density(tmp_path: Path) -> None:
    factors = torch.stack([torch.eye(8) * 0.5, torch.eye(8) * 0.1])
    factors[0, 3, 1] = 0.8
    density = CodeDensity(torch.tensor([0.25, 0.75]), torch.stack([torch.full((8,), 2.0), torch.zeros(8)]), factors)
    run = replace(explorer_run("mlp"), prior="mixture", density=density)
    nothing = ShownImages(torch.empty(0, 1, 28, 28, dtype=torch.uint8), None, "mnist")
    page = build([run], nothing, tmp_path / "page.html").path
    script = """
      const { density } = await readRun(data.runs[0]);
      const draw = (from) => { const g = generatorOf(5); return numbers(20000).map(() => list(drawCode(8, from, g))); };
      return [draw(null), draw(density)];"""
    normal, mixture = map(torch.tensor, in_node(script, page))
    assert normal.mean(0).abs().max() < 0.03
    torch.testing.assert_close(torch.cov(normal.T), torch.eye(8), atol=0.04, rtol=0)
    torch.testing.assert_close(mixture.mean(0), torch.full((8,), 0.5), atol=0.05, rtol=0)
    first = mixture[mixture.mean(1) > 1]
    assert len(first) / 20000 == pytest.approx(0.25, abs=0.02)
    torch.testing.assert_close(torch.cov(first.T), factors[0] @ factors[0].T, atol=0.06, rtol=0)


def test_a_digit_is_moved_to_its_centre_of_mass() -> None:
    image = torch.zeros(10, 12)
    image[0:2, 1:3] = 0.5
    moved = torch.tensor(in_node("return list(centred(input.image, [1, 10, 12]));", image=image.flatten().tolist()))
    expected = torch.zeros(10, 12)
    expected[4:6, 5:7] = 0.5
    assert torch.equal(moved.reshape(10, 12), expected)


def test_a_map_shows_its_variables_from_left_to_right_and_upwards() -> None:
    script = "return list(rowOfMap(Float32Array.of(7, 8, 9), { x: 2, y: 0 }, 3, 3, input.row));"
    assert in_node(script, row=0) == [2, 8, -2, 2, 8, 0, 2, 8, 2]
    assert in_node(script, row=2) == [-2, 8, -2, -2, 8, 0, -2, 8, 2]


def test_scripts_print_nothing_and_ask_for_nothing() -> None:
    for path in WEB.glob("*.js"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"console\.|fetch\(|XMLHttpRequest|innerHTML|eval\(|import ", text), path.name
