"""The command line: verbs that parse, call and print. Torch is imported inside them, so that help comes at once."""

from __future__ import annotations

import os
import signal
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from .config import TrainConfig
    from .experiments import Experiment

app = typer.Typer(
    name="logcosh-vae",
    help="Auto-encoders with the log-cosh reconstruction loss: train, compare, measure, reproduce the paper.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
data_app = typer.Typer(help="Image sets: where they are, and fetching them.", invoke_without_command=True)
app.add_typer(data_app, name="data")


INTERRUPTED = 128 + signal.SIGINT


class Profile(StrEnum):
    """How large an experiment is run."""

    paper = "paper"
    laptop = "laptop"
    smoke = "smoke"


class UsageError(Exception):
    """The command cannot be understood as typed."""


DataRoot = Annotated[
    Path | None,
    typer.Option("--data-root", help="Folder of image sets; else LOGCOSH_VAE_DATA, else the user's cache."),
]
Data = Annotated[str, typer.Option("--data", help="mnist | fashion-mnist")]
Model = Annotated[str, typer.Option("--model", help="vae-mlp | wae-mlp")]
Run = Annotated[Path, typer.Argument(help="Folder of a finished run.", show_default=False)]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any config value, dotted; repeatable.")
]
Jobs = Annotated[
    int | None, typer.Option("--jobs", min=1, help="Runs at once; all cores by default.", show_default=False)
]


def _train_config(data: str, model: str, loss: str, a: float | None, **values: Any) -> TrainConfig:
    from .config import ConfigError, DataConfig, ModelConfig, ObjectiveConfig, TrainConfig, choose
    from .data import DATASETS
    from .losses import LOSSES
    from .models import MODELS
    from .networks import NETWORKS

    names = [f"{family}-{network}" for family in MODELS for network in NETWORKS]
    for key, value, known in (
        ("--data", data, list(DATASETS)),
        ("--model", model, names),
        ("--loss", loss, list(LOSSES)),
    ):
        choose(key, value, known)
    if a is not None and loss != "log-cosh":
        raise ConfigError(f"--a belongs to log-cosh; --loss is {loss}")
    family, _, network = model.partition("-")
    return TrainConfig(
        data=DataConfig(data),
        model=ModelConfig(family, network),
        objective=ObjectiveConfig(loss, a),
        **values,
    )


def _version(show: bool) -> None:
    if show:
        from importlib.metadata import version

        print(f"logcosh-vae {version('logcosh-vae')}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback where something fails.")] = False,
) -> None:
    """What every verb understands; `main` takes `--debug` out before it comes here, wherever it stands."""


@data_app.callback()
def data_list(context: typer.Context, data_root: DataRoot = None) -> None:
    """List the known image sets and whether they are in the data root."""
    if context.invoked_subcommand is not None:
        return
    from .data import DATASETS, DataError, load_images
    from .data import data_root as find_root

    root = find_root(data_root)
    print(f"data root: {root}")
    for name in DATASETS:
        try:
            count = sum(len(load_images(name, s, root=root, fetch=False).images) for s in ("train", "test"))
            print(f"{name}: {count:,} images, verified")
        except DataError as error:
            print(f"{name}: {error}")


@data_app.command("fetch")
def data_fetch(name: Annotated[str, typer.Argument(help="mnist | fashion-mnist")], data_root: DataRoot = None) -> None:
    """Fetch an image set if it is missing, and verify it."""
    from .config import choose
    from .data import DATASETS, load_images
    from .data import data_root as find_root
    from .terminal import FetchDisplay

    choose("image set", name, list(DATASETS))
    display = FetchDisplay()
    for split in ("train", "test"):
        images = load_images(name, split, root=data_root, progress=display)
        display.close()
        shape = " x ".join(str(size) for size in images.images.shape[1:])
        print(f"{name} {split}: {len(images.images):,} images of {shape}, verified ({images.fingerprint})")
    print(f"data root: {find_root(data_root)}")


@app.command()
def train(
    out: Annotated[Path, typer.Option("--out", help="Run folder to make.", show_default=False)],
    data: Data = "mnist",
    model: Model = "vae-mlp",
    loss: Annotated[str, typer.Option("--loss", help="l2 | l1 | log-cosh")] = "log-cosh",
    a: Annotated[float | None, typer.Option("--a", help="a of log-cosh; 100 by default.")] = None,
    epochs: Annotated[int, typer.Option("--epochs")] = 40,
    seed: Annotated[int, typer.Option("--seed")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    settings: Settings = None,
    data_root: DataRoot = None,
) -> None:
    """Train an auto-encoder; leaves a run folder with config, metrics, weights and pictures."""
    from .autoencoders import train as run
    from .config import override
    from .terminal import FetchDisplay, TrainingDisplay

    config = override(_train_config(data, model, loss, a, epochs=epochs, seed=seed), settings or [])
    display = TrainingDisplay()
    try:
        run(
            config,
            out,
            resume=resume,
            root=data_root,
            on_step=display.step,
            on_epoch=display.epoch,
            fetch_progress=FetchDisplay(),
        )
    except KeyboardInterrupt:
        display.line.close()
        print(f"stopped; go on with the same command and --resume ({out})", file=sys.stderr)
        raise
    print(f"run: {out}\nmeasure it: logcosh-vae evaluate {out}")


@app.command()
def evaluate(run: Run, data_root: DataRoot = None) -> None:
    """Measure a finished run: sharpness, FID, every term of the objective; draws its pictures."""
    from .evaluation import evaluate as measure
    from .presentation import METRIC_NAMES

    result = measure(run, root=data_root)
    for name, value in result["metrics"].items():
        print(f"{METRIC_NAMES[name]}: {value:.4g}")
    print("test split: " + ", ".join(f"{name} {value:.4g}" for name, value in result["test"].items()))
    features = result["features"]
    print(f"features: {features['name']} {features['fingerprint']}; {result['seconds']:.1f} s")
    print(f"written: {run / 'evaluation.json'}, samples.png, reconstructions.png, interpolation.png")


def _picture_path(out: Path | None, default: Path, overwrite: bool) -> Path:
    if out is None:
        return default
    if out.exists() and not overwrite:
        raise UsageError(f"{out} exists; add --overwrite or choose another --out")
    if out.suffix.lower() != ".png":
        raise UsageError(f"{out}: pictures are written as PNG; end the name in .png")
    return out


Out = Annotated[
    Path | None, typer.Option("--out", help="PNG to write; in the run folder by default.", show_default=False)
]
Seed = Annotated[int, typer.Option("--seed", min=0)]


@app.command()
def sample(
    run: Run,
    count: Annotated[int, typer.Option("--count", min=1, max=10_000)] = 100,
    seed: Seed = 0,
    out: Out = None,
    overwrite: Overwrite = False,
) -> None:
    """Draw images from the prior with a trained model."""
    from . import images as pictures
    from .autoencoders import load
    from .evaluation import generate

    path = _picture_path(out, run / f"sample-seed{seed}-{count}.png", overwrite)
    pictures.save(pictures.grid(generate(load(run), count, seed), columns=round(count**0.5) or 1), path)
    print(f"written: {path}")


@app.command()
def reconstruct(
    run: Run,
    count: Annotated[int, typer.Option("--count", min=1, max=10_000)] = 40,
    seed: Seed = 0,
    out: Out = None,
    overwrite: Overwrite = False,
    data_root: DataRoot = None,
) -> None:
    """Draw test images over what a trained model makes of them."""
    from . import images as pictures
    from .autoencoders import load
    from .evaluation import paired_reconstructions, random_test_images

    path = _picture_path(out, run / f"reconstruct-seed{seed}-{count}.png", overwrite)
    pairs = paired_reconstructions(load(run), random_test_images(run, count, seed, data_root), columns=10)
    pictures.save(pictures.grid(pairs, columns=10), path)
    print(f"written: {path}")


@app.command()
def interpolate(
    run: Run,
    pairs: Annotated[int, typer.Option("--pairs", min=1, max=1_000)] = 8,
    steps: Annotated[int, typer.Option("--steps", min=2, max=100)] = 12,
    seed: Seed = 0,
    out: Out = None,
    overwrite: Overwrite = False,
    data_root: DataRoot = None,
) -> None:
    """Draw the way between two test images in the latent space, a pair a row."""
    from . import images as pictures
    from .autoencoders import load
    from .evaluation import interpolations, random_test_images

    path = _picture_path(out, run / f"interpolate-seed{seed}-{pairs}x{steps}.png", overwrite)
    real = random_test_images(run, 2 * pairs, seed, data_root)
    pictures.save(pictures.grid(interpolations(load(run), real, steps), columns=steps), path)
    print(f"written: {path}")


@app.command("train-features")
def train_features(
    data: Annotated[str, typer.Argument(help="mnist | fashion-mnist")],
    out: Annotated[Path | None, typer.Option("--out", help="Run folder.", show_default=False)] = None,
    install: Annotated[
        Path | None,
        typer.Option("--install", help="Where the weights go; the data root by default.", show_default=False),
    ] = None,
    epochs: Annotated[int, typer.Option("--epochs", min=1)] = 16,
    seed: Seed = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    data_root: DataRoot = None,
) -> None:
    """Train the classifier whose coding layer gives the features of the FID."""
    from .config import choose
    from .data import DATASETS
    from .features import FeatureConfig, feature_folder
    from .features import install as install_weights
    from .features import train_features as run
    from .terminal import FetchDisplay, TrainingDisplay

    choose("image set", data, list(DATASETS))
    display = TrainingDisplay()
    folder = run(
        FeatureConfig(data=data, epochs=epochs, seed=seed),
        out or Path("runs") / f"features-{data}",
        resume=resume,
        root=data_root,
        on_step=display.step,
        on_epoch=display.epoch,
        fetch_progress=FetchDisplay(),
    )
    weights = install_weights(folder, install or feature_folder(data_root))
    print(f"test accuracy {100 * folder.metrics()[-1]['validation']['accuracy']:.2f}%\nwritten: {weights}")


def _fetch(names: set[str], data_root: Path | None) -> None:
    """Fetch once, with progress, before worker processes each look for the images."""
    from .data import load_images
    from .terminal import FetchDisplay

    display = FetchDisplay()
    for name in sorted(names):
        load_images(name, "train", root=data_root, progress=display)
        load_images(name, "test", root=data_root, progress=display)
    display.close()


def _run_experiment(
    experiment: Experiment, seeds: int, jobs: int | None, store: Path, data_root: Path | None
) -> dict[str, Any]:
    from .experiments import default_jobs, local_executor, run_experiment
    from .terminal import ExperimentDisplay

    _fetch({row.config.data.name for row in experiment.rows}, data_root)
    workers = min(jobs or default_jobs(), len(experiment.rows) * seeds)
    display = ExperimentDisplay()
    executor = local_executor(workers)
    try:
        results = run_experiment(
            experiment,
            seeds=seeds,
            store=store,
            executor=executor,
            workers=workers,
            root=data_root,
            watch=display,
        )
    except BaseException as error:
        # not `with executor`, which would wait for the runs under way; they end with this process
        executor.shutdown(wait=False, cancel_futures=True)
        display.close()
        if isinstance(error, KeyboardInterrupt):
            print(f"stopped; the same command goes on with what is in {store}", file=sys.stderr)
        raise
    executor.shutdown()
    display.close()
    return results


@app.command()
def compare(
    out: Annotated[Path, typer.Option("--out", help="Folder for runs, results and report.", show_default=False)],
    data: Data = "mnist",
    model: Model = "vae-mlp",
    loss: Annotated[list[str] | None, typer.Option("--loss", help="Repeat for each loss.")] = None,
    a: Annotated[float | None, typer.Option("--a", help="a of log-cosh.")] = None,
    epochs: Annotated[int, typer.Option("--epochs")] = 40,
    seeds: Annotated[int, typer.Option("--seeds", min=1)] = 1,
    jobs: Jobs = None,
    resume: Annotated[bool, typer.Option("--resume", help="Use what --out holds; train what is missing.")] = False,
    settings: Settings = None,
    data_root: DataRoot = None,
) -> None:
    """Train one model with several losses and compare them in a table and a report."""
    from .config import override
    from .experiments import Experiment, Row, write_results
    from .paper.reported import reported
    from .presentation import LOSS_NAMES, model_text
    from .report import build
    from .terminal import console, results_table

    if out.exists() and any(out.iterdir()) and not resume:
        raise UsageError(f"{out} is not empty; add --resume to use what it holds, or choose another --out")
    losses = list(dict.fromkeys(loss or ["l2", "log-cosh"]))
    configs = [_train_config(data, model, name, a if name == "log-cosh" else None, epochs=epochs) for name in losses]
    rows = tuple(
        Row(override(config, settings or []), reported(data, model, name))
        for config, name in zip(configs, losses, strict=True)
    )
    title = f"{model_text(model)} on {data}: {' against '.join(LOSS_NAMES[name] for name in losses)}"
    experiment = Experiment("compare", title, "custom", rows, source="Tables 1 to 4")
    results = _run_experiment(experiment, seeds, jobs, out / "runs", data_root)
    write_results(results, out / "results.json")
    report = build(results, out / "runs", out / "report.html")
    console().print(results_table(results))
    print(f"report: {report}")


@app.command()
def reproduce(
    name: Annotated[str, typer.Argument(help="table1 | table3")],
    profile: Annotated[Profile, typer.Option("--profile")] = Profile.laptop,
    seeds: Annotated[int, typer.Option("--seeds", min=1)] = 1,
    jobs: Jobs = None,
    runs: Annotated[Path, typer.Option("--runs", help="Where runs are kept and found again.")] = Path("runs"),
    results: Annotated[Path, typer.Option("--results", help="Where NAME-PROFILE.json goes.")] = Path("results"),
    overwrite: Overwrite = False,
    data_root: DataRoot = None,
) -> None:
    """Run a table of the paper; writes results/NAME-PROFILE.json and a report."""
    from .config import choose
    from .experiments import write_results
    from .files import read_json
    from .paper.tables import EXPERIMENTS
    from .presentation import findings
    from .report import build
    from .terminal import console, results_table

    choose("experiment", name, list(EXPERIMENTS))
    path = results / f"{name}-{profile}.json"
    if path.exists() and not overwrite and len(read_json(path)["rows"][0]["seeds"]) > seeds:
        raise UsageError(f"{path} holds more seeds than {seeds}; add --overwrite or choose another --results")
    obtained = _run_experiment(EXPERIMENTS[name](profile), seeds, jobs, runs, data_root)
    write_results(obtained, path)
    report = build(obtained, runs, runs / f"{name}-{profile}.html")
    console().print(results_table(obtained))
    for sentence in findings(obtained):
        print(f"- {sentence}")
    print(f"results: {path}\nreport: {report}")


def _leave_at_once(code: int) -> NoReturn:
    """Leave without waiting for worker processes: they end with this one, and nothing is half-written."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _fail(message: str, code: int) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    _leave_at_once(code)


def _known_errors() -> dict[type[BaseException], int]:
    """Errors whose text is written for the user, with their exit codes; only of modules that were reached."""
    codes: dict[type[BaseException], int] = {UsageError: 2}
    for module, name, code in (
        ("config", "ConfigError", 2),
        ("runs", "RunError", 1),
        ("data", "DataError", 1),
        ("training", "TrainingError", 1),
    ):
        loaded = sys.modules.get(f"logcosh_vae.{module}")
        if loaded is not None and hasattr(loaded, name):
            codes[getattr(loaded, name)] = code
    return codes


def main() -> None:
    """Entry point: one line for an error, a traceback only with `--debug`; 2 for usage, 1 for failure."""
    arguments = sys.argv[1:]
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    usage_error = typer.BadParameter.__mro__[1]
    try:
        code = app(args=arguments, prog_name="logcosh-vae", standalone_mode=False)
        if code == INTERRUPTED:
            _leave_at_once(INTERRUPTED)
        sys.exit(code or 0)
    except (KeyboardInterrupt, typer.Abort):
        _leave_at_once(INTERRUPTED)
    except typer.Exit as leave:
        sys.exit(leave.exit_code)
    except BrokenPipeError:
        os._exit(1)
    except Exception as error:
        if debug:
            raise
        if isinstance(error, usage_error):
            _fail(f"{error.format_message()} (see 'logcosh-vae --help')", 2)  # type: ignore[attr-defined]
        for kind, code in _known_errors().items():
            if isinstance(error, kind):
                _fail(str(error), code)
        _fail(f"{type(error).__name__}: {error} (add --debug for where)", 1)
