"""The verb `doctor`: what is installed, what it can use, and what a bug report needs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ..base.errors import MissingPackageError
from .json_option import with_json
from .options import DataRoot, app
from .streams import result

if TYPE_CHECKING:
    from ..base.installation import ExtraStatus, Folder, Installation


@app.command()
@with_json
def doctor(data_root: DataRoot = None) -> None:
    """Show what is installed and what it can use: put this into a bug report.

    Versions, devices, threads, whether the compiled kernel is in use, folders with their sizes, and what each extra
    would add.
    """
    from ..base.installation import examine, folder_status
    from ..base.records import to_json
    from ..data import cache_root
    from ..data import data_root as find_root
    from ..training.model_names import named_models

    installation = examine()
    folders = {}
    for name, find in (("data", lambda: find_root(data_root)), ("cache", cache_root)):
        folder = _found(find)
        folders[name] = None if folder is None else folder_status(folder)
    models = {name: str(folder) for name, folder in named_models().items()}
    shown = {
        name: "unknown: platformdirs is missing" if status is None else _folder(status)
        for name, status in folders.items()
    }
    result(
        {**to_json(installation), "folders": folders, "models": models},
        *_installation(installation),
        *(f"{name} folder: {text}" for name, text in shown.items()),
        f"models by name: {', '.join(models) or 'none'}",
        *_extras(installation),
    )


def _found(find: Callable[[], Path]) -> Path | None:
    try:
        return find()
    except MissingPackageError:
        return None


def _installation(found: Installation) -> list[str]:
    environment = found.environment
    core = ", ".join(f"{name} {version}" for name, version in found.core.items())
    memory = "unknown" if found.memory is None else f"{found.memory / 2**30:.1f} GiB"
    kernel = f"in use ({_short(found.kernel.file)})" if found.kernel.used else f"not in use: {found.kernel.reason}"
    variables = ", ".join(f"{name}={_short(value)}" for name, value in found.variables.items())
    cores = f"{found.cores} of {environment.cores} cores"
    return [
        f"logcosh-vae {environment.versions['logcosh-vae']}, commit {environment.commit}, in {_short(found.package)}",
        f"python: {_short(found.python)}",
        f"packages: {core}",
        f"system: {found.system}",
        f"machine: {environment.machine}; {cores}, {found.vector}, {memory} of memory",
        f"threads: {found.threads}",
        *(f"device {name}: {description}" for name, description in found.devices.items()),
        f"compiled kernel: {kernel}",
        f"environment variables: {variables or 'none that matter'}",
    ]


def _folder(folder: Folder) -> str:
    if not folder.exists:
        return f"{_short(folder.path)}, which does not exist yet{'' if folder.writable else ' and cannot be created'}"
    more = "" if folder.complete else "more than "
    size = f"{more}{folder.bytes / 1e6:,.1f} MB in {more}{folder.files:,} files"
    return f"{_short(folder.path)}, {size}{'' if folder.writable else ', read-only'}"


def _extras(found: Installation) -> list[str]:
    return [f"extra {name} ({extra.adds}): {_extra(name, extra)}" for name, extra in found.extras.items()]


def _extra(name: str, extra: ExtraStatus) -> str:
    if extra.missing:
        return f"{', '.join(extra.missing)} missing; pip install 'logcosh-vae[{name}]'"
    return ", ".join(f"{package} {version}" for package, version in extra.versions.items())


def _short(text: str) -> str:
    """A text with the user's home folder written as `~`, because reports are published."""
    home = str(Path.home())
    return text.replace(f"{home}/", "~/") if home != "/" else text
