"""Recovery: finetune a pruned model on self-generated answers of the unpruned model (arXiv 2602.01997)."""
