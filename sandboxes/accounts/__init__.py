"""What teams keep of providers: keys, an order of preference, attestations."""
