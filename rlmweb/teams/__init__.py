"""Teams: who works together. Roles, quotas and policies live here."""
