"""Recovery: the pruned model is finetuned on what the unpruned one answered (arXiv 2602.01997)."""
