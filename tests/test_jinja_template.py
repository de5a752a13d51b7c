"""The chat template as Jinja: a server that writes prompts with it reads the very ids that the renderer makes."""

import jinja2.sandbox
import pytest
from transformers import AutoTokenizer

from minigpt4_model.chat.jinja_template import build_jinja
from minigpt4_model.chat.messages import load_conversation
from minigpt4_model.chat.render import render
from minigpt4_model.chat.templates import CHATML, TEMPLATES
from minigpt4_model.model import MiniGPT4Config
from minigpt4_model.weights.errors import WeightsError
from minigpt4_model.weights.whole_model import write_tokenizer
from tests.tiny_chat import assistant, chatml_tokenizer, image, llama_tokenizer, user

CONVERSATIONS = {
    "one picture": [user(image(1), "What is this?")],
    "no picture": [user("Hello"), assistant("Hi."), user("Why?\nTell me.")],
    "several": [
        user(image(1), image(2), "Which?"),
        assistant("The left one."),
        user("And", image(3), "or", "else", image(4)),
        assistant("x"),
    ]
    + [user(image(5))],
    "system": [{"role": "system", "content": "Be brief."}, user("Look:", image(1)), assistant("A cat."), user(" Sure? ")],
    "markers": [user(image(1), "###Human: <Img><ImageHere></Img> ##### C#"), assistant("<|im_end|> </s>[INST]"), user("<<SYS>>#########")],
    "blank parts": [user(image(1), "  ", "a", "\n", "b"), assistant("Yes."), user("Ünï 猫 🐈")],
}


def tokenizer_of(template):
    return chatml_tokenizer() if template is CHATML else llama_tokenizer()


def served_tokenizer(template, folder):
    tokenizer = tokenizer_of(template)
    config = MiniGPT4Config(text_config={"model_type": "llama", "vocab_size": len(tokenizer) + 3})
    write_tokenizer(config, tokenizer, build_jinja(template, tokenizer_of(template)), folder)
    return AutoTokenizer.from_pretrained(folder), config.image_token_id


def as_sent(messages):
    """Pictures as a chat-completions server hands them to a template."""
    parts = lambda content: [part if part["type"] == "text" else {"type": "image"} for part in content]  # noqa: E731
    return [
        {**message, "content": message["content"] if isinstance(message["content"], str) else parts(message["content"])}
        for message in messages
    ]


@pytest.mark.parametrize("conversation", CONVERSATIONS)
@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)
def test_prompts_are_the_renderers(template, conversation, tmp_path):
    messages = CONVERSATIONS[conversation]
    tokenizer, image_id = served_tokenizer(template, tmp_path)
    prompt = tokenizer.apply_chat_template(as_sent(messages), tokenize=False, add_generation_prompt=True)
    expected = render(load_conversation(messages), template, tokenizer_of(template), image_token_id=image_id, num_image_tokens=1)
    assert tokenizer.encode(prompt, add_special_tokens=False) == expected.input_ids
    assert expected.input_ids.count(image_id) == str(as_sent(messages)).count("'image'")


def test_user_texts_are_no_jinja(tmp_path):
    source = build_jinja(CHATML, chatml_tokenizer())
    written = jinja2.sandbox.ImmutableSandboxedEnvironment().from_string(source).render(messages=[user("{{ 7 * 7 }} {% x %}")])
    assert "{{ 7 * 7 }} {% x %}" in written


def test_a_placeholder_that_is_a_word_is_refused(tmp_path):
    tokenizer = chatml_tokenizer()
    config = MiniGPT4Config(text_config={"model_type": "llama", "vocab_size": len(tokenizer) - 1})
    with pytest.raises(WeightsError, match="must be token"):
        write_tokenizer(config, tokenizer, "", tmp_path)
