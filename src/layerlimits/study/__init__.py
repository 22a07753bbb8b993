"""The experiment: configuration, estimate, preflight, session, stages, pipeline."""
