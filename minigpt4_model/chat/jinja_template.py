"""A chat template as Jinja, for servers that write prompts themselves (vLLM, transformers' `apply_chat_template`).

What it writes is what `render.render` writes for chatting, `<ImageHere>` where a picture goes, user texts escaped. Two things of the
renderer are not the template's to do: texts are not tokenised apart, and a blank picture (`chat.blank`) cannot be brought along.
"""

import json
from typing import Any

from .templates import ChatTemplate, template_markers

IMAGE = "<ImageHere>"
# Each round breaks what the one before left of a run of one character, such as "#####"; no run needs more.
_ROUNDS = 5

_SOURCE = """\
{%- macro escaped(text) -%}
{%- set found = namespace(text=text) -%}
{%- for _ in range(ROUNDS) -%}
{%- for marker in MARKERS -%}
{%- set found.text = found.text.replace(marker, marker[0] ~ " " ~ marker[1:]) -%}
{%- endfor -%}
{%- endfor -%}
{{- found.text -}}
{%- if found.text and found.text[-1] in STOP_STARTS -%}{{- " " -}}{%- endif -%}
{%- endmacro -%}
{{- BEGIN -}}
{%- if DEFAULT_SYSTEM is not none and messages[0].role != "system" -%}
{{- SYSTEM[0] ~ DEFAULT_SYSTEM ~ SYSTEM[1] -}}
{%- endif -%}
{%- for message in messages -%}
{%- set parts = [{"type": "text", "text": message.content}] if message.content is string else message.content -%}
{%- set turn = namespace(text="", pictured=false, any=false) -%}
{%- if message.role == "user" -%}
{{- USER[0] -}}
{%- for part in parts -%}
{%- if part.type == "text" -%}
{%- if part.text.strip() -%}
{%- set turn.text = turn.text ~ ("\\n" if turn.text else "") ~ part.text -%}
{%- endif -%}
{%- else -%}
{%- if turn.text -%}
{{- (AFTER_PICTURE if turn.pictured else "") ~ escaped(turn.text) -}}
{%- endif -%}
{%- if MESSAGE_PER_PICTURE and (turn.text or turn.pictured) -%}{{- USER[1] ~ USER[0] -}}{%- endif -%}
{{- PICTURE[0] ~ IMAGE ~ PICTURE[1] -}}
{%- set turn.text = "" -%}
{%- set turn.pictured = true -%}
{%- endif -%}
{%- endfor -%}
{%- if turn.text -%}
{{- (AFTER_PICTURE if turn.pictured else "") ~ escaped(turn.text) -}}
{%- endif -%}
{{- USER[1] -}}
{%- else -%}
{%- for part in parts -%}
{%- if part.text -%}
{%- set turn.text = turn.text ~ ("\\n" if turn.text else "") ~ part.text -%}
{%- endif -%}
{%- endfor -%}
{%- if message.role == "system" -%}
{{- SYSTEM[0] ~ escaped(turn.text) ~ SYSTEM[1] -}}
{%- else -%}
{{- ASSISTANT[0] ~ escaped(turn.text) ~ ANSWER_END ~ ASSISTANT[1] -}}
{%- endif -%}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- ASSISTANT[0] -}}{%- endif -%}
"""


def build_jinja(template: ChatTemplate, tokenizer: Any) -> str:
    """The Jinja source for a family of LLMs and its tokenizer."""
    values = {
        "ROUNDS": _ROUNDS,
        "MARKERS": template_markers(template, tokenizer),
        "STOP_STARTS": [stop[0] for stop in template.stop_texts],
        "BEGIN": tokenizer.bos_token if template.bos else "",
        "SYSTEM": template.system,
        "DEFAULT_SYSTEM": template.default_system,
        "USER": template.user,
        "ASSISTANT": template.assistant,
        "ANSWER_END": template.answer_end,
        "PICTURE": template.picture,
        "AFTER_PICTURE": template.after_picture,
        "MESSAGE_PER_PICTURE": template.message_per_picture,
        "IMAGE": IMAGE,
    }
    head = "".join(f"{{%- set {name} = {_literal(value)} -%}}\n" for name, value in values.items())
    return head + _SOURCE


def _literal(value: Any) -> str:
    """`value` as Jinja writes it: JSON, but for none."""
    return "none" if value is None else json.dumps(value)
