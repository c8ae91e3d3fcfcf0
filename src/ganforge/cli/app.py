"""The command line's verbs, gathered in the order in which `--help` lists them."""

# isort: off
from ganforge.cli.common import app
from ganforge.cli import training, applying, latents, judging, tools

__all__ = ["app", "applying", "judging", "latents", "tools", "training"]
