"""Which providers fit what a session needs, why the others do not, and what an hour costs."""

from sandboxes.choosing.fitting import Fit, attested_kinds, fit_of, fits
from sandboxes.choosing.trying import Created, create_at_first

__all__ = ["Created", "Fit", "attested_kinds", "create_at_first", "fit_of", "fits"]
