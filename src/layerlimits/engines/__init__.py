"""Engines answer prompts with a model. One file each, exporting one class named like the file."""
