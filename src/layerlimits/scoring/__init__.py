"""Scoring: turns a response into a verdict. Each module scores one kind of answer; none needs a model."""
