"""Archives: a session with all that belongs to it in one file, written here and read on another installation."""
