"""The language half on llama.cpp: the library's functions, one context that many answers share, and an engine on top."""
