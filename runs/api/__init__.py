"""The REST API, version 1. Its OpenAPI document is at `/api/v1/openapi.json`, its page at `/docs/api/`."""
