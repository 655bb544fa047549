"""Jobs in the charm's namespace: their inputs, lifecycle, progress and logs."""
