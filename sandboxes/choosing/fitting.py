"""Does a provider fit? Found out without the network, before anything is spent."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from decimal import Decimal

from django.utils import timezone

from rlmweb.teams.models import Team
from sandboxes.accounts.opening import describing
from sandboxes.contract import Description, Estimate, Isolation, Problem, Spec
from sandboxes.errors import SandboxError, Unsupported
from sandboxes.models import ProviderAccount, ProviderAttestation
from sandboxes.needs import Needs
from sandboxes.registry import PROVIDERS, create_provider
from sandboxes.vendors import LOCAL, TITLES, VENDORS

STRENGTH = tuple(Isolation)


@dataclass(frozen=True, slots=True)
class Fit:
    """One provider against one set of needs. Found out without the vendor's client."""

    name: str
    title: str
    problems: tuple[Problem, ...] = ()
    estimate: Estimate = field(default_factory=lambda: Estimate(None))

    missing_key: bool = False

    @property
    def fits(self) -> bool:
        return not self.problems

    def __str__(self) -> str:
        return f"{self.title}: " + ("; ".join(problem.message for problem in self.problems) or "fits")


def fits(needs: Needs, spec: Spec, team: Team) -> list[Fit]:
    """Every provider: those that fit first, the cheapest of them first, and one whose price is not known after those."""
    found = [fit_of(name, needs, spec, team) for name in PROVIDERS]
    unknown = Decimal("Infinity")
    return sorted(
        found,
        key=lambda fit: (
            not fit.fits,
            fit.estimate.usd_per_hour if fit.estimate.usd_per_hour is not None else unknown,
            fit.title,
        ),
    )


def fit_of(name: str, needs: Needs, spec: Spec, team: Team) -> Fit:
    """Raises `InvalidSpec` for a name that nobody knows."""
    title = TITLES.get(name, name)
    account = None
    problems: list[Problem] = []
    if name in VENDORS:
        account = ProviderAccount.objects.filter(team=team, provider=name).first()
        if account is None:
            text = f"{title}: the team {team.name} has no key for it. Enter one under Providers."
            problems.append(Problem("provider", text))
    elif name != LOCAL:
        create_provider(name)  # says which there are
    try:
        described = describing(name, account)
    except Unsupported:
        return Fit(name, title, (Problem("provider", _missing(name)),))
    except SandboxError as error:
        return Fit(name, title, (Problem("provider", f"{title}: {error}"),))
    estimate = described.estimate(spec)
    problems += described.validate(spec)
    problems += _beyond_the_spec(title, needs, described, estimate, attested_kinds(team, name))
    return Fit(name, title, tuple(dict.fromkeys(problems)), estimate, missing_key=name in VENDORS and account is None)


def attested_kinds(team: Team, provider: str) -> set[str]:
    """Attestations that the team has entered and that are valid today."""
    valid = ProviderAttestation.objects.filter(team=team, provider=provider, valid_until__gte=timezone.now().date())
    return set(valid.values_list("kind", flat=True))


def _missing(name: str) -> str:
    vendor = VENDORS[name]
    return f"{vendor.title}: its package is not installed here. Install it with: pip install 'rlmweb[{vendor.extra}]'"


def _beyond_the_spec(
    title: str, needs: Needs, described: Description, estimate: Estimate, attested: Collection[str]
) -> list[Problem]:
    """What no vendor can judge alone."""
    problems: list[Problem] = []
    capabilities = described.capabilities()
    memory = capabilities.get("memory_snapshot")
    if needs.memory_snapshot and not (memory and memory.value):
        problems.append(Problem("memory_snapshot", f"{title} cannot keep running processes in a snapshot"))
    missing = [kind for kind in needs.attestations if kind not in attested]
    if missing:
        problems.append(
            Problem("attestations", f"{title}: your team has no valid record of {', '.join(missing)} from it")
        )
    if needs.max_usd_per_hour is not None:
        problems += _over_budget(title, Decimal(str(needs.max_usd_per_hour)), estimate)
    if not offers_isolation(described, needs):
        problems.append(Problem("isolation", f"{title} does not isolate as strongly as {needs.isolation}"))
    return problems


def offers_isolation(described: Description, needs: Needs) -> bool:
    """Only where the provider says what it has; where it says nothing, `validate` has judged."""
    offered = described.capabilities().get("isolation")
    if not needs.isolation or offered is None:
        return True
    return any(STRENGTH.index(each) >= STRENGTH.index(Isolation(needs.isolation)) for each in offered.value)


def _over_budget(title: str, most: Decimal, estimate: Estimate) -> list[Problem]:
    if estimate.usd_per_hour is None:
        why = f" ({estimate.note})" if estimate.note else ""
        text = f"what an hour costs at {title} is not known{why}, so a budget cannot be held"
    elif estimate.usd_per_hour > most:
        text = f"an hour at {title} costs about {estimate.usd_per_hour:.4f} USD, more than {most:.4f}"
    else:
        return []
    return [Problem("max_usd_per_hour", text)]
