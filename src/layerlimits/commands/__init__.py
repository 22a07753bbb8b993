"""What the commands do: `cli.py` only says which options there are."""
