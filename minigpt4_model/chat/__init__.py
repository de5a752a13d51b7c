"""Conversations: messages, chat templates, settings, picture loading, the engine and the backends."""
