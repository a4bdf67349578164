"""Damage the files of finished runs, classifiers and prepared images, and use them."""

from __future__ import annotations

import os
import pickle
import random
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors
import safetensors.torch
import torch

from .attack import Attack, FailedError, Trial, check_outcome
from .inputs import AUTOENCODER, digests, environment, make_runs, restoration_arguments, succeed
from .mutations import flip_bits, mutate
from .process import Run

SPARSE_BYTES = 8 << 30

UNVERIFIABLE = frozenset({"config.json", "metrics.jsonl", "environment.json", "progress.json", "evaluation.json"})
"""Files whose content may be changed to another that is valid, so that other results are no failure."""


@dataclass(frozen=True)
class Use:
    """A command that uses files of which one is damaged.

    Attributes:
        arguments: the command.
        below: the folder whose files are damaged.
        result: file or folder that the command makes, which is compared with an undamaged use.
    """

    arguments: tuple[str, ...]
    below: str
    result: str


def uses(pictures: Path) -> dict[str, Use]:
    """Return the commands by a name for messages; `pictures` is the folder that the restoration run was trained on."""
    resume = (*AUTOENCODER, "--out", "run", "--resume")
    restore = ("restore", "pictures/00.png", "-o", "new/clean.png", "--model", "restoration", "--box", "0,0,4,4")
    train_restoration = (*restoration_arguments(pictures), "--out", "restoration", "--resume")
    evaluate = ("evaluate", "run")
    return {
        "sample": Use(("sample", "run", "--count", "4", "--out", "new/s.png"), "run", "new"),
        "reconstruct": Use(("reconstruct", "run", "--count", "4", "--out", "new/r.png"), "run", "new"),
        "evaluate": Use(evaluate, "run", "run/evaluation.json"),
        "train --resume": Use(resume, "run", "run/weights.safetensors"),
        "train longer": Use((*resume, "--epochs", "3"), "run", "run/weights.safetensors"),
        "restore --model": Use(restore, "restoration", "new"),
        "restore --train --resume": Use(train_restoration, "restoration", "restoration/weights.safetensors"),
        "evaluate, classifier": Use(evaluate, "data/features", "run/evaluation.json"),
        "evaluate, prepared images": Use(evaluate, "prepared", "run/evaluation.json"),
        "train, prepared images": Use((*AUTOENCODER, "--out", "new"), "prepared", "new/weights.safetensors"),
    }


class Exploit:
    """An object whose unpickling writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.path}",)


def _damage_bytes(path: Path, draw: random.Random, work: Path) -> str:  # noqa: ARG001
    content, names = mutate(path.read_bytes(), draw)
    path.write_bytes(content)
    return names


def _flip(path: Path, draw: random.Random, work: Path) -> str:  # noqa: ARG001
    path.write_bytes(flip_bits(path.read_bytes(), draw))
    return "flipped bits"


def _replace(path: Path, draw: random.Random, work: Path) -> str:
    """Replace the file by something that is not a file with content."""
    outside = work / "outside"
    links = {
        "link to a file": outside / "victim.txt",
        "link to a folder": outside,
        "broken link": outside / "new.txt",
        "link to a device": Path("/dev/zero"),
    }
    kind = draw.choice(["missing", "empty", "folder", "pipe", "sparse", *links])
    path.unlink()
    if kind in ("empty", "sparse"):
        with path.open("wb") as file:
            file.truncate(SPARSE_BYTES if kind == "sparse" else 0)
    elif kind == "folder":
        path.mkdir()
        (path / "x").touch()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind in links:
        path.symlink_to(links[kind])
    return kind


def _link_beside(path: Path, draw: random.Random, work: Path) -> str:
    """Put a link to a file of the user where the program writes."""
    names = (".lock", "samples", "evaluation.json", "progress.json", "samples.png", "environment.json", "state.pt")
    link = path.parent / draw.choice(names)
    if link.is_dir() and not link.is_symlink():
        shutil.rmtree(link)
    link.unlink(missing_ok=True)
    link.symlink_to(work / "outside" / ("" if link.name == "samples" else "victim.txt"))
    return f"{link.name} as a link"


def _swap(path: Path, draw: random.Random, work: Path) -> str:
    """Exchange the file with another of any of the runs."""
    files = (file for part in ("run", "restoration", "data/features", "prepared") for file in (work / part).rglob("*"))
    other = draw.choice(sorted(file for file in files if file.is_file() and file != path))
    content = path.read_bytes()
    path.write_bytes(other.read_bytes())
    other.write_bytes(content)
    return f"exchanged with {other.relative_to(work)}"


def _rewrite(path: Path, draw: random.Random, work: Path) -> str:
    """Write weights or a state with other types, shapes or values."""
    if path.suffix == ".pt":
        return _rewrite_state(path, draw, work)
    if path.suffix != ".safetensors":
        return _damage_bytes(path, draw, work)
    tensors = safetensors.torch.load_file(path)
    with safetensors.safe_open(path, "pt") as file:
        metadata = file.metadata()
    name = draw.choice(sorted(tensors))
    changes: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
        "nan": lambda tensor: torch.full_like(tensor, float("nan")),
        "inf": lambda tensor: torch.full_like(tensor, float("inf")),
        "other shape": lambda _: torch.zeros(3, 5),
        "one more dimension": lambda tensor: tensor[None],
    }
    types = ("float16", "float64", "int8", "bool", "complex64")
    kind = draw.choice([*changes, *types, "missing", "renamed"])
    value = tensors.pop(name)
    if kind != "missing":
        new = changes[kind](value) if kind in changes else value.to(getattr(torch, kind)) if kind in types else value
        tensors[f"{name}x" if kind == "renamed" else name] = new
    safetensors.torch.save_file(tensors, path, draw.choice([metadata, None, {"digest": "0"}]))
    return f"{name} {kind}"


def _rewrite_state(path: Path, draw: random.Random, work: Path) -> str:
    if draw.random() < 0.2:
        path.write_bytes(pickle.dumps(Exploit(work / "outside" / "executed")))
        return "a pickle that runs a command"
    state = torch.load(path, weights_only=True)
    key = draw.choice(list(state))
    state[key] = draw.choice([None, 0, -1, 99, "1", float("nan"), [], {}, torch.zeros(3), 10**30])
    torch.save(state, path)
    return f"{key} = {state[key]!r:.20}"


DAMAGE = (_flip, _flip, _flip, _damage_bytes, _damage_bytes, _replace, _replace, _link_beside, _swap, _rewrite)


def prepare(folder: Path) -> Trial:
    """Train the runs; each is used undamaged, for its result, when that is first needed."""
    make_runs(folder)
    known = uses(folder / "pictures")
    references: dict[str, Mapping[str, str]] = {}
    succeed(("evaluate", "runs/autoencoder"), folder, environment(folder))  # prepares the test images, too
    (folder / "runs" / "autoencoder" / "evaluation.json").unlink()

    def undamaged(name: str) -> Mapping[str, str]:
        if name not in references:
            work = folder / "undamaged"
            _copy(folder, work)
            succeed(known[name].arguments, work, environment(work))
            references[name] = _result(known[name], work)
        return references[name]

    def trial(draw: random.Random, place: Path) -> str:
        name = draw.choice(list(known))
        use, work = known[name], place / "work"
        _copy(folder, work)
        files = [file for file in (work / use.below).rglob("*") if file.is_file() and not file.name.startswith(".")]
        large = [file for file in files if file.suffix in (".safetensors", ".pt", ".npy")]
        path = draw.choice(sorted(large if large and draw.random() < 0.5 else files))
        damage = draw.choice(DAMAGE)
        shown = f"{name}, {path.relative_to(work)}"
        kind = damage(path, draw, work)
        sure = damage in (_flip, _damage_bytes) and path.name not in UNVERIFIABLE
        try:
            check_use(use, work, path, undamaged(name) if sure else None)
        except FailedError as error:
            raise FailedError(f"{shown}, {kind}: {error}") from None
        return f"{shown}: {kind}"

    return trial


def _copy(folder: Path, work: Path) -> None:
    """Copy all files but the data set's images, which are a link, so that the prepared ones stay valid."""
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(folder / "runs" / "autoencoder", work / "run")
    shutil.copytree(folder / "runs" / "restoration", work / "restoration")
    for name in ("pictures", "prepared", "data/features"):
        shutil.copytree(folder / name, work / name)
    (work / "data" / "celeba").symlink_to(folder / "data" / "celeba")
    for name in ("new", "outside"):
        (work / name).mkdir()
    (work / "outside" / "victim.txt").write_text("the user's text\n", encoding="utf-8")


def _result(use: Use, work: Path) -> dict[str, str]:
    path = work / use.result
    found = digests(path if path.is_dir() else path.parent, work)
    return found if path.is_dir() else {path.name: found.get(path.name, "missing")}


def check_use(use: Use, work: Path, path: Path, reference: Mapping[str, str] | None) -> None:
    """Run the command on damaged files, and check what it leaves; the result has to be `reference` if that is given."""
    outside, weights = digests(work / "outside", work), work / use.below / "weights.safetensors"
    before = weights.read_bytes() if weights.is_file() and not weights.is_symlink() and weights != path else None
    outcome = Run(use.arguments, work, environment(work), seconds=60.0).outcome()
    check_outcome(outcome)
    if digests(work / "outside", work) != outside:
        raise FailedError("a file outside of the folder was changed")
    if outcome.code != 0 and before is not None and (not weights.is_file() or weights.read_bytes() != before):
        raise FailedError(f"the undamaged weights are gone; {outcome.errors.strip()[-200:]}")
    if outcome.code == 0 and reference is not None:
        try:
            found = _result(use, work)
        except (ValueError, OSError) as error:
            raise FailedError(f"the result cannot be read: {error}") from None
        if found != reference:
            raise FailedError("damage is not noticed, and the result is another")


ATTACK = Attack(
    "tampering",
    "damaged, exchanged and linked files in run folders, classifiers and prepared images",
    2_000,
    120.0,
    0.12,
    prepare,
    "refused in one line, or without effect; nothing is lost or changed elsewhere",
)
