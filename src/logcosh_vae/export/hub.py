"""The Hugging Face Hub: download and upload of the folders of pretrained models.

`huggingface_hub` (the extra `hub`) is imported when it is needed. Its errors become a `RunError` of one line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..base.errors import RunError
from ..base.extras import require
from ..base.files import one_line

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")


def is_repository(text: str) -> bool:
    """Return whether a text has the form of a repository's name, `OWNER/NAME`."""
    return _REPOSITORY.fullmatch(text) is not None


def download(
    repository: str,
    files: Sequence[str],
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: Path | str | None = None,
    local_files_only: bool = False,
) -> Path:
    """Download files of a repository, unless they are in the cache already.

    Args:
        repository: `OWNER/NAME`.
        files: names of the files; those that the repository lacks are left out.
        revision: branch, tag or commit; the default branch by default.
        token: access token; by default the one that `hf auth login` stored.
        cache_dir: folder that downloads are kept in; by default the Hub's.
        local_files_only: use only what has been downloaded before.

    Returns:
        The folder with the files.

    Raises:
        RunError: the repository cannot be reached or read.
        MissingPackageError: `huggingface_hub` is not installed.
    """
    require("loading a model from the Hub", "huggingface_hub", extra="hub")
    import huggingface_hub

    with _errors_about(f"{repository} cannot be loaded from the Hub"):
        return Path(
            huggingface_hub.snapshot_download(
                repository,
                revision=revision,
                token=token,
                cache_dir=cache_dir,
                local_files_only=local_files_only,
                allow_patterns=list(files),
            )
        )


def upload(
    folder: Path,
    repository: str,
    *,
    private: bool = False,
    revision: str | None = None,
    token: str | bool | None = None,
    message: str | None = None,
) -> str:
    """Upload all files of a folder in one commit, and create the repository if it is missing.

    Args:
        folder: the folder.
        repository: `OWNER/NAME`.
        private: whether a new repository is private.
        revision: branch to commit to.
        token: see `download`.
        message: title of the commit.

    Returns:
        The address of the repository.

    Raises:
        RunError: the upload failed.
        MissingPackageError: `huggingface_hub` is not installed.
    """
    require("uploading a model to the Hub", "huggingface_hub", extra="hub")
    import huggingface_hub

    if not is_repository(repository):
        raise RunError(f"{repository} is not the name of a repository; write it as OWNER/NAME")
    client = huggingface_hub.HfApi(token=token, library_name="logcosh-vae")
    with _errors_about(f"{repository} cannot be uploaded to the Hub"):
        address = client.create_repo(repository, private=private, exist_ok=True)
        client.upload_folder(
            repo_id=repository,
            folder_path=folder,
            revision=revision,
            commit_message=message or "Upload a model with logcosh-vae",
        )
    return str(address)


@contextmanager
def _errors_about(subject: str) -> Iterator[None]:
    """Turn any error of the client into a `RunError` of one line."""
    try:
        yield
    except Exception as error:  # its own errors, those of its HTTP library, and those of the system
        raise RunError(f"{subject}: {_first_sentences(error)}") from error


def _first_sentences(error: Exception) -> str:
    """Return what an error says, without the advice and links that follow on further lines."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = " ".join(lines[:2]) or type(error).__name__
    return one_line(Exception(re.sub(r"^Got: \w+: ", "", text)), 250)
