"""Contexts that are made, record by record, with the answers counted while they are written."""
