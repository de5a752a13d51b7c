"""The blank picture that stands in for a picture where a conversation begins without one.

A frozen LLM that was only ever trained behind pictures goes on as if it saw one. A model whose config says `blank_picture` reads this
one instead, and has learned to say that no picture is there: the role that the null condition has in classifier-free guidance.
"""

from functools import cache

import PIL.Image

from .pictures import LoadedPicture

GREY = (128, 128, 128)


@cache
def blank_picture() -> LoadedPicture:
    """The same grey square always, so that it is encoded once."""
    return LoadedPicture(PIL.Image.new("RGB", (64, 64), GREY), digest="blank")
