"""Snapshots of the nodes' sandboxes: taken after every step, stored, read, restored."""
