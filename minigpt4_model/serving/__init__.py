"""Serving: where a server listens, how it runs, and the OpenAI-compatible API."""
