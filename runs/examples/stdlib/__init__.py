"""The source of the running interpreter's standard library as one long text, with questions that `ast` has answered."""
