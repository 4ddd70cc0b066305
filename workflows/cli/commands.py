"""Every command, in the order in which the help lists them."""

from __future__ import annotations

import re
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from . import carry, cluster, converge, database, doctor, look, report, results, run, serve, xrd


class _InWords(TyperGroup):
    """The commands; what is wrong with an option is said in words, of which newer typers take pydantic's."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            error.message = _in_words(error.message)
            raise


def _in_words(message: str) -> str:
    for pattern, words in (
        (r"^(Value error|Assertion failed), ", ""),
        (r"^Input should be a valid integer.*", "it should be a whole number."),
        (r"^Input should be a valid number.*", "it should be a number."),
        (r"^Input should be ", "it should be "),
    ):
        message = re.sub(pattern, words, message)
    return message


app = typer.Typer(
    cls=_InWords,
    help="DFT of sodium on two-dimensional electrodes: one campaign file, run dry, with GPAW, or with VASP.\n\n"
    "Example: sodiate run wsse",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

for _command in (
    *(run.run, look.new, look.plan, look.protocol, look.schema, look.structures, look.inputs),
    *(results.results, report.report, report.si, converge.converge),
    *(database.status, database.show, database.redo, database.retry, database.cancel),
    *(carry.export_, carry.import_, serve.serve, xrd.xrd, doctor.doctor),
    *(cluster.submit, cluster.queue, cluster.worker, cluster.compute, cluster.recover),
):
    app.command(_command.__name__.rstrip("_"))(_command)


def _version(value: bool) -> None:
    if value:
        from ...version import __version__  # it reads the package's metadata

        print(f"sodiate {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True)] = False,
) -> None:
    """Hold the options of every command."""
