"""rlmweb: wiring, command line and the two site-wide apps (teams, audit)."""
