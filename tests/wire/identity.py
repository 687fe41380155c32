"""An identity provider that speaks OpenID Connect: discovery, the code flow with PKCE, signed tokens.

It knows one person at a time and asks nothing: whoever is sent to it comes back signed in, or refused.
"""

from __future__ import annotations

import base64
import hashlib
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

CLIENT, SECRET = "rlmweb-of-a-test", "secret-of-a-test"
KEY_ID = "key-1"


@dataclass
class IdentityProvider:
    """`person`: the claims of who is signed in there; None: it refuses. `wrong`: what is wrong with its answers."""

    person: dict[str, Any] | None = None
    wrong: str = ""
    issuer: str = ""
    asked: list[dict[str, str]] = field(default_factory=list)
    """Queries of the authorization requests."""
    _codes: dict[str, dict[str, Any]] = field(default_factory=dict)
    _tokens: dict[str, dict[str, Any]] = field(default_factory=dict)
    _key: Any = field(default_factory=lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048))

    @property
    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self.discovery),
                Route("/authorize", self.authorize),
                Route("/token", self.token, methods=["POST"]),
                Route("/userinfo", self.userinfo),
                Route("/jwks", self.jwks),
            ]
        )

    async def discovery(self, request: Request) -> Response:
        paths = {"authorization_endpoint": "authorize", "token_endpoint": "token", "userinfo_endpoint": "userinfo"}
        said: dict[str, Any] = {name: f"{self.issuer}/{path}" for name, path in paths.items()}
        said |= {"issuer": self.issuer, "jwks_uri": f"{self.issuer}/jwks", "response_types_supported": ["code"]}
        said |= {"token_endpoint_auth_methods_supported": ["client_secret_post"], "subject_types_supported": ["public"]}
        return JSONResponse({**said, "id_token_signing_alg_values_supported": ["RS256"]})

    async def authorize(self, request: Request) -> Response:
        query = dict(request.query_params)
        self.asked.append(query)
        answer = {"state": query["state"]}
        if self.person is None:
            answer["error"] = "access_denied"
        else:
            answer["code"] = uuid4().hex
            self._codes[answer["code"]] = {**query, "person": self.person}
        return RedirectResponse(f"{query['redirect_uri']}?{urlencode(answer)}", 302)

    async def token(self, request: Request) -> Response:
        form = await request.form()
        asked = self._codes.pop(str(form.get("code")), None)
        if (form.get("client_id"), form.get("client_secret")) != (CLIENT, SECRET):
            return JSONResponse({"error": "invalid_client"}, 401)
        if asked is None or challenge_of(str(form.get("code_verifier"))) != asked.get("code_challenge"):
            return JSONResponse({"error": "invalid_grant"}, 400)
        access = uuid4().hex
        self._tokens[access] = asked["person"]
        claims = {**asked["person"], "iss": self.issuer, "aud": CLIENT, "iat": int(time.time())}
        claims["exp"] = int(time.time()) + (-60 if self.wrong == "expired" else 60)
        if self.wrong == "audience":
            claims["aud"] = "another client"
        if self.wrong == "issuer":
            claims["iss"] = "https://elsewhere.example"
        signed = jwt.encode(claims, self._key, algorithm="RS256", headers={"kid": KEY_ID})
        return JSONResponse({"access_token": access, "token_type": "Bearer", "expires_in": 60, "id_token": signed})

    async def userinfo(self, request: Request) -> Response:
        person = self._tokens.get(request.headers.get("authorization", "").removeprefix("Bearer "))
        return JSONResponse(person or {"error": "invalid_token"}, 200 if person else 401)

    async def jwks(self, request: Request) -> Response:
        key = {**RSAAlgorithm.to_jwk(self._key.public_key(), as_dict=True), "kid": KEY_ID, "alg": "RS256"}
        return JSONResponse({"keys": [key]})


def challenge_of(verifier: str) -> str:
    """RFC 7636, method S256."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
