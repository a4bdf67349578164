"""Which entries of a folder or zip file are the images of the set, and an account of all others.

Every entry is either used, left out with a reason because it may hold an image that cannot be used, or set aside by a
rule: hidden files, pictures and run folders written by this program, and files that are not images.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ..base.errors import DataError
from ..base.files import JSON_BYTES, read_json, write_json
from ..base.own_outputs import RUN_CONFIG, WINDOW, is_run_config, own_output
from ..base.text import counted
from .collection import SUFFIXES, Collection, Member, is_hidden, suffix_of
from .formats import READ_KINDS, kind_of, unread_format

RAW = "a raw image"
_UNREAD = {
    "a HEIC image": "heic heif hif",
    RAW: "3fr arw cr2 cr3 crw dng erf iiq kdc mef mrw nef nrw orf pef raf raw rw2 sr2 srf srw x3f",
    "a PNM image": "pam pfm",
    "a PostScript image": "eps ps ai",
    "a JPEG XL image": "jxl",
    "a Photoshop image": "psd",
    "an OpenEXR image": "exr",
    **{f"a {name.upper()} image": name for name in "jxr tga pcx dds dib qoi fits".split()},  # noqa: SIM905
    **{f"an {name.upper()} image": name for name in "xcf svg ico icns hdr sgi".split()},  # noqa: SIM905
}
UNREAD = {suffix: kind for kind, suffixes in _UNREAD.items() for suffix in suffixes.split()}
"""Suffixes of images in formats that are not read, with what such a file is."""

ARCHIVES = frozenset("zip tar tgz gz bz2 xz zst 7z rar".split())  # noqa: SIM905
OTHER_FILES = frozenset("txt md csv tsv json jsonl xml yaml yml html css js py npy npz pt pth safetensors log".split())  # noqa: SIM905
NOT_OPENED = OTHER_FILES | ARCHIVES | frozenset(_UNREAD[RAW].split())
"""Suffixes of files that are not opened to see whether they hold an image; many raw files are TIFF files too."""

OWN_PICTURE = "written by logcosh-vae"
VALIDATION = "in the validation split, which is not used"
REMEMBERED_FROM = 5_000
"""What opening the files of a set has shown is kept in the cache if there are at least this many."""

CONFIG_BYTES = 1 << 20
MAX_REASONS = 20
MAX_LISTED = 3
"""Numbers of reasons, and of files for each, that an error message lists."""


@dataclass(frozen=True)
class Listing:
    """The account of a collection.

    Attributes:
        members: the image files, sorted by name.
        left_out: entries that may hold images and cannot be used, each with the reason, sorted by name.
        folders: names of those among `left_out` that are folders.
        ignored: names of the entries that are set aside by a rule, by the rule.
    """

    members: list[Member] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    folders: set[str] = field(default_factory=set)
    ignored: dict[str, list[str]] = field(default_factory=dict)

    def ignore(self, name: str, rule: str) -> None:
        """Add an entry that a rule sets aside."""
        self.ignored.setdefault(rule, []).append(name)


def list_images(
    collection: Collection, cache: Path | None = None, *, trusted: Callable[[str], bool] = lambda _: False
) -> Listing:
    """Return the account of a collection.

    Args:
        collection: the folder or zip file.
        cache: folder of prepared images, in which the account of a large collection is remembered.
        trusted: returns whether a file with this name is an image of the set without opening it.

    Raises:
        DataError: the collection cannot be listed.
    """
    listing = Listing()
    entries = sorted(collection.entries(), key=lambda entry: entry.name)
    runs = [PurePosixPath(e.name).parent for e in entries if _is_run_config(collection, e)]
    visible = []
    for entry in entries:
        if is_hidden(entry.name):
            listing.ignore(entry.name, "hidden")
        elif runs and any(path in runs for path in PurePosixPath(entry.name).parents):
            listing.ignore(entry.name, "in run folders of logcosh-vae")
        else:
            visible.append(entry)
    opened = [entry for entry in visible if _has_to_be_opened(entry) and not trusted(entry.name)]
    found = _open_files(collection, opened, cache)
    for entry in visible:
        _sort(entry, found.get(entry.name, ""), listing)
    return listing


def _is_run_config(collection: Collection, entry: Member) -> bool:
    if entry.name.rpartition("/")[2] != RUN_CONFIG or entry.problem or entry.size > CONFIG_BYTES:
        return False
    with suppress(Exception):  # whatever it is, it is not known to be a run's
        return is_run_config(collection.read(entry))
    return False


def _has_to_be_opened(entry: Member) -> bool:
    suffix = suffix_of(entry.name)
    return not entry.problem and entry.size > 0 and suffix not in NOT_OPENED


def _sort(entry: Member, found: str, listing: Listing) -> None:
    """Add an entry to the account; `found` is what opening it has shown."""
    suffix = suffix_of(entry.name)
    is_image = f".{suffix}" in SUFFIXES
    if entry.problem:
        if entry.is_folder or is_image or suffix in UNREAD:
            listing.left_out.append((entry.name, entry.problem))
            if entry.is_folder:
                listing.folders.add(entry.name)
        else:
            listing.ignore(entry.name, entry.problem)
    elif found == OWN_PICTURE:
        listing.ignore(entry.name, OWN_PICTURE)
    elif is_image:
        listing.members.append(entry)
    elif suffix in UNREAD and found not in READ_KINDS:
        listing.left_out.append((entry.name, unread_format(UNREAD[suffix])))
    elif suffix in ARCHIVES:
        listing.left_out.append((entry.name, "it is an archive, which is not opened; unpack it"))
    elif found in READ_KINDS:
        ending = f".{suffix}" if suffix in UNREAD else "no image format"
        listing.left_out.append((entry.name, f"it is {found}, but its name ends in {ending}; rename it"))
    elif found:
        listing.left_out.append((entry.name, unread_format(found)))
    else:
        listing.ignore(entry.name, f".{suffix} files" if suffix else "files without suffix")


def _open_files(collection: Collection, members: list[Member], cache: Path | None) -> dict[str, str]:
    """Return what the first and last bytes of files show, by name: `OWN_PICTURE`, or the kind of a misnamed image."""
    remembered = None if cache is None or len(members) < REMEMBERED_FROM else cache / f"{_key(members)}.listing.json"
    if remembered is not None:
        with suppress(OSError, ValueError, TypeError, KeyError):
            content = read_json(remembered, JSON_BYTES)
            if content["digest"] == _digest(content["found"]):
                return dict(content["found"])
    found, complete = {}, True
    for member in members:
        try:
            head, tail = collection.ends(member, WINDOW)
        except Exception:  # decoding it will give the reason
            complete = False
            continue
        if own_output(head, tail):
            found[member.name] = OWN_PICTURE
        elif f".{suffix_of(member.name)}" not in SUFFIXES:
            kind = kind_of(head)
            if kind is not None and kind.endswith("image"):
                found[member.name] = kind
    if remembered is not None and complete:
        with suppress(OSError):
            write_json(remembered, {"found": found, "digest": _digest(found)})
    return found


def _key(members: Iterable[Member]) -> str:
    digest = hashlib.sha256(b"2")  # a number that is raised when opening a file shows something else
    for member in members:
        digest.update(f"{member.name}\0{member.stamp}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:16]


def _digest(found: dict[str, str]) -> str:
    return hashlib.sha256(repr(sorted(found.items())).encode("utf-8", "surrogateescape")).hexdigest()


def first_reasons(left_out: Sequence[tuple[str, str]]) -> str:
    """Return the first reasons for which files are left out, each with its first files, for an error message."""
    names: dict[str, list[str]] = {}
    for name, reason in left_out:
        names.setdefault(reason, []).append(name)
    texts, unlisted = [], len(left_out)
    for reason, files in list(names.items())[:MAX_REASONS]:
        more = f" and {len(files) - MAX_LISTED:,} more" if len(files) > MAX_LISTED else ""
        texts.append(f"{', '.join(files[:MAX_LISTED])}{more}: {reason}")
        unlisted -= len(files)
    return "; ".join(texts) + (f"; and {unlisted:,} more" if unlisted else "")


def check_complete(path: Path, left_out: Sequence[tuple[str, str]], *, strict: bool = True) -> None:
    """Check that nothing that may be an image is left out.

    Args:
        path: the set, for the error.
        left_out: entries that may be images and are not used, each with the reason.
        strict: whether `--strict` asks for this check; without it, `data info` lists them all.

    Raises:
        DataError: something is left out.
    """
    if left_out:
        hint = ". 'logcosh-vae data info' without --strict lists all" if strict and len(left_out) > MAX_LISTED else ""
        found = f"{counted(len(left_out), 'image file')} cannot be used: {first_reasons(left_out)}"
        raise DataError(f"{path}: {found}{hint}")
