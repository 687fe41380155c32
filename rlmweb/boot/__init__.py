"""Everything that runs before Django is importable: environment, embedded services, supervisor. Standard
library only.
"""
