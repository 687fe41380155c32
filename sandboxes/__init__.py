"""Sandboxes: the provider contract, the in-sandbox runner and the providers that supply isolated machines."""
