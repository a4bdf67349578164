"""Damaged and hostile image files, prepared as part of a set and restored."""

from __future__ import annotations

import os
import random
import re
import shutil
from functools import partial
from pathlib import Path

from PIL import Image

from logcosh_vae.base.errors import UserError
from logcosh_vae.data import load_images, load_tiles
from logcosh_vae.restoration.network import RestorationNetwork
from logcosh_vae.restoration.picture_files import plan_outputs, restore_files
from logcosh_vae.restoration.pipeline import restore_picture

from .attack import Attack, FailedError, Trial, check_message, check_outcome
from .corpus import bomb, make_corpus, mutated
from .inputs import environment, smooth_image
from .process import Run

BOMBS = 0.004
"""Fraction of the trials with a bomb; each takes about a second."""

COMMANDS = 0.01
"""Fraction of the trials that also run the commands, for what is printed."""

BOX = (0, 0, 1, 1)
"""Restoring only this part, in pixels, changes next to nothing and takes little time."""


def prepare(folder: Path) -> Trial:
    """Make the corpus and a small network."""
    corpus = make_corpus()
    good = folder / "good"
    for index in range(4):
        good.mkdir(parents=True, exist_ok=True)
        Image.fromarray(smooth_image(index, 8, 8)).save(good / f"good{index}.png")
    network = RestorationNetwork((4, 4), 1).eval()

    def trial(draw: random.Random, place: Path) -> str:
        sample = bomb(draw) if draw.random() < BOMBS else mutated(corpus, draw)
        path = place / "set" / f"x.{sample.suffix}"
        shutil.copytree(good, path.parent)
        path.write_bytes(sample.content)
        os.environ["LOGCOSH_VAE_CACHE"] = str(place / "cache")
        try:
            check_set(path, draw)
            _restore(network, path, draw)
            if draw.random() < COMMANDS:
                _run_commands(path)
        except FailedError as error:
            raise FailedError(f"{sample.name}: {error}") from None
        except Exception as error:
            error.add_note(sample.name)
            raise
        return sample.name

    return trial


def check_set(path: Path, draw: random.Random) -> None:
    """Prepare the set; every file has to be used or named."""
    try:
        if draw.random() < 0.2:
            load_tiles(path.parent, "train", tile_size=16)
            return
        used = [
            load_images(str(path.parent), split, size=(8, 8), channels=draw.choice([1, 3]))
            for split in ("train", "test")
        ]
    except UserError as error:
        check_message(str(error))
        if "good" in str(error):
            raise FailedError(f"an undamaged file is blamed: {error}") from None
        return
    left_out = used[0].left_out
    for _, reason in left_out:
        check_message(reason)
    files = len(list(path.parent.iterdir()))
    if sum(len(images.images) for images in used) + len(left_out) != files:
        raise FailedError(f"of {files} files {sum(len(i.images) for i in used)} are used and {len(left_out)} are named")


def _restore(network: RestorationNetwork, path: Path, draw: random.Random) -> None:
    """Restore the file; the result has to be readable and to have the size of the picture as it is shown."""
    target = path.parent.parent / f"restored.{draw.choice([path.suffix[1:], 'png', 'jpg', 'webp', 'tif'])}"
    method = partial(restore_picture, network, boxes=[BOX])
    try:
        for result in restore_files(plan_outputs([path], target), method):
            for note in result.notes:
                check_message(note)
            if result.error is not None:
                check_message(str(result.error))
                if result.target.exists():
                    raise FailedError(f"an error, and yet a result: {result.error}")
                return
            with Image.open(result.target) as restored:
                restored.load()
    except UserError as error:
        check_message(str(error))
    leftovers = [file.name for file in target.parent.iterdir() if file.name.startswith(".")]
    if leftovers:
        raise FailedError(f"{leftovers[0]} stays behind")


def _run_commands(path: Path) -> None:
    """Run the commands on the file; nothing but messages of the program may be printed."""
    place = path.parent.parent
    for arguments in (
        ["data", "info", "set", "--size", "8", "--out", "sheet.png"],
        ["restore", f"set/{path.name}", "-o", "command.png", "--box", ",".join(map(str, BOX))],
    ):
        outcome = Run(arguments, place, environment(place), seconds=30.0).outcome()
        check_outcome(outcome)
        if not re.search(re.escape(path.name), outcome.errors) and outcome.code != 0:
            raise FailedError(f"the message does not name the file: {outcome.errors.strip()[-200:]}")


ATTACK = Attack(
    "images",
    "damaged and hostile image files, prepared in a set and restored",
    20_000,
    60.0,
    0.2,
    prepare,
    "the file is used, or named with a reason in one line",
)
