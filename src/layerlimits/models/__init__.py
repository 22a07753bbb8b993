"""Loading models, finding their layers, removing layers, and saving the pruned model."""
