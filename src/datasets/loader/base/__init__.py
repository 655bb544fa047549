"""What every room of the loader may use: the task, its limits, failures, progress and reports; no network, no volume."""
