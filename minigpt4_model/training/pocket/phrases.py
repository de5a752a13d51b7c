"""How people ask about a picture and how they answer: the texts that `captions` fills in.

Fields: {it} a thing as first mentioned, {the} and {The} the thing known, {many} its plural, {is_} {does} {are} verbs that agree with it,
{number} {Number} a count in words, {noun} the counted thing, {bg} a colour, {a_bg} the same with its article, {medium} drawing or photo.
"""

BRIEF_REQUESTS = (
    "Describe this picture briefly.",
    "What does this picture show?",
    "Give a short caption for this picture.",
    "Describe the image in one sentence.",
    "What is in this picture?",
    "Please caption this image.",
    "Tell me in a few words what you see.",
    "Write one sentence about this picture.",
    "What do you see?",
    "Summarise what this image shows.",
)
NAME_QUESTIONS = (
    "What is this?",
    "What is the main object in this picture?",
    "Name the main object.",
    "What is it?",
    "Can you tell me what this is?",
    "What am I looking at?",
    "Which object is shown here?",
    "What is the thing in the picture called?",
    "What do we have here?",
    "Identify the object.",
)
NAME_ANSWERS = (
    "It is {it}.",
    "This is {it}.",
    "The picture shows {it}.",
    "That is {it}.",
    "It looks like {it}.",
    "You are looking at {it}.",
    "I see {it}.",
    "I think this is {it}.",
)
DESCRIPTION_REQUESTS = (
    "What is in this picture?",
    "What do you see?",
    "What does this picture show?",
    "Describe this image in one sentence.",
    "Describe the picture.",
    "Can you describe this image?",
    "What can you see in this picture?",
    "Tell me about this picture.",
    "What is going on here?",
    "Please describe what you see.",
    "What does the image show?",
    "How would you describe this picture?",
)
DETAIL_REQUESTS = (
    "Describe this picture in detail.",
    "Can you describe the image in detail?",
    "Tell me everything you see.",
    "Please give a detailed description.",
    "Describe the image as precisely as you can.",
    "What exactly is in the picture?",
    "I cannot see the picture. Describe it to me in detail.",
    "Explain in detail what this picture shows.",
)
COLOUR_QUESTIONS = (
    "What colour {is_} {the}?",
    "What color {is_} {the}?",
    "Which colour {does} {the} have?",
    "Can you tell me the colour of {the}?",
    "{The}: what colour {is_} {it}?",
    "Which colors do you see on {the}?",
    "What is the main colour of {the}?",
    "Tell me the color of {the}.",
    "How {is_} {the} coloured?",
)
COUNT_QUESTIONS = (
    "How many {many} are there?",
    "How many {many} do you see?",
    "Count the {many}.",
    "What is the number of {many} in the picture?",
    "How many {many} are in this picture?",
    "Can you count the {many}?",
    "How many {many} does the picture show?",
    "Tell me how many {many} there are.",
)
COUNT_ANSWERS = (
    "There {are} {number} {noun}.",
    "I see {number} {noun}.",
    "I count {number} {noun}.",
    "The picture shows {number} {noun}.",
    "{Number} {noun}.",
    "There {are} {number} {noun} in the picture.",
    "I can see {number} {noun}.",
    "{Number}: there {are} {number} {noun}.",
)
EXISTS_TAILS = (
    "in the picture",
    "in this picture",
    "in the image",
    "here",
    "in this image",
    "on the picture",
    "to be seen",
    "anywhere in the picture",
)
BACKGROUND_QUESTIONS = (
    "What colour is the background?",
    "What color is the background?",
    "Which colour does the background have?",
    "Describe the background.",
    "What is the colour behind {the}?",
    "What does the background look like?",
    "Can you tell me the background colour?",
    "What is the color behind {the}?",
)
BACKGROUND_ANSWERS = (
    "The background is {bg}.",
    "It is {bg}.",
    "There is a plain {bg} background.",
    "{The} {is_} on {a_bg} background.",
    "It has {a_bg} background.",
    "The colour behind {the} is {bg}.",
    "I see {a_bg} background.",
    "The background colour is {bg}.",
)
CAPTIONS = (
    "{what}.",
    "{what} on {ground}.",
    "This is {medium} of {what}.",
    "{medium} of {what} on {ground}.",
    "The picture shows {what}.",
    "There {is_} {what} in the picture.",
    "An image of {what}.",
    "{what} in front of {ground}.",
    "A picture of {what} on {ground}.",
    "I see {what}.",
    "{what}, shown on {ground}.",
)
LEFT_RIGHT_QUESTIONS = (
    "What is {side}?",
    "What do you see {side}?",
    "Which object is {side}?",
    "What is shown {side} of the picture?",
    "Name the thing {side}.",
    "Can you tell me what is {side}?",
    "And what is {side}?",
    "What is the object {side}?",
)
WHERE_QUESTIONS = (
    "Where {is_} {the}?",
    "Where in the picture {is_} {the}?",
    "Where {is_} {the} placed?",
    "Can you tell me where {the} {is_}?",
    "Where do you see {the}?",
    "What is the position of {the}?",
    "Where exactly {is_} {the}?",
    "Where can I find {the}?",
)
