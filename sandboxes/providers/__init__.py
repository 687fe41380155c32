"""Providers, one file each: the only modules that know a vendor's SDK."""
