"""Generate reference pages from config.yaml, actions.yaml and the code."""
