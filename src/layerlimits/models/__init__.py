"""Loading models, finding their layers, removing some, saving what is left."""
