"""The files that a newcomer of `tools/transcripts.py` owns: a script, a folder of images and a photograph.

The images are cut from the two photographs that scikit-learn brings, `china.jpg` and `flower.jpg` (CC BY).
"""

from __future__ import annotations

from importlib.resources import files
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

LOSS = """\
import torch
from logcosh_vae import LogCoshLoss

model = torch.nn.Sequential(torch.nn.Linear(784, 32), torch.nn.ReLU(), torch.nn.Linear(32, 784), torch.nn.Sigmoid())
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
x = torch.rand(100, 784)  # pixels in [0, 1]
loss_fn = LogCoshLoss(a=100.0, reduction="sum")  # was: torch.nn.MSELoss(reduction="sum")
for step in range(201):
    loss = loss_fn(model(x), x) / len(x)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 100 == 0:
        print(step, loss.item())
"""
CAPTION = "On holiday, spring 2019"
IMAGES = 600


def _photograph(name: str) -> Image.Image:
    return Image.open(BytesIO((files("sklearn.datasets") / "images" / name).read_bytes())).convert("RGB")


def write_files(home: Path) -> None:
    """Write `loss.py`, the folder `pictures` and `photo.jpg` with a caption."""
    (home / "loss.py").write_text(LOSS, encoding="utf-8")
    folder = home / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(0)
    photographs = [_photograph("china.jpg"), _photograph("flower.jpg")]
    for index in range(IMAGES):
        photograph = photographs[index % 2]
        side = int(rng.integers(64, 200))
        left, top = (int(rng.integers(0, length - side)) for length in photograph.size)
        photograph.crop((left, top, left + side, top + side)).save(folder / f"IMG_{index:04}.jpg", quality=90)
    (folder / "IMG_0600.jpg").write_bytes((folder / "IMG_0000.jpg").read_bytes()[:700])  # a broken download
    (folder / "notes.txt").write_text("from the holiday\n", encoding="utf-8")
    photo = photographs[0].copy()
    ImageDraw.Draw(photo).text((90, 360), CAPTION, fill="white", font=ImageFont.load_default(36))
    photo.save(home / "photo.jpg", quality=92)
