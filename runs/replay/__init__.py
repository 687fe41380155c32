"""Going back: inspect, re-execute, fork, roll out, compare, keep and move recorded sessions."""
