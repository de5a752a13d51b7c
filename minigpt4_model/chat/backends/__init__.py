"""Backends: what the page, the API and the verbs talk to. `base` is the interface, the other modules implement it."""
