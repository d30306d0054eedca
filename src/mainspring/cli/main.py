"""The command ``mainspring``: what it can do is listed here, what carries it out is imported when it is called."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any

import click

from mainspring.cli.output import exit_code, show_error
from mainspring.core.errors import InvalidRequest, MainspringError, Unavailable
from mainspring.version import __version__

# name: (module:attribute, short help). Kept as plain text so that `mainspring --help` imports nothing else.
COMMANDS = {
    "demo": ("mainspring.cli.demo:demo", "Turn the whole loop once on real data and show each step."),
    "loop": ("mainspring.cli.loop:loop", "Turn the loop on your own table."),
    "up": ("mainspring.cli.planes:up", "Start the control plane, the data plane and the workers."),
    "down": ("mainspring.cli.planes:down", "Stop what `mainspring up` started."),
    "status": ("mainspring.cli.planes:status", "Show the processes and the endpoints."),
    "config": ("mainspring.cli.config:config", "Print each setting with where its value came from."),
    "sync": ("mainspring.cli.sync:sync", "Send runs that were logged offline, or could not be sent."),
    "import": ("mainspring.cli.importing:bring", "Bring runs and models of MLflow, W&B, TensorBoard, DVCLive here."),
    "export": ("mainspring.cli.importing:take", "Take runs to MLflow."),
    "lineage": ("mainspring.cli.lineage:lineage", "Show what a thing was made from, or what it touched."),
    "events": ("mainspring.cli.lineage:events", "List who did what, when and from where."),
    "deploy": ("mainspring.cli.endpoint:deploy", "Put a model version behind an endpoint."),
    "rollback": ("mainspring.cli.endpoint:rollback", "Restore the previous release of an endpoint."),
    "dataset": ("mainspring.cli.dataset:dataset", "Versioned tables: import, check, diff."),
    "feature": ("mainspring.cli.nouns:feature", "Feature views: define, materialise."),
    "experiment": ("mainspring.cli.nouns:experiment", "Experiments and their folders: list, rename, delete, restore."),
    "run": ("mainspring.cli.nouns:run", "Runs: parameters, metrics, artifacts."),
    "trace": ("mainspring.cli.nouns:trace", "What an application did for one request."),
    "trace-metric": ("mainspring.cli.nouns:trace_metric", "What many traces say together."),
    "issue": ("mainspring.cli.nouns:issue", "What goes wrong in an application."),
    "label-schema": ("mainspring.cli.nouns:label_schema", "What people answer about traces."),
    "media": ("mainspring.cli.nouns:media", "Images, sounds, tables, figures that runs left behind."),
    "alert": ("mainspring.cli.nouns:alert", "What runs said that somebody should know."),
    "evaluation-dataset": ("mainspring.cli.nouns:evaluation_dataset", "Cases by which applications are judged."),
    "scorer": ("mainspring.cli.nouns:scorer", "How answers are judged."),
    "gc": ("mainspring.cli.garbage:collect", "Remove for good what was deleted, and what nothing refers to."),
    "training": ("mainspring.cli.nouns:training", "What a training found."),
    "model": ("mainspring.cli.model:model", "Models: import, versions, aliases, stages, gates."),
    "job": ("mainspring.cli.nouns:job", "Pipelines: start, watch, cancel, retry."),
    "endpoint": ("mainspring.cli.nouns:endpoint", "Endpoints and their releases."),
    "rollout": ("mainspring.cli.nouns:rollout", "Canaries: start, look, abort."),
    "prediction": ("mainspring.cli.nouns:prediction", "What was answered, and what turned out to be true."),
    "monitor": ("mainspring.cli.nouns:monitor", "Drift and performance: windows and alarms."),
    "user": ("mainspring.cli.user:user", "Users, tokens and permissions."),
    "webhook": ("mainspring.cli.webhook:webhook", "Webhooks: tell others what happens."),
    "trigger": ("mainspring.cli.nouns:trigger", "What starts a retraining; approvals."),
}


class Commands(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """List the commands in the order in which a newcomer meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import a command."""
        if name not in COMMANDS:
            return None
        module, attribute = COMMANDS[name][0].split(":")
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a reader of its output that goes away, such as ``head``, is no error."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # What python would write at exit goes where it does no harm.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise click.exceptions.Exit(0) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the short helps without importing the commands."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, short) for name, (_, short) in COMMANDS.items()])


@click.group(cls=Commands, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mainspring")
@click.option("--home", default=None, metavar="DIR", help="Folder of the platform (default .mainspring).")
@click.option("--url", default=None, metavar="URL", help="Control plane to talk to.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON on one line.")
@click.pass_context
def cli(ctx: click.Context, home: str | None, url: str | None, as_json: bool) -> None:
    """Mainspring runs the whole loop of production machine learning.

    Without a command it shows what is there and what to do next. Exit codes: 0 done, 1 unforeseen error, 2 wrong
    usage, 3 not found, 4 refused or in conflict, 5 invalid data, 6 unavailable or overloaded, 130 interrupted.
    """
    ctx.ensure_object(dict)["as_json"] = as_json
    if ctx.invoked_subcommand is not None:
        given = {"home": home, "url": url, "as_json": as_json or None}
        _pass_on(ctx, ctx.invoked_subcommand, {name: value for name, value in given.items() if value is not None})
        return
    from mainspring.cli.overview import overview
    from mainspring.core.settings import load_settings

    overview(load_settings({"home": home, "url": url}).settings, as_json=as_json)


def _pass_on(ctx: click.Context, command: str, given: dict[str, str | bool]) -> None:
    """Let options that stand before the command hold as those behind it do, which win."""
    if not given:
        return
    found = cli.get_command(ctx, command)
    assert found is not None
    if not isinstance(found, click.Group) and (odd := given.keys() - {option.name for option in found.params}):
        raise click.UsageError(
            f"{command!r} does not take --{' or --'.join(sorted(name.removeprefix('as_') for name in odd))}"
        )
    ctx.default_map = {command: _defaults(ctx, found, given)}


def _defaults(ctx: click.Context, command: click.Command, given: dict[str, str | bool]) -> dict[str, Any]:
    if isinstance(command, click.Group):
        inner = {verb: command.get_command(ctx, verb) for verb in command.list_commands(ctx)}
        return {verb: _defaults(ctx, found, given) for verb, found in inner.items() if found is not None}
    return dict(given)


def main() -> None:
    """Run the command line and leave with its exit code."""
    if sys.platform == "win32":
        click.echo("error: Mainspring runs on Linux and macOS; on Windows run it inside WSL 2", err=True)
        sys.exit(1)
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command line in this process and give its exit code; errors are told on one line of stderr."""
    as_json = "--json" in arguments
    try:
        code = cli.main(arguments, prog_name="mainspring", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.exceptions.NoArgsIsHelpError as bare:
        # Who names a noun without a verb looks for the verbs.
        bare.show()
        return 2
    except click.ClickException as wrong:
        error: MainspringError = InvalidRequest(_usage(wrong))
    except MainspringError as failed:
        error = failed
    except OSError as failed:
        where = f"{failed.filename}: " if failed.filename else ""
        error = Unavailable(
            f"{where}{failed.strerror or failed}; see that it can be read and written", errno=failed.errno
        )
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        return 130
    show_error(error, as_json=as_json)
    return exit_code(error)


def _usage(wrong: click.ClickException) -> str:
    context = wrong.ctx if isinstance(wrong, click.UsageError) else None
    message = wrong.format_message().rstrip(".")
    return message if context is None else f"{message}; see `{context.command_path} --help`"
