"""From a document to a conversation of this server. The document may come from anybody: its pictures are opened as uploads are."""

from ..chat.backends.base import BackendDescription
from ..chat.pictures import PictureError, load_picture
from .conversation import Conversation, ConversationStore, Exchange
from .transcript import Transcript, TranscriptError, TranscriptPicture


def restore(transcript: Transcript, store: ConversationStore, about: BackendDescription, record_id: str | None = None) -> Conversation:
    """A new conversation in `store` with what `transcript` holds. Raises `TranscriptError`; then nothing is kept."""
    count = sum(len(exchange.pictures) for exchange in transcript.exchanges)
    room = about.context_length // 2 // about.image_tokens
    if count > room:
        raise TranscriptError(f"The conversation has {count} pictures; {about.title} has room for {room}.")
    opened = [[_load(picture) for picture in exchange.pictures] for exchange in transcript.exchanges]
    exchanges = [
        Exchange(
            exchange.question,
            tuple(store.store_picture(loaded, picture.name) for loaded, picture in zip(pictures, exchange.pictures, strict=True)),
            exchange.answer,
            exchange.state,
            exchange.note,
            exchange.settings,
        )
        for exchange, pictures in zip(transcript.exchanges, opened, strict=True)
    ]
    return store.open(exchanges, record_id=record_id, title=transcript.title)


def _load(picture: TranscriptPicture):
    try:
        return load_picture(picture.data)
    except PictureError as fault:
        raise TranscriptError(f"The picture {picture.name} of this conversation cannot be opened: {fault}") from fault
