"""One module a suite, named like the suite."""
