"""Commands that print IAM policies: `flowlake setup policy`, one for each."""

import typer

app = typer.Typer(
    name="policy",
    help="Print an IAM policy with just the rights that are needed.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.callback()
def policy() -> None:
    """Print an IAM policy with just the rights that are needed."""
