"""Language-model clients: one protocol, one module for each API, prices, and the scripted model."""
