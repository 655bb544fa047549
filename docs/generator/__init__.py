"""The reference pages that are made from config.yaml, actions.yaml and the code."""
