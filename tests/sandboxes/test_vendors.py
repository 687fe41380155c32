"""What is asked of a team is what the provider's constructor takes."""

from __future__ import annotations

import inspect

import pytest

from sandboxes.accounts.addresses import OWN_HOSTS, check_address
from sandboxes.contract import Spec
from sandboxes.registry import PROVIDERS, create_provider, provider_class
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
