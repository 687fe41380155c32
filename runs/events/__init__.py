"""The event log: typed events, their only writer, and the fold that turns them into a tree."""
