"""The bridge of `@cloudflare/sandbox` 0.12.10, over the engine."""
