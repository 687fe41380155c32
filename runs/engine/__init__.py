"""The RLM engine: pure functions from what happened to what to do next. No Django, no SDK, no clock, no I/O."""
