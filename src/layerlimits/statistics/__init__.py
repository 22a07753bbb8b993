"""Confidence intervals and significance tests on plain numbers."""
