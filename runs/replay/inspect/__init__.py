"""Inspect: the variables of any step, what changed, one variable over the steps, expressions, downloads.

What manifests say is read without running anything. What needs the objects themselves runs in scratch sandboxes
(`runs.services.snapshots.scratch`) and never touches the session.
"""
