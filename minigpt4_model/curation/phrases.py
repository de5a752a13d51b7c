"""What a describing model says when it does not describe: patterns, each in a list with one meaning. English, as the models' habits are.

To add one, add a line. A pattern is matched anywhere in a text, capitals or not.
"""

import re

# What stands between turns in a prompt, or in place of a picture, in the templates of this project and of its relatives.
TEMPLATE = (
    r"#{2,}\s*(?:human|assistant|user|system|instruction|response)\b\s*:?",
    r"#{3,}",
    r"</?(?:img|image|imagehere|imagefeature|s|bos|eos|pad|unk)>",
    r"<\|[^|<>\n]{1,40}\|>",
    r"\[/?INST\]|<</?SYS>>",
    r"(?:^|\n|[.!?]\s)\s*(?:human|assistant|user|system)\s*:",
)
SELF = (
    r"\bas an? (?:(?:large |multimodal |vision[- ])*language |artificial intelligence|ai\b)[\w -]*",
    r"\bi(?:'| a|’)m (?:just |only )?an? (?:ai|bot|chatbot|(?:large )?language model|assistant|computer program)\b",
    r"\bi(?: am|'m|’m) (?:un|not )able to (?:see|view|look|display|process)\b",
    r"\bi (?:can ?not|can't|can’t|do not|don't|don’t) (?:see|view|display|have the ability|have access to)\b",
    r"\b(?:my|the) (?:training data|knowledge cutoff)\b",
    r"\bopenai\b|\bchatgpt\b|\bvicuna\b|\bminigpt",
)
# The two that the paper names as frequent (3.2), and their kin.
APOLOGY = (
    r"\bi(?:'| a|’)m (?:very |so )?sorry\b",
    r"\b(?:i )?(?:apologi[sz]e|my apologies)\b",
    r"\bsorry,? (?:but|for|about|i)\b",
    r"\bi (?:have )?made (?:a|an|some) (?:mistake|error)s?\b",
)
INSTRUCTION = (
    r"\bas (?:you )?(?:requested|instructed|asked)\b",
    r"\byou (?:have )?(?:asked|requested|told|want(?:ed)?) (?:me|for)\b",
    r"\b(?:the|your|this) (?:given |above |input |corrected |revised |original )(?:paragraph|text|description|prompt|sentence)\b",
    r"\bhere(?:'s| is|’s) (?:the|a|my|your) (?:corrected|revised|rewritten|improved|updated|detailed description)\b",
    r"\b(?:sure|certainly|of course)[,!] (?:here|i)\b",
    r"\b(?:corrected|revised) (?:paragraph|text|version|description)\s*:",
    r"\bif you (?:have any|need|would like)\b",
    r"\b(?:let me know|feel free to|please provide|how can i (?:help|assist))\b",
)
LINKS = (r"\bhttps?://\S+", r"\bwww\.\w\S*", r"\b[\w.+-]+@[\w-]+\.\w{2,}\b", r"\]\(\S+\)")
# Coordinates as grounding models and detectors write them.
BOXES = (
    r"\{?(?:<\d{1,4}>){2,4}\}?",
    r"[\[({<]\s*-?\d+(?:\.\d+)?(?:\s*,\s*-?\d+(?:\.\d+)?){2,}\s*[\])}>]",
    r"</?(?:box|ref|p|quad|loc\d*)>",
)
MARKUP = (
    r"<(?:/?[a-z][a-z0-9]*(?:\s[^<>]*)?/?|!--)>",
    r"```",
    r"\*\*[^*\n]+\*\*",
    r"(?m)^\s{0,3}(?:#{1,6}\s|[-*•]\s|\d{1,2}[.)]\s)",
    r"&(?:amp|lt|gt|quot|nbsp|#\d+);",
)
# Bytes read in the wrong encoding, characters that print nothing, and runs of marks that mean nothing.
ODD_CHARACTERS = (
    r"[\ufffd\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u200b-\u200f\u202a-\u202e\ufeff]",
    r"[ÃÂâ][\x80-\xbf€™œ\u201c\u201d]",
    r"([^\w\s.])\1{3,}",
    r"\.{5,}|(?:\. ){4,}",
    r"[~^|\\_=]{3,}",
)


def compiled(*lists: tuple[str, ...]) -> re.Pattern:
    """One pattern that finds any of them."""
    joined = [pattern for patterns in lists for pattern in patterns]
    flags = "(?m)" if any(pattern.startswith("(?m)") for pattern in joined) else ""
    return re.compile(flags + "|".join(f"(?:{_free(pattern)})" for pattern in joined), re.IGNORECASE)


def _free(pattern: str) -> str:
    return pattern.removeprefix("(?m)")
