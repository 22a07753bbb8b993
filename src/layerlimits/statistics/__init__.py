"""Intervals and significance tests; numbers in, numbers out."""
