"""How many layers a language model can lose, by which method, before it stops reasoning."""

__version__ = "0.1.0"
