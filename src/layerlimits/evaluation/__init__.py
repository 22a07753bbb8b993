"""Asking models: prompts, the store of answers, and the evaluator that asks only what is missing."""
