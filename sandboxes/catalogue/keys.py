"""The things that are said of providers: their keys in the order of the page, and what each is called."""

from __future__ import annotations

from sandboxes.vendors import LOCAL

PROVIDERS = {
    "modal": "Modal",
    "e2b": "E2B",
    "daytona": "Daytona",
    "northflank": "Northflank",
    "blaxel": "Blaxel",
    "runloop": "Runloop",
    "cloudflare": "Cloudflare",
    LOCAL: "This machine",
}
"""Who is compared. A vendor stands here whether or not this installation has an adapter for it."""
COMPARED = tuple(name for name in PROVIDERS if name != LOCAL)

ADAPTERS = {"cloudflare": ("cloudflare", "cloudflare_worker")}
"""Where this installation has more than one way to a provider."""

CAPABILITIES = {
    "isolation": "Isolation",
    "gpu": "GPU",
    "resources": "Processor and memory",
    "region": "Region",
    "network_block": "Network policy",
    "compliance": "Compliance",
    "byoc": "Own cloud (BYOC)",
    "price": "Price",
    "start_up": "Start-up time",
    "concurrency": "Sandboxes at once",
    "session_length": "Longest session",
    "idle_timeout": "Idle timeout",
    "keep_alive": "Extending its life",
    "fs_snapshot": "File snapshot",
    "memory_snapshot": "Memory snapshot",
    "restore_many": "Many from one snapshot",
    "live_fork": "Live fork",
    "snapshot_expiry": "Life of a snapshot",
    "pause": "Pause and resume",
    "standby_resume": "Resume with memory",
    "persistence": "Lasting files",
    "templates": "Prepared images",
    "streaming": "Streamed output",
    "stdin": "Input to a process",
    "reattach": "Finding a process again",
    "port_url": "Ports from outside",
    "labels": "Labels",
    "credentials": "Keys for each team",
    "sdks": "Clients",
    "git_lsp": "Git and language servers",
    "workloads": "Other workloads",
    "edge": "Edge",
}
"""What every compared provider has one answer to, even if it is "not found"."""

TOPICS = {
    **CAPABILITIES,
    "encryption": "Encryption",
    "languages": "Languages in the sandbox",
    "developer_experience": "Developer experience",
    "customers": "Customers and money",
}
"""Claims may also be about these."""
