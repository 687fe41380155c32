"""Modal: gVisor or VM sandboxes with GPUs."""
