"""What the store keeps and what it gives up: who uses a content, retention, pins, deleting sessions, collecting garbage.

`usage` knows every place that names a content. A content that no place names and that is older than a grace age is
deleted; everything else follows from taking names away.
"""
