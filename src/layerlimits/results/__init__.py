"""From stored answers to one document: figures, comparisons, headline, warnings."""
