"""What is said about the providers, by whom and since when, and what we measured ourselves.

`claims/*.jsonl` are shipped with the product, one row a line; a team adds rows of its own and corrects ours; measurements
come from sessions and from `manage.py bench providers`. Nothing here is true for ever: every row has a date and a source.
"""
