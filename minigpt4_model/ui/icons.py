"""The page's icons: outlines on a 24 by 24 grid, drawn here so that no host is asked for them."""

_OUTLINES = {
    "close": '<path d="M6 6l12 12M18 6L6 18"/>',
    "compare": '<rect x="3" y="5" width="7" height="14" rx="1.5"/><rect x="14" y="5" width="7" height="14" rx="1.5"/>',
    "eye": '<path d="M2.5 12S6 5.5 12 5.5 21.5 12 21.5 12 18 18.5 12 18.5 2.5 12 2.5 12z"/><circle cx="12" cy="12" r="2.8"/>',
    "history": '<path d="M3.5 12a8.5 8.5 0 1 0 2.8-6.3L3.5 8.2M3.5 3.5v4.7h4.7M12 7.5V12l3 2"/>',
    "html": '<path d="M8.5 7l-5 5 5 5M15.5 7l5 5-5 5"/>',
    "share": '<path d="M12 15V4M7.5 8.2L12 3.7l4.5 4.5M5 12.5v6.8h14v-6.8"/>',
    "new": '<path d="M12 5v14M5 12h14"/>',
    "settings": '<path d="M4 7h9M19 7h1M4 17h1M11 17h9"/><circle cx="16" cy="7" r="2.6"/><circle cx="8" cy="17" r="2.6"/>',
    "tasks": '<path d="M12 3.5l1.9 5.1L19 10.5l-5.1 1.9L12 17.5l-1.9-5.1L5 10.5l5.1-1.9zM18.5 15.5l1 2.5 2.5 1-2.5 1-1 2.5-1-2.5-2.5-1z"/>',
}


def icon(name: str) -> str:
    """An SVG that screen readers pass over. Raises `KeyError` for an unknown name."""
    return f'<svg class="icon" viewBox="0 0 24 24" aria-hidden="true">{_OUTLINES[name]}</svg>'
