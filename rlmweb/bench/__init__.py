"""Measurements that look at a whole installation from outside: the frame is `runs.bench`."""
