"""Re-execution: the recorded code again with the recorded replies, in scratch sandboxes, compared step by step."""
