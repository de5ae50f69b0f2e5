"""The command `effectpairs`: all commands, exit codes, and one sentence for every failure."""

import os
import sys
import traceback

import typer

from ..untrusted_input import printable
from . import benchmark, corpus, data, exports, machine, models, workspace
from .console import err, user_message

app = typer.Typer(
    name="effectpairs",
    help="Paired effect datasets: video with its shadow, splash, dust or smoke, and the same video without it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for commands in (
    data.commands,
    workspace.commands,
    corpus.commands,
    exports.commands,
    models.commands,
    machine.commands,
):
    app.add_typer(commands)
app.add_typer(benchmark.commands, name="benchmark")

RENAMED_OPTIONS = {
    "--direct": "--no-prefect",
    "generate --offload": "--cpu-offload",
    "generate --sequential": "--sequential-cfg",
    "train --samples": "--eval-clips",
}
"""First spellings of options, after their command where another command has the same, and their present ones."""


def main() -> None:
    """Run the command line: 0 on success, 2 for wrong usage, else 1 and one sentence on standard error."""
    os.environ.setdefault("PYTHONSAFEPATH", "1")  # no child, worker or server imports from the working folder
    debug = "--debug" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    for argument in arguments:
        option = argument.partition("=")[0]
        if present := RENAMED_OPTIONS.get(option) or RENAMED_OPTIONS.get(f"{arguments[0]} {option}"):
            err.print(f"error: {option} is now {present}", style="red", markup=False)
            sys.exit(2)
    try:
        app(args=arguments, standalone_mode=True)
    except KeyboardInterrupt:
        err.print("stopped; run the same command again to go on")
        sys.exit(130)
    except Exception as problem:
        if debug:
            sys.stderr.write(printable(traceback.format_exc()))
        err.print(f"error: {user_message(problem)}", style="red", markup=False)
        sys.exit(1)
