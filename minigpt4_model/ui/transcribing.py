"""From a conversation of this server to a document: its texts as they are, its pictures as WebP of a given size."""

import io
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

import PIL.Image

from .conversation import WAITING, Conversation
from .stored_pictures import VIEW_SIDE, StoredPicture
from .transcript import Transcript, TranscriptExchange, TranscriptPicture, title_of

# Longest sides in pixels: what a browser keeps, which a model that reads 224 to 260 pixels sees almost as well; and what is exported.
HISTORY_SIDE = 384
EXPORT_SIDE = VIEW_SIDE


def transcribe(conversation: Conversation, model: str, longest_side: int = EXPORT_SIDE) -> Transcript:
    """The conversation as a document; without an answer that is still being written. Pictures whose files are gone are left out."""
    exchanges = tuple(
        TranscriptExchange(
            exchange.question,
            tuple(filter(None, (_transcribe_picture(picture, longest_side) for picture in exchange.pictures))),
            exchange.answer,
            exchange.state,
            exchange.note,
            exchange.settings,
        )
        for exchange in conversation.exchanges
        if exchange.state != WAITING
    )
    saved = datetime.now(UTC).isoformat(timespec="seconds")
    return Transcript(conversation.title or title_of(exchanges), model, saved, exchanges)


def _transcribe_picture(picture: StoredPicture, longest_side: int) -> TranscriptPicture | None:
    try:
        data = _webp(picture.path, longest_side)
    except OSError:  # a conversation that went out of use loses its files
        return None
    return TranscriptPicture(picture.path.name, picture.width, picture.height, "image/webp", data)


@lru_cache(maxsize=64)
def _webp(path: Path, longest_side: int) -> bytes:
    """Encoded once: a conversation is transcribed after each of its answers."""
    with PIL.Image.open(path) as image:
        image.thumbnail((longest_side, longest_side))
        file = io.BytesIO()
        image.save(file, "WEBP", quality=82, method=4)
    return file.getvalue()
