"""The Python interface: restoring pictures in memory and in files, and the example in the documentation."""

import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.restoration.networks import random_network

from logcosh_vae.base.errors import ConfigError, DataError, RegionError, RunError
from logcosh_vae.restoration.augmentation import FlipEnsemble
from logcosh_vae.restoration.blending import restore_changed
from logcosh_vae.restoration.picture_files import plan_outputs, restore_file, restore_files
from logcosh_vae.restoration.pipeline import check_options, load_network, restore_picture
from logcosh_vae.restoration.tiling import Progress, restore

DOCS = Path(__file__).resolve().parents[2] / "docs" / "restoration.md"
PICTURE = np.random.default_rng(0).integers(0, 256, (90, 130, 3)).astype(np.uint8)
NETWORK = random_network((6, 8), 1)


def test_sparse_tasks_keep_unchanged_pixels_and_the_other_tasks_restore_all() -> None:
    for task in ("text", "impulse"):
        np.testing.assert_array_equal(
            restore_picture(NETWORK, PICTURE, task=task), restore_changed(NETWORK, PICTURE, 1.0)
        )
    np.testing.assert_array_equal(restore_picture(NETWORK, PICTURE, task="denoise"), restore(NETWORK, PICTURE))
    half = restore_picture(NETWORK, PICTURE, scale=0.5)
    np.testing.assert_array_equal(half, restore_changed(NETWORK, PICTURE, 0.5))
    careful = restore_picture(NETWORK, PICTURE, task="deblur", careful=True)
    np.testing.assert_array_equal(careful, restore(FlipEnsemble(NETWORK), PICTURE))


@pytest.mark.parametrize(("task", "scale"), [("text", 1.0), ("text", 0.5), ("denoise", 1.0)])
def test_boxes_and_mask_change_the_union_only(task: str, scale: float) -> None:
    mask = np.zeros(PICTURE.shape[:2], bool)
    mask[70:80, 5:15] = True
    calls: list[tuple[int, int]] = []
    result = restore_picture(
        NETWORK,
        PICTURE,
        task=task,
        boxes=[(40, 20, 30, 10)],
        mask=mask,
        scale=scale,
        progress=lambda done, total: calls.append((done, total)),
    )
    assert calls == [(1, 1)]
    region = mask.copy()
    region[20:30, 40:70] = True
    np.testing.assert_array_equal(result[~region], PICTURE[~region])
    assert (result[mask] != PICTURE[mask]).any()
    assert (result[20:30, 40:70] != PICTURE[20:30, 40:70]).any()
    if scale == 1.0:
        whole = restore_picture(NETWORK, PICTURE, task=task)
        assert np.abs(result[region].astype(int) - whole[region]).max() <= 1


def test_unusable_options_are_rejected() -> None:
    for options, message in [
        ({"task": "debulr"}, "did you mean 'deblur'"),
        ({"task": "denoise", "scale": 0.5}, "scale can only be used for text"),
        ({"task": "demosaic", "careful": True}, "careful cannot be used for demosaic"),
        *[({"task": "text", "scale": scale}, "above 0 and at most 1") for scale in (0.0, 1.5, float("nan"))],
    ]:
        with pytest.raises(ConfigError, match=message):
            check_options(**options)  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match=message):
            restore_picture(NETWORK, PICTURE, **options)  # type: ignore[arg-type]
    for wrong in (PICTURE[..., 0], PICTURE / 255.0, PICTURE[..., :2]):
        with pytest.raises(ValueError, match=r"pixels must be \(H, W, 3\), uint8 or uint16"):
            restore_picture(NETWORK, wrong)
    with pytest.raises(RegionError, match="130x90"):
        restore_picture(NETWORK, PICTURE, boxes=[(500, 0, 5, 5)])


def test_networks_are_found_by_name_and_by_task() -> None:
    for model, task in ((None, None), (None, "text"), ("captions", None), (Path("text"), "text")):
        network, trained_for = load_network(model, task=task)
        assert (trained_for, network.training) == ("text", False)
    with pytest.raises(ConfigError, match="the network in captions is for text"):
        load_network("captions", task="denoise")
    with pytest.raises(RunError, match="no network for 'deblur' comes with the package"):
        load_network(task="deblur")


def test_files_are_restored_one_by_one_and_failures_are_reported(tmp_path: Path) -> None:
    (tmp_path / "in" / "more").mkdir(parents=True)
    Image.fromarray(PICTURE).save(tmp_path / "in" / "a.png")
    Image.fromarray(PICTURE).convert("L").save(tmp_path / "in" / "more" / "b.gif")
    (tmp_path / "in" / "c.png").write_bytes(b"not a picture")
    pairs = plan_outputs([tmp_path / "in"], tmp_path / "out")
    assert [target.relative_to(tmp_path / "out").as_posix() for _, target in pairs] == ["a.png", "c.png", "more/b.png"]
    method = partial(restore_picture, NETWORK, task="denoise")
    sources: list[str] = []

    def on_picture(source: Path) -> Progress:
        sources.append(source.name)
        return lambda _done, _total: None

    results = list(restore_files(pairs, method, progress=on_picture))
    assert sources == ["a.png", "c.png", "b.gif"]
    assert [result.error is None for result in results] == [True, False, True]
    assert "c.png is not a picture" in str(results[1].error)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out" / "a.png")), restore(NETWORK, PICTURE))
    with pytest.raises(ConfigError, match=r"a.png and 1 more already exist; pass --overwrite \(in Python"):
        plan_outputs([tmp_path / "in"], tmp_path / "out")
    assert len(plan_outputs([tmp_path / "in"], tmp_path / "out", overwrite=True)) == 3
    with pytest.raises(DataError, match="was created while"):
        restore_file(*pairs[0], method)
    with pytest.raises(DataError, match=r"a.png: no pixel of the picture \(130x90\)"):
        restore_file(*pairs[0], partial(method, boxes=[(500, 0, 5, 5)]), overwrite=True)


def test_results_are_planned_beside_their_pictures_by_default(tmp_path: Path) -> None:
    for name in ("a.jpg", "a-restored.jpg", "b.jp2"):
        (tmp_path / name).touch()
    with pytest.raises(ConfigError, match=r"a-restored\.jpg already exists"):
        plan_outputs([tmp_path])
    expected = [(tmp_path / "a.jpg", tmp_path / "a-restored.jpg"), (tmp_path / "b.jp2", tmp_path / "b-restored.png")]
    assert plan_outputs([tmp_path], overwrite=True) == expected
    with pytest.raises(ConfigError, match="would both be written to"):
        plan_outputs([tmp_path / "a.jpg", tmp_path / "a.jpg"], tmp_path / "new")


def test_python_example_of_the_documentation_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "holiday").mkdir()
    for name in ("photo.png", "holiday/beach.jpg"):
        Image.fromarray(PICTURE).resize((1000, 1200)).save(tmp_path / name)
    (example,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    exec(compile(example, str(DOCS), "exec"), {})
    results = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert results == {"photo.png", "clean.png", "holiday/beach.jpg", "cleaned/beach.jpg", "careful/beach.jpg"}
    before, after = (np.asarray(Image.open(tmp_path / name)) for name in ("photo.png", "clean.png"))
    outside = np.ones(before.shape[:2], bool)
    outside[900:980, 40:640] = False
    np.testing.assert_array_equal(after[outside], before[outside])
