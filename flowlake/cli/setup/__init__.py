"""Commands that set up: flow logs that are written, rights that suffice, stacks that run."""

import typer

from flowlake.cli.setup.checking import check
from flowlake.cli.setup.flow_logs import disable, enable, list_
from flowlake.cli.setup.policies import app as policy
from flowlake.cli.setup.templating import template

app = typer.Typer(
    name="setup",
    help="Make the logs exist, with the least rights.",
    epilog="Exit codes: 0 done; 1 AWS refused, or something is wrong; 2 wrong usage; 3 something "
    "is not as it should be.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.command()(template)
app.add_typer(policy)
app.command()(check)
app.command()(enable)
app.command("list")(list_)
app.command()(disable)
