"""Writes. One change, its events and its audit entry commit together."""
