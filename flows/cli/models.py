"""Commands about trained models: which there are, and which is in force."""
# ruff: noqa: PLC0415

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.cli.options import At, By, Json, ModelVersion, Since, Until, app, options_of

models = typer.Typer(
    no_args_is_help=True, help="Trained models: which there are, and which is in force."
)
app.add_typer(models, name="models")


@models.command("list")
def list_models(context: typer.Context, as_json: Json = False) -> None:
    """Show the models that there are, and which is in force.

    Examples:

    - `headrace models list`
    """
    from flows.commands.models import list_models as command

    command(options_of(context).settings(), as_json=as_json)


@models.command("show")
def show_model(context: typer.Context, version: ModelVersion) -> None:
    """Show what is known of a model: what it learned, how it was validated, with which versions.

    Examples:

    - `headrace models show 20260131T100000-0a1b2c3d`
    """
    from flows.commands.models import show_model as command

    command(options_of(context).settings(), version)


@models.command("diff")
def diff_models(
    context: typer.Context, version: ModelVersion, other: ModelVersion, as_json: Json = False
) -> None:
    """Say in what two models differ. What they would tell: backtest --set model=… --against model=…

    Examples:

    - `headrace models diff 20260131T100000-0a1b2c3d 20260207T100000-4e5f6a7b`
    """
    from flows.commands.models import diff_models as command

    command(options_of(context).settings(), version, other, as_json=as_json)


@models.command("promote")
def promote_model(context: typer.Context, version: ModelVersion, at: At = "", by: By = "") -> None:
    """Bring a model into force, without a restart, on all workers from one event time on.

    Examples:

    - `headrace models promote 20260131T100000-0a1b2c3d`
    """
    from flows.commands.models import promote as command

    command(options_of(context).settings(), version, at=at, by=by)


@models.command("shadow")
def shadow_model(
    context: typer.Context,
    version: Annotated[
        str, typer.Argument(metavar="VERSION", help="As the list shows it; none with --off.")
    ] = "",
    off: Annotated[bool, typer.Option("--off", help="Have no model in shadow any more.")] = False,
    at: At = "",
    by: By = "",
) -> None:
    """Have a model judge beside the one in force; it alerts nobody.

    Examples:

    - `headrace models shadow 20260131T100000-0a1b2c3d`

    - `headrace models shadow --off`
    """
    if off == bool(version):
        raise typer.BadParameter("give either a VERSION or --off")
    from flows.commands.models import shadow as command

    command(options_of(context).settings(), version, at=at, by=by)


@models.command("compare")
def compare_models(
    context: typer.Context,
    since: Since = "",
    until: Until = "",
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a page with pictures.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what the model in shadow and the one in force told, where they differ, and what was said of it.

    Since the model is in shadow, if nothing else is said. Pictures are of what the lake has.

    Examples:

    - `headrace models compare --report compare.html`
    """
    from flows.commands.compare_models import compare_models as command

    command(
        options_of(context).settings(), since=since, until=until, report=report, as_json=as_json
    )


@models.command("rollback")
def roll_model_back(context: typer.Context, at: At = "", by: By = "") -> None:
    """Take the last promotion back: what was in force before it is again.

    Examples:

    - `headrace models rollback`
    """
    from flows.commands.models import rollback as command

    command(options_of(context).settings(), at=at, by=by)
