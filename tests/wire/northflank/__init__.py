"""Northflank's REST API for services and snapshots, and its exec protocol over WebSockets."""
