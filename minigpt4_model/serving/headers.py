"""Headers that tell a browser what a page of this server may do: nothing with any other host, and no frames around it but ours."""

import os

# Gradio's page needs inline styles and scripts, and its HTML component evaluates its template. The preview of a written page is a
# srcdoc frame: it inherits this policy and adds a stricter one of its own, and may go nowhere else.
_POLICY = (
    "default-src 'self'",
    "img-src 'self' data: blob:",
    "media-src 'self' blob:",
    "font-src 'self' data:",
    "style-src 'self' 'unsafe-inline'",
    "script-src 'self' 'unsafe-inline' 'unsafe-eval'",
    "worker-src 'self' blob:",
    "frame-src 'none'",
    "object-src 'none'",
    "base-uri 'self'",
    "form-action 'self'",
)


def security_headers() -> dict[str, str]:
    """The headers of every response. A Space's page is shown in a frame of huggingface.co."""
    around = "'self' https://huggingface.co" if os.environ.get("SPACE_ID") else "'self'"
    return {
        "Content-Security-Policy": "; ".join((*_POLICY, f"frame-ancestors {around}")),
        "Permissions-Policy": "camera=(self), microphone=(), geolocation=(), payment=(), usb=()",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }


class SecurityHeaders:
    """ASGI middleware that adds `security_headers` to every response; streams pass through untouched."""

    def __init__(self, app):
        self._app = app
        self._headers = [(name.lower().encode(), value.encode()) for name, value in security_headers().items()]

    async def __call__(self, scope, receive, send):
        async def send_with_headers(message):
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *self._headers]}
            await send(message)

        await self._app(scope, receive, send_with_headers if scope["type"] == "http" else send)
