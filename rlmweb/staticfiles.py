"""Static files in production: every file by its content's hash, and modules import one another by those names."""

from __future__ import annotations

from whitenoise.storage import CompressedManifestStaticFilesStorage


class HashedModulesStorage(CompressedManifestStaticFilesStorage):  # type: ignore[misc]  # it ships no types
    """Without this a browser would mix a new module with old ones that its cache still holds."""

    support_js_module_import_aggregation = True
