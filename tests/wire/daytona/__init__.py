"""Daytona's REST API and the toolbox of its sandboxes, held to the vendor's own models."""
