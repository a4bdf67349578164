"""The images of a training step: they depend on the seed alone, however many threads prepare them."""

import threading
from dataclasses import replace

import pytest
import torch

from logcosh_vae.restoration.config import RestorationConfig, resolve_restoration
from logcosh_vae.restoration.corruptions import CORRUPTIONS, TRAINED_AS
from logcosh_vae.restoration.examples import (
    MOST_WORKERS,
    Examples,
    corrupted_pixels,
    draw_hints,
    epoch_examples,
    make_examples,
    worker_count,
)
from logcosh_vae.restoration.step import near_weights
from logcosh_vae.training.loop import make_generator

TILES = torch.randint(0, 256, (6, 3, 40, 40), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
CONFIG = resolve_restoration(
    RestorationConfig("", "text", crop_size=32, tile_size=40, batch_size=3, targets=2, steps=20, bfloat16=False)
)


def tensors(examples: Examples) -> list[torch.Tensor]:
    found = [examples.source, *examples.targets, examples.corrupted, examples.hint]
    return [each for each in found if each is not None]


def epoch(workers: int, number: int = 1) -> list[Examples]:
    generator = make_generator(0, "shuffle", number)
    return list(epoch_examples(TILES, CORRUPTIONS["text"], CONFIG, generator, workers))


@pytest.mark.parametrize("workers", [1, 5, 30])
def test_threads_prepare_the_same_steps_in_the_same_order(workers: int) -> None:
    alone, together = epoch(0), epoch(workers)
    assert len(alone) == len(together) == CONFIG.steps
    for one, other in zip(alone, together, strict=True):
        assert all(map(torch.equal, tensors(one), tensors(other)))


def test_steps_and_epochs_differ() -> None:
    sources = [examples.source for number in (1, 2) for examples in epoch(0, number)]
    assert not any(torch.equal(a, b) for i, a in enumerate(sources) for b in sources[:i])


def test_targets_are_other_copies_of_the_same_crops() -> None:
    examples = make_examples(TILES, CORRUPTIONS["text"], CONFIG, 0)
    copies = torch.stack([examples.source, *examples.targets])
    assert examples.corrupted is None
    agree = (copies[0] == copies[1]).all(dim=1)
    assert 0.1 < float(agree.float().mean()) < 1  # where neither has text
    assert not torch.equal(copies[1], copies[2])


def test_the_mask_is_where_the_source_differs_from_the_clean_image() -> None:
    config = resolve_restoration(replace(CONFIG, clean_targets=True, mask=True))
    examples = make_examples(TILES, TRAINED_AS["text"], config, 1)
    (clean,) = examples.targets
    assert examples.corrupted is not None
    changed = ((examples.source - clean).abs() > 2.5 / 255).any(dim=1, keepdim=True)
    assert torch.equal(changed, examples.corrupted.bool())


def test_hints_mark_corrupted_pixels_with_gaps_and_few_mistakes() -> None:
    clean = torch.full((400, 3, 48, 48), 0.5)
    source = clean.clone()
    for index in range(400):
        source[index, :, index % 7 + 5 : index % 7 + 15, 8:40] = 1.0
    complete = corrupted_pixels(source, clean)
    hints = draw_hints(source, clean, make_generator(0, "hints"))
    marked, total = (each.flatten(1).sum(dim=1) for each in (hints * complete, complete))
    assert 0.3 < float((hints.flatten(1).sum(dim=1) == 0).float().mean()) < 0.45, "a third has no hint"
    assert 0.35 < float((marked == total).float().mean()) < 0.65, "two fifths are complete"
    assert 0.08 < float(((marked > 0) & (marked < total)).float().mean()) < 0.3, "the others have gaps"
    near = torch.nn.functional.max_pool2d(complete, 5, 1, 2)
    mistaken = ((hints > near).flatten(1).sum(dim=1) > 0).float().mean()
    assert 0.02 < float(mistaken) < 0.12
    assert torch.equal(hints, draw_hints(source, clean, make_generator(0, "hints")))


def test_pixels_far_from_text_weigh_less_and_the_mean_is_one() -> None:
    corrupted = torch.zeros(2, 1, 20, 20)
    corrupted[0, 0, 10, 10] = 1.0
    weights = near_weights(corrupted)
    assert weights.mean() == pytest.approx(1.0)
    near = weights == weights.max()
    assert near.nonzero().amin(dim=0).tolist() == [0, 0, 7, 7]
    assert near.nonzero().amax(dim=0).tolist() == [0, 0, 13, 13]
    assert float(weights.min() / weights.max()) == pytest.approx(0.2)
    assert near_weights(torch.ones(1, 1, 4, 4)).tolist() == torch.ones(1, 1, 4, 4).tolist()


def test_an_error_in_a_thread_is_raised_and_the_threads_end(monkeypatch: pytest.MonkeyPatch) -> None:
    corruption, calls = CORRUPTIONS["denoise"], []

    def failing(*_: object) -> object:
        calls.append(0)
        if len(calls) > 4:
            raise OSError("the file was truncated")
        return corruption.__class__.pair(corruption, *_)  # type: ignore[arg-type]

    monkeypatch.setattr(corruption, "pair", failing, raising=False)
    config = replace(CONFIG, task="denoise")
    with pytest.raises(OSError, match="truncated"):
        list(epoch_examples(TILES, corruption, config, make_generator(0, "x"), 3))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("examples")]


def test_threads_end_when_an_epoch_is_left() -> None:
    steps = epoch_examples(TILES, CORRUPTIONS["text"], CONFIG, make_generator(0, "x"), 3)
    next(steps)
    steps.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("examples")]


def test_only_a_gpu_has_threads_that_prepare_its_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("os.sched_getaffinity", raising=False)  # as on macOS and Windows
    for cores, workers in ((1, 1), (6, 4), (100, MOST_WORKERS)):
        monkeypatch.setattr("os.cpu_count", lambda cores=cores: cores)
        assert worker_count(torch.device("cuda")) == workers
    assert worker_count(torch.device("cpu")) == 0
