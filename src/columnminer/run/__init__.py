"""Where work runs: many independent tasks, here or on a cluster."""
