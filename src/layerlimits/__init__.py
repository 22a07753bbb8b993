"""How many layers a language model can lose, by which method, before it stops reasoning."""

from layerlimits.version import __version__

__all__ = ["__version__"]
