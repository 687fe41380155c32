"""What is asked of a team is what the provider's constructor takes."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

from sandboxes.accounts.addresses import OWN_HOSTS, check_address
from sandboxes.contract import Spec
from sandboxes.errors import Unsupported
from sandboxes.registry import PROVIDERS, create_provider, describe, provider_class
from sandboxes.vendors import LOCAL, TITLES, VENDORS


def test_every_provider_is_described() -> None:
    assert set(VENDORS) | {LOCAL} == set(PROVIDERS) == set(TITLES)


@pytest.mark.parametrize("name", VENDORS)
def test_the_fields_are_arguments_of_the_constructor(name: str) -> None:
    parameters = inspect.signature(provider_class(name)).parameters
    fields = {field.name: field for field in VENDORS[name].fields}
    assert set(fields) <= set(parameters)
    needed = {key for key, parameter in parameters.items() if parameter.default is parameter.empty}
    assert needed <= {key for key, field in fields.items() if field.required}
    assert any(field.secret for field in fields.values())


@pytest.mark.parametrize("name", VENDORS)
def test_a_provider_made_of_the_examples_describes_itself_without_the_network(name: str) -> None:
    values = {field.name: field.example for field in VENDORS[name].fields if field.kind not in ("flag", "json")}
    provider = create_provider(name, **values)
    assert provider.capabilities()
    provider.validate(Spec())
    provider.estimate(Spec())


@pytest.mark.parametrize("name", VENDORS)
def test_the_example_addresses_are_the_vendors_own(name: str) -> None:
    assert OWN_HOSTS[name]
    for field in VENDORS[name].fields:
        if field.kind == "url":
            check_address(name, field.example)


def test_describing_every_vendor_imports_no_client() -> None:
    """They take seconds and tens of megabytes each, and pages describe all of them."""
    code = """
import sys
from sandboxes.contract import Spec
from sandboxes.registry import DESCRIPTIONS, SDKS, describe
for name in DESCRIPTIONS:
    described = describe(name, api_key="example", anything="else")
    described.capabilities(), described.validate(Spec()), described.estimate(Spec())
print(sorted({module.split(".")[0] for module in sys.modules} & {*SDKS.values(), "modal", "httpx", "aiohttp"}))
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (ran.stdout.strip(), ran.stderr) == ("[]", "")


@pytest.mark.parametrize("name", VENDORS)
def test_a_description_says_what_the_provider_says(name: str) -> None:
    values = {field.name: field.example for field in VENDORS[name].fields if field.kind not in ("flag", "json")}
    provider, described = create_provider(name, **values), describe(name, **values)
    spec = Spec(memory_mb=512, cpu=0.5)
    assert described.name == provider.name == name
    assert described.capabilities() == provider.capabilities()
    assert list(described.validate(spec)) == list(provider.validate(spec))
    assert described.estimate(spec) == provider.estimate(spec)


def test_a_client_that_is_not_installed_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sandboxes.registry._installed", lambda package: False)
    with pytest.raises(Unsupported, match="e2b"):
        describe("e2b")
