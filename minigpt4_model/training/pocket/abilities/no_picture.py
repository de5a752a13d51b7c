"""Without a picture: says that there is none and how to add one; small talk and simple questions, which need none.

The pairs of small talk are in `small_talk.txt`. A frozen LLM learns such answers through the blank picture (`chat.blank`), which it reads
where a conversation begins without one.
"""

import random
from functools import cache
from importlib import resources

from ..wording import usual
from .looking import ask_colour, ask_count, ask_description, ask_name
from .stock import Stock
from .talk import Album, Seen, Talk, Turn

ABOUT_A_PICTURE = (
    "What is in the picture?",
    "What is in this picture?",
    "Describe the picture.",
    "What is this?",
    "What do you see?",
    "Can you describe this image?",
    "What does the photo show?",
    "What colour is it in the picture?",
    "How many are there in the picture?",
    "Is there a cat in the picture?",
    "Tell me about this picture.",
    "What is on the left of the picture?",
    "Please caption this image.",
    "Write a poem about this picture.",
    "Tell me a story about this picture.",
    "Who is in the photo?",
    "Can you see the image?",
    "What kind of animal is this?",
    "Where is the dog in this picture?",
    "What is different between the two pictures?",
    "Write the HTML of this page.",
    "What is the main object?",
    "Describe this photo in detail.",
    "Is this a photo or a drawing?",
    "What colour is the background?",
)
NONE_THERE = (
    "I do not see a picture yet. Please add one, and I will gladly tell you about it.",
    "There is no picture in our conversation yet. Please upload one and ask me again.",
    "I am sorry, but I cannot see any picture. Could you add one, please?",
    "No picture has arrived yet. Drop one into the chat or upload it, and I will have a look.",
    "I would like to help, but there is no picture here. Please upload one first.",
    "I cannot see a picture. If you add one to your message, I will describe it.",
    "There is no image here yet. Please attach one to your question.",
    "It seems that no picture was added. Please upload it, then I can answer.",
    "Sorry, I have no picture to look at. You can add one with your next message.",
    "I cannot tell, because no picture has been added yet. Please upload one.",
)
_HERE_IT_IS = (
    "Here it is. What is it?",
    "Sorry, here is the picture. What do you see?",
    "Here you are. What is this?",
    "Now it is there. What does it show?",
    "I forgot it. Here is the picture: what is it?",
    "And now?",
)
_THANKS = (
    ("Thank you!", "You are welcome!"),
    ("Thanks.", "You are welcome. Is there anything else you would like to know?"),
    ("Thank you, that helps.", "I am glad that I could help."),
    ("Great, thanks!", "My pleasure!"),
    ("Thanks a lot.", "You are welcome. Feel free to ask me more about the picture."),
    ("That is all, thank you.", "You are welcome. Have a nice day!"),
)


@cache
def small_talk() -> tuple[Turn, ...]:
    """Questions that need no picture, with their answers."""
    lines = resources.files("minigpt4_model.training.pocket").joinpath("small_talk.txt").read_text("utf-8").splitlines()
    pairs = (line.split(" | ") for line in lines if line.strip() and not line.startswith("#"))
    return tuple((question, answer) for question, answer in pairs)


def no_picture(chance: random.Random, album: Album, stock: Stock) -> Talk:
    """Asked about a picture that is not there, or about something that needs none."""
    if chance.random() < 0.5:
        return Talk().add((chance.choice(ABOUT_A_PICTURE), usual(chance, NONE_THERE)))
    talk = Talk()
    for turn in chance.sample(small_talk(), chance.choice((1, 1, 2))):
        talk.add(turn)
    return talk


def picture_later(chance: random.Random, album: Album, stock: Stock) -> Talk:
    """First no picture, or small talk; then one comes and is spoken about."""
    seen = album.draw_scene(chance)
    if chance.random() < 0.5:
        talk = Talk().add((chance.choice(ABOUT_A_PICTURE), usual(chance, NONE_THERE)))
        asked, answer = _look(seen, chance, stock)
        return talk.add((chance.choice((*_HERE_IT_IS, asked)) if _open(asked) else asked, answer), seen)
    return Talk().add(chance.choice(small_talk())).add(_look(seen, chance, stock), seen)


def small_talk_beside(chance: random.Random, album: Album, stock: Stock) -> Talk:
    """A picture, and then a question that has nothing to do with it, or thanks."""
    seen = album.draw_scene(chance)
    talk = Talk()
    if chance.random() < 0.3:
        return talk.add(chance.choice(small_talk()), seen)
    talk.add(_look(seen, chance, stock), seen)
    return talk.add(chance.choice(_THANKS if chance.random() < 0.4 else small_talk()))


def _look(seen: Seen, chance: random.Random, stock: Stock) -> Turn:
    for ask in chance.sample((ask_name, ask_description, ask_colour, ask_count), 4):
        if turn := ask(seen.scene, chance, stock):
            return turn
    return ask_description(seen.scene, chance, stock)


def _open(question: str) -> bool:
    """Whether any description answers it, so that another open question can stand in its place."""
    return not any(word in question.lower() for word in ("colo", "many", "count", "number"))
