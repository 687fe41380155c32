"""Settings. `dev` is the default, `prod` the strict one, `test` what pytest uses; all read the environment
through `env`.
"""
