"""Our own Worker's protocol (`worker/worker.js`) over the engine."""
