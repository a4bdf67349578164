"""Which image files of a folder or zip file are for training, and which for testing.

Folders `train` and `test` define the split; otherwise the digests of the file names do.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..base.errors import DataError
from ..base.text import visible
from .collection import Member
from .listing import Listing, first_reasons

TEST_EVERY = 10
"""One image file in ten becomes a test image if no folders define the split."""

ROLES = {
    "train": "train",
    "training": "train",
    "test": "test",
    "testing": "test",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
}
"""Names of folders, in lower case, that define the split, and the role of each."""

_MAY_HAVE_ROLE = re.compile("train|test|val", re.IGNORECASE).search

MAX_DEPTH = 64
"""Folders within more folders than this define no split; a name in a zip file may have 30,000 of them."""


@dataclass(frozen=True)
class Split:
    """The two parts of a set.

    Attributes:
        train: the training files.
        test: the test files.
        left_out: image files that are in neither, each with the reason.
        notes: sentences for the user about folders whose names may mislead.
    """

    train: list[Member] = field(default_factory=list)
    test: list[Member] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    notes: tuple[str, ...] = ()


def split_listing(path: Path, listing: Listing) -> Split:
    """Divide the image files of a set.

    Folders `train` and `test` define the split, in any case, at the top of the set or within folders that hold all of
    it; so does a folder `val` where there is no `test`. Otherwise the files are ordered by the digest of their name and
    the first tenth is for testing, so the split is the same each time and changes little when files are added.

    Raises:
        DataError: one of the folders that define the split holds only files that cannot be used.
    """
    unused = {name: name if name in listing.folders else _parent(name) for name, _ in listing.left_out}
    used = {_parent(member.name) for member in listing.members}
    folders = sorted(filter(_MAY_HAVE_ROLE, used | set(unused.values())))  # a set may have a million others
    for base in _bases(used):
        roles = _roles(folders, base)
        if "train" not in roles or len(roles) < 2:
            continue
        split = _split_by_folders(listing.members, base, roles)
        for role, members in (("train", split.train), ("test", split.test)):
            if not members:
                wanted = role if role in roles else "validation"
                reasons = [(name, why) for name, why in listing.left_out if _role(f"{unused[name]}/", base) == wanted]
                raise DataError(
                    f"{path}: none of the files in {_joined(base, roles[wanted])} can be used, so there is no {role} "
                    f"split: {first_reasons(reasons)}"
                )
        return split
    train, test = _split_by_digest(listing.members)
    return Split(train, test, notes=_misleading_folders(folders, used))


def _parent(name: str) -> str:
    return name.rpartition("/")[0]


def _bases(folders: set[str]) -> Iterable[str]:
    """Yield the folders that hold all image files, each with a final `/`, from the top, which is empty, downwards."""
    base = ""
    for _ in range(MAX_DEPTH if folders else 0):
        yield base
        tops = {folder[len(base) :].partition("/")[0] for folder in folders}
        if len(tops) > 1 or "" in tops:
            return
        base += f"{tops.pop()}/"


def _role(name: str, base: str) -> str | None:
    """Return the role of the folder in `base` that holds a file of this name."""
    top, inside, _ = name[len(base) :].partition("/")
    return ROLES.get(top.lower()) if inside and name.startswith(base) else None


def _roles(folders: Iterable[str], base: str) -> dict[str, list[str]]:
    """Return the names of the folders in `base` by their role, without those that have none."""
    found: dict[str, list[str]] = {}
    for folder in folders:
        role, top = _role(f"{folder}/", base), folder[len(base) :].partition("/")[0]
        if role and top not in found.setdefault(role, []):
            found[role].append(top)
    return found


def _joined(base: str, names: Sequence[str]) -> str:
    shown = [visible(f"{base}{name}") for name in names]
    return " and ".join(filter(None, [", ".join(shown[:-1]), shown[-1]]))


def _split_by_folders(members: Sequence[Member], base: str, roles: dict[str, list[str]]) -> Split:
    test_role = "test" if "test" in roles else "validation"
    used = [*roles["train"], *roles[test_role]]
    split = Split(notes=() if test_role == "test" else (_val_note(base, roles["validation"]),))
    for member in members:
        role = _role(member.name, base)
        if role == "train":
            split.train.append(member)
        elif role == test_role:
            split.test.append(member)
        elif role == "validation":
            reason = f"a validation image, not used beside the folders {_joined(base, used)}"
            split.left_out.append((member.name, reason))
        else:
            reason = f"beside the folders {_joined(base, used)}, which define the split"
            split.left_out.append((member.name, reason))
    return split


def _val_note(base: str, names: Sequence[str]) -> str:
    return f"the test images are those in {_joined(base, names)}, because no folder test has any"


def _split_by_digest(members: Sequence[Member]) -> tuple[list[Member], list[Member]]:
    ordered = sorted(
        members, key=lambda member: hashlib.sha256(member.name.encode("utf-8", "surrogateescape")).digest()
    )
    chosen = {member.name for member in ordered[: -(-len(members) // TEST_EVERY)]}
    return [m for m in members if m.name not in chosen], [m for m in members if m.name in chosen]


def _misleading_folders(folders: Iterable[str], used: set[str]) -> tuple[str, ...]:
    """Return a note if folders are named as those that define a split, which they do not define."""
    instead = "one image file in ten is for testing"
    found: dict[str, str] = {}
    for folder in folders:
        parts = folder.split("/", MAX_DEPTH)[:MAX_DEPTH]
        for index, part in enumerate(parts):
            for word in re.findall("[A-Z]?[a-z]+|[A-Z]+", part):  # such as train2017 and trainA
                if role := ROLES.get(word.lower()):
                    found.setdefault("train" if role == "train" else "test", "/".join(parts[: index + 1]))
    if len(found) == 2:
        both = _joined("", [found["train"], found["test"]])
        reason = f"the folders {both} do not define the split, because they are not top folders train and test"
        return (f"{reason}; {instead}",)
    for base in _bases(used):
        for role, names in _roles(folders, base).items():
            other = "test" if role == "train" else "train"
            reason = f"the folder {_joined(base, names[:1])} does not define the split, because no folder {other}"
            return (f"{reason} beside it has images; {instead}",)
    return ()
