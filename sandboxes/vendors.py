"""The vendors in words: what each is called, and what a team enters to use it. Imports no SDK.

The names of the fields are the arguments of the provider's constructor; a test holds the two together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

LOCAL = "local"


@dataclass(frozen=True, slots=True)
class Field:
    """`secret`: encrypted at rest, never shown again. `example` is no real key: a provider made of it describes itself."""

    name: str
    label: str
    secret: bool = False
    required: bool = True
    kind: Literal["text", "url", "flag", "json"] = "text"
    help: str = ""
    example: str = "example"


@dataclass(frozen=True, slots=True)
class Vendor:
    """`extra`: what of this package has to be installed; empty: nothing more than the product itself."""

    name: str
    title: str
    fields: tuple[Field, ...]
    extra: str = ""
    where: str = ""
    """Where a person gets the key."""

    @property
    def secrets(self) -> tuple[str, ...]:
        return tuple(field.name for field in self.fields if field.secret)


def _url(name: str, help: str, example: str, *, required: bool = False) -> Field:
    return Field(name, "Address", required=required, kind="url", help=help, example=example)


VENDORS = {
    vendor.name: vendor
    for vendor in (
        Vendor(
            "modal",
            "Modal",
            (
                Field("token_id", "Token ID", help="Begins with ak-.", example="ak-example"),
                Field("token_secret", "Token secret", secret=True, help="Begins with as-.", example="as-example"),
                Field(
                    "environment",
                    "Environment",
                    required=False,
                    help="Of your workspace. Empty: its default.",
                    example="main",
                ),
                Field(
                    "image",
                    "Image",
                    required=False,
                    help="Of a registry, with Python 3.9 or later. Empty: Debian with the Python of this installation.",
                    example="python:3.11-slim",
                ),
                Field(
                    "memory_snapshots",
                    "Snapshots of memory",
                    required=False,
                    kind="flag",
                    help="An experiment of Modal's, kept for 7 days; not with GPUs.",
                    example="",
                ),
            ),
            where="modal.com/settings/tokens",
        ),
        Vendor(
            "cloudflare",
            "Cloudflare (sandbox bridge)",
            (
                _url("url", "Of the bridge that you deployed.", "https://sandboxes.example.workers.dev", required=True),
                Field("api_key", "Key of the bridge", secret=True, help="Its SANDBOX_API_KEY."),
                Field(
                    "instance_type", "Instance type", required=False, help="Empty: standard-2.", example="standard-2"
                ),
            ),
            where="your own deployment of the bridge of @cloudflare/sandbox 0.12",
        ),
        Vendor(
            "cloudflare_worker",
            "Cloudflare (our Worker)",
            (
                _url("url", "Of the Worker that you deployed.", "https://sandboxes.example.workers.dev", required=True),
                Field("api_key", "Key of the Worker", secret=True),
                Field(
                    "instance_type", "Instance type", required=False, help="Empty: standard-2.", example="standard-2"
                ),
            ),
            where="your own deployment of sandboxes/providers/cloudflare/worker",
        ),
        Vendor(
            "daytona",
            "Daytona",
            (
                Field("api_key", "API key", secret=True),
                Field("target", "Region", help="Of sandboxes that ask for none, e.g. us or eu.", example="us"),
                _url("api_url", "Empty: Daytona's own cloud.", "https://app.daytona.io/api"),
            ),
            extra="daytona",
            where="app.daytona.io, Keys; sandboxes and snapshots must be writable and deletable with it",
        ),
        Vendor(
            "e2b",
            "E2B",
            (
                Field("api_key", "API key", secret=True),
                Field(
                    "templates",
                    "Templates",
                    required=False,
                    kind="json",
                    help='Yours, with their cores and MiB, as JSON: {"my-template": [4, 8192]}. Empty: E2B\'s own.',
                    example="",
                ),
                Field(
                    "public_ports",
                    "Public ports",
                    required=False,
                    kind="flag",
                    help="Whoever knows the address of a port reaches it.",
                    example="",
                ),
            ),
            extra="e2b",
            where="e2b.dev/dashboard, Keys",
        ),
        Vendor(
            "northflank",
            "Northflank",
            (
                Field("api_token", "API token", secret=True),
                Field("project", "Project", help="Its id. The project holds the services and fixes their region."),
                _url("base_url", "Empty: Northflank's own cloud.", "https://api.northflank.com"),
            ),
            extra="northflank",
            where="app.northflank.com, team settings, API tokens",
        ),
        Vendor(
            "blaxel",
            "Blaxel",
            (
                Field("api_key", "API key", secret=True),
                Field("workspace", "Workspace", help="The one that the key belongs to."),
                Field(
                    "snapshots",
                    "Snapshots of Mark 3.1",
                    required=False,
                    kind="flag",
                    help="The workspace takes part in the private preview. Those sandboxes have no firewall yet.",
                    example="",
                ),
            ),
            where="app.blaxel.ai, profile, API keys",
        ),
        Vendor(
            "runloop",
            "Runloop",
            (
                Field("api_key", "API key", secret=True),
                Field(
                    "blueprint",
                    "Blueprint",
                    required=False,
                    help="What devboxes are made of. Empty: Runloop's own image.",
                    example="",
                ),
                Field(
                    "on_idle",
                    "After the idle time",
                    required=False,
                    help="suspend or shutdown. Empty: the devbox ends after the session's length.",
                    example="",
                ),
                Field(
                    "public_ports",
                    "Public ports",
                    required=False,
                    kind="flag",
                    help="Whoever knows the address of a port reaches it.",
                    example="",
                ),
                _url("api_url", "Empty: Runloop's own cloud.", "https://api.runloop.ai"),
            ),
            extra="runloop",
            where="platform.runloop.ai, API keys",
        ),
    )
}
TITLES = {LOCAL: "This machine", **{name: vendor.title for name, vendor in VENDORS.items()}}
