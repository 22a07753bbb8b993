"""The report: one self-contained HTML file from the results of a run."""
