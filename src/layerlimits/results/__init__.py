"""From stored answers to one document: figures, comparisons, verdict, warnings."""
