"""The commands of `effectpairs` that train, ask and measure models: thin words over the flows, like those in `cli`."""

import typer

models = typer.Typer()
"""Laid into the command line's own app by `cli`, so it has no name."""
