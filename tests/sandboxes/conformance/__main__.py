"""Write the guide's page anew."""

import os
from pathlib import Path

import django

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "rlmweb.settings.dev")
    django.setup()
    from tests.sandboxes.conformance.matrix import matrix

    (Path(__file__).parents[3] / "sandboxes/docs/conformance.md").write_text(matrix())
