"""Evaluation: prompts, the store of responses, and the evaluator, which computes only missing responses."""
