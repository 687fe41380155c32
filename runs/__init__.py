"""Runs: sessions, recursion nodes, steps and events; the RLM engine; language-model clients; pages and API."""
