"""Branch rollouts: many forks from chosen steps, scored, to see at which step a run went wrong."""
