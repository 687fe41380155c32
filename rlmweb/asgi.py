"""HTTP and websockets.

Websockets pass the origin check and learn their user here; each consumer checks who may read what.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from importlib.util import find_spec

from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "rlmweb.settings.dev")

http = get_asgi_application()  # loads the apps, so whatever imports models comes after it

from rlmweb.settings import env  # noqa: E402

env.refuse_problems()
if "daphne.http_protocol" in sys.modules:
    from daphne.http_protocol import WebRequest

    from rlmweb.body_limit import limit_bodies

    limit_bodies(WebRequest)
routes = import_module("runs.routing").websocket_urlpatterns if find_spec("runs.routing") else []
websockets = AllowedHostsOriginValidator(AuthMiddlewareStack(URLRouter(routes)))
application = ProtocolTypeRouter({"http": http, "websocket": websockets})
