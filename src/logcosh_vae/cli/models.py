"""The verbs `models` and `save`: list the models that have a name, and make a folder of a trained model to share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..base.errors import DamagedJsonError, RunError, UsageError
from ..base.text import path_word
from .json_option import with_json
from .options import Overwrite, Run, app
from .streams import result, say, tell


@app.command()
@with_json
def models() -> None:
    """List the models that can be used by name.

    They come with the package, or are folders in $LOGCOSH_VAE_MODELS. Every command that takes a run takes their name.
    """
    from ..base.files import read_json
    from ..training.model_names import MODELS_VARIABLE, named_models
    from ..training.pretrained_config import KEY, pretrained_info

    found: list[dict[str, Any]] = []
    for name, folder in named_models().items():
        try:
            config = read_json(folder / "config.json")
            if KEY in config:
                pretrained_info(folder, config)
            summary = _summary(config)
            size: int | None = sum(each.stat().st_size for each in folder.iterdir() if each.is_file())
        except OSError as error:
            summary, size = f"cannot be read ({error.strerror})", None
        except (RunError, DamagedJsonError, ValueError, KeyError, TypeError, AttributeError):
            summary, size = "damaged; reinstall or save it again", None
        found.append({"name": name, "folder": str(folder), "summary": summary, "bytes": size})
    if not found:
        tell(f"note: no models come with this package; ${MODELS_VARIABLE} may name a folder of your own")
    sizes = ["" if each["bytes"] is None else f"; {each['bytes'] / 1e6:.1f} MB" for each in found]
    lines = (f"{each['name']}: {each['summary']}{size}" for each, size in zip(found, sizes, strict=True))
    result({"models": found}, *lines)


def _summary(config: dict[str, dict[str, dict[str, object]]]) -> str:
    """What a model is, in one line, from its `config.json`."""
    train = config["train"]
    data, model, objective = (train.get(key) or {} for key in ("data", "model", "objective"))
    parts = [f"{model.get('family')}-{model.get('network')} on {data.get('name')}"]
    if objective:
        a, learned = objective.get("a"), objective.get("likelihood")
        words = "" if learned is None else f", learned {str(learned).replace('+', ' and ')}"
        parts.append(f"{objective.get('loss')}{'' if a is None else f', a = {a:g}'}{words}")
    metrics = (config.get("pretrained", {}).get("measured") or {}).get("metrics")
    if isinstance(metrics, dict) and "fid" in metrics:
        fitted = f", {metrics['fid_mixture']:.1f} with --prior mixture" if "fid_mixture" in metrics else ""
        parts.append(f"FID {metrics['fid']:.1f}{fitted}")
    return "; ".join(parts)


@app.command()
def save(
    run: Run,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder to write the model to.", show_default=False)],
    precision: Annotated[
        str,
        typer.Option(
            "--precision",
            help="Of the stored weights: float32, float16 or int8, which takes a quarter of the bytes.",
        ),
    ] = "float32",
    name: Annotated[
        str | None,
        typer.Option("--name", help="Name on the model card; that of the run by default.", show_default=False),
    ] = None,
    license_name: Annotated[
        str | None,
        typer.Option(
            "--license",
            help="Licence of the weights for the card, e.g. apache-2.0; by default not stated.",
            show_default=False,
        ),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Write a trained model to a folder to share, with a model card.

    The folder has what is needed to use the model: config.json, model.safetensors, densities that were fitted to its
    codes, and README.md. VAE.from_pretrained, WAE.from_pretrained and every command that takes a run read it.
    """
    from ..base.settings import validate_choice
    from ..export.pretrained import FILES, files_to_replace, load_pretrained, save_pretrained
    from ..training.precision import PRECISIONS
    from ..training.run_folder import RunFolder

    validate_choice("--precision", precision, PRECISIONS)
    if not overwrite and (replaced := files_to_replace(out)):
        held = "a model or a run" if "config.json" in replaced else replaced[0]
        raise UsageError(f"{out} already holds {held}; add --overwrite or choose another --out")
    model = load_pretrained(run)
    save_pretrained(model, out, precision=precision, overwrite=overwrite, name=name, license=license_name)
    if not RunFolder(run).is_pretrained and (model.origin or {}).get("pretrained", {}).get("measured") is None:
        tell(f"note: the card has no measurements; 'logcosh-vae evaluate {path_word(run)}' makes them")
    written = [(out / each).stat().st_size for each in FILES if (out / each).exists()]
    say(f"written: {out} ({sum(written) / 1e6:.1f} MB)", f"to use it: logcosh-vae sample {path_word(out)}")
