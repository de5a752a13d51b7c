"""The page: one file per panel. It talks to a backend's interface and knows nothing of torch.

`page.build_page` lays the panels out and wires them, `server.build_server` puts the page on a FastAPI application,
`conversation` keeps what was said on the server; the browser only ever holds a view of it.
"""
