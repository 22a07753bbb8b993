"""Scoring: from a response to a verdict. Each module judges one kind of answer, without a model."""
