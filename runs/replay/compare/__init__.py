"""Two sessions side by side: what they have in common, where they part, and what differs from there."""
