"""Servers that speak the vendors' protocols, over one engine of real folders and processes."""
