"""The option `--json` of the verbs whose result is data.

`with_json` adds it to a verb, which prints its result with `streams.result`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from contextlib import nullcontext
from typing import Annotated, Any

import typer

from .streams import json_output

OPTION = typer.Option("--json", help="Print the result as one JSON document; other output goes to standard error.")


def with_json(verb: Callable[..., None]) -> Callable[..., None]:
    """Return a verb with the option `--json`.

    Args:
        verb: calls `streams.result` once.
    """

    @functools.wraps(verb)
    def run(*arguments: Any, as_json: bool = False, **options: Any) -> None:
        with json_output() if as_json else nullcontext():
            verb(*arguments, **options)

    signature = inspect.signature(verb, eval_str=True)
    option = inspect.Parameter(
        "as_json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Annotated[bool, OPTION]
    )
    parameters = [*signature.parameters.values(), option]
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    return run
