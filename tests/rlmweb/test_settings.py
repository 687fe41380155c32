import pytest
from django.core.management import call_command


def test_the_project_passes_its_own_checks() -> None:
    call_command("check")


@pytest.mark.django_db
def test_the_database_is_postgresql() -> None:
    from django.db import connection

    assert connection.vendor == "postgresql"
