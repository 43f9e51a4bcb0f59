"""What a language model's answer is when everything around it is taken away: one paragraph that is a prompt.

Models think aloud, greet, set headings, make several offers and explain themselves afterwards. Knows nothing of what
was asked for except the person's prompt, whose own words are never taken for such things. Whether the answer refuses
(`refusals`) or is faithful (`faithfulness`) is not its business.
"""

import json
import re
from collections.abc import Callable
from itertools import pairwise

from krea_studio.expansion.words import masked, quoted, sentence_ends
from krea_studio.recipe.request import clean_text

MOST_CHARACTERS = 20_000  # of an answer that are read, thoughts not counted; the longest prompt has half of them

_THOUGHT = r"(?:\w{1,20}[:_])?(?:think|thinking|thoughts?|thought_process|reasoning|analysis|reflection|scratchpad|cot)"
# Of the marks that models put around their thoughts, also those with a model's own prefix (<seed:think>), with
# attributes (<think duration="3">), in square brackets ([THINK]), or without special characters (assistantfinal).
_THOUGHT_END = re.compile(
    rf"[<\[] ?/ ?{_THOUGHT} ?[>\]]|◁/think▷|<\|/{_THOUGHT}\|>|<\|end_(?:of_)?{_THOUGHT}\|>|<\|{_THOUGHT}_end\|>"
    r"|<\|channel\|>final[^<]{0,20}(?:<\|constrain\|>[^<]{0,20})?<\|message\|>|<channel\|>|<\|inner_suffix\|>"
    r"|<unused95>|\Aanalysis.*?assistantfinal|^[ \t]*(?:\.{3}|…) ?done thinking\.?[ \t]*$"
    r"|^here is my response:",
    re.IGNORECASE | re.MULTILINE | re.DOTALL,
)
_THOUGHT_START = re.compile(
    rf"<{_THOUGHT}(?:\s[^<>]{{0,80}})?>|[<\[] ?{_THOUGHT} ?[>\]]|◁think▷|<\|(?:begin|start)_(?:of_)?{_THOUGHT}\|>"
    rf"|<\|{_THOUGHT}(?:_start)?\|>|<\|channel\|?>|<\|inner_prefix\|>|<unused94>|\Aanalysis(?=[A-Z])"
    r"|\A\s*(?:thoughts?|thinking|reasoning)(?:\.{3}|…)?[ \t]*\n|^here is my thought process:",
    re.IGNORECASE | re.MULTILINE,
)
_FOLDED_THOUGHT = re.compile(
    r"<details\b[^<>]{0,200}\breasoning\b[^<>]{0,200}>.*?(?:</details>|\Z)", re.IGNORECASE | re.DOTALL
)
_TURN_START = re.compile(
    r"\A\s*(?:<\|[a-z_]{1,20}\|>\s*)?(?:assistant\s*:?\s*\n)?(?:/(?:no_?)?think\b\s*)?", re.IGNORECASE
)
# Any mark of a model's own: what follows is not for people.
_TURN_END = re.compile(
    r"<\|[^<>|\n]{1,40}\|?>|<[^<>|\n]{1,40}\|>|</s>|◁[^▷\n]{1,40}▷|<unused\d{1,3}>|</?(?:start|end)_of_turn>|\[/?INST\]",
    re.IGNORECASE,
)
_FENCE = re.compile(r"```[^\n`]*\n(.*?)(?:```|\Z)", re.DOTALL)
_TAGGED = re.compile(
    r"<(answer|output|prompt|result|response|final|(?:expanded|enhanced|rewritten)_prompt) ?>(.*?)(?:</\1 ?>|\Z)",
    re.DOTALL | re.IGNORECASE,
)
_FIELDS = ("prompt", "expanded_prompt", "enhanced_prompt", "rewritten_prompt", "output", "description", "text")

_BETTER = r"(?:final|expanded|enhanced|improved|rewritten|revised|refined|polished|detailed|updated)"
_TEXT = r"(?:prompts?|version|description|rewrite|expansion|output|answer|result)"
_FINAL = re.compile(
    rf"^[ \t*_#]*(?:(?:the |my )?{_BETTER} (?:image |text-to-image )?{_TEXT}|(?:final )?(?:answer|output|response)"
    r"|assistant)[ \t*_]*:[ \t*_]*",
    re.IGNORECASE | re.MULTILINE,
)
_GREETING = re.compile(
    r"(?:sure(?: thing)?|certainly|of course|absolutely|okay|ok|no problem|here you (?:go|are))[!.,]\s+|"
    r"(?:great|got it|perfect)!\s+",
    re.IGNORECASE,
)
_PREAMBLE = re.compile(
    r"(?:sure|certainly|of course|absolutely|okay|gladly)\b[^:\n]{0,140}:\s*"
    rf"|(?:here|below|this|i['’]ve|i have|hier|voici|aquí|ecco)\b[^:\n]{{0,120}}\b(?:{_BETTER}|{_TEXT}|it is|you go|"
    rf"request|take)\b[^:\n]{{0,60}}:\s*"
    rf"|(?:the |my |your )?(?:(?:{_BETTER}|image|text-to-image|new) ){{0,3}}{_TEXT}\s*:\s*",
    re.IGNORECASE,
)
_NEXT_OFFER = re.compile(r"\n\s*\n|\n(?=[ \t*_#]*(?:\d[.)]\s|(?:option|version|variant|variation)\b))", re.IGNORECASE)
_OFFER = re.compile(
    r"(?:(?:option|version|variant|variation)\s*(?:[1-9a-e]|one)\b[^\n:.]{0,40}[:.)]?|\d[.)])(?:\s+|$)", re.IGNORECASE
)
_BULLET = re.compile(r"[-*•·]\s+")
_ASPECT = re.compile(
    r"(?:(?:main )?subject|scene|setting|environment|background|foreground|lighting|light|style|medium|composition|"
    r"framing|camera|lens|mood|atmosphere|colou?rs?|colou?r palette|palette|details?|texture|action|pose)\s*:\s*",
    re.IGNORECASE,
)
_AFTERWORD = re.compile(
    r"\(?(?:let me know|would you like|do you want|(?:would|does|is|how about) this\b|(?:i )?hope (?:this|that|it)|"
    r"feel free|please note|note:|"
    r"if you(?:['’]d| would| want| need)|notes?\s*:|explanation\b|negative prompt|word count|\d+ words\b|"
    rf"(?:this|the) (?:{_BETTER} )?(?:prompt|version|expansion|rewrite)\b|changes made|key (?:changes|details)|"
    r"i(?: have|['’]ve)? (?:kept|added|preserved|expanded|changed|tried|made)\b|(?:tags|keywords|parameters)\s*:)",
    re.IGNORECASE,
)
_THINKING_ALOUD = re.compile(
    r"(?:(?:okay|ok|alright|hmm|well|so|now|first|wait)\b,?\s*)*"
    r"(?:(?:thoughts?|thinking|reasoning|analysis|plan)\s*:|here(?:['’]s| is) my (?:thinking|thoughts?|plan)\b|"
    r"the user\b|user (?:wants|asks)|we (?:need|have|must)|i (?:need|have|should|must|will|want)\b|i['’]ll\b|"
    r"let me\b|let['’]s\b|(?:the|this) (?:(?:original|given) )?prompt (?:is|says|asks|has|mentions|already)|"
    r"(?:my|the) task\b|the instructions?\b)",
    re.IGNORECASE,
)
_FLAG = re.compile(r"\s--[a-z]{1,12}(?:\s+[\w:.]+)?(?=\s|$)", re.IGNORECASE)
_CLAUSE_END = re.compile(r"[,;:](?=\s)|\s[–—](?=\s)|—|[،、，；]")


def cleaned(answer: str, prompt: str) -> str:
    """The one paragraph of an answer that is a prompt, without thoughts, greetings, marks and explanations.

    Empty where nothing of that kind is left. What the person's `prompt` has of its own is not taken away.
    """
    text = answer.encode("utf-8", "ignore").decode("utf-8").replace("\r\n", "\n")
    if "&lt;" not in prompt:
        text = text.replace("&lt;", "<").replace("&gt;", ">")
    text = _said(_without_thoughts(text)[:MOST_CHARACTERS])
    if not _FINAL.search(prompt):
        for label in list(_FINAL.finditer(text))[-1:]:
            text = text[label.end() :]
    paragraphs = [found for part in _NEXT_OFFER.split(text) if (found := _paragraph(part, prompt))]
    while paragraphs and _THINKING_ALOUD.match(paragraphs[0]) and not _THINKING_ALOUD.match(prompt):
        paragraphs.pop(0)
    text = _without_preamble(_first_offer(paragraphs, prompt), prompt)
    if not _AFTERWORD.match(prompt):
        text = _without_afterword(text)
    if "--" not in prompt:
        text = _FLAG.sub("", text)
    return _without_repeats(_unquoted(" ".join(text.split()), prompt))


def finished(text: str) -> str:
    """The whole sentences of a text that was cut off; empty where there is none."""
    return text[: [0, *sentence_ends(text)][-1]].strip()


def cut(text: str, fits: Callable[[str], bool]) -> str:
    """A text, where it does not fit its longest beginning that ends with a sentence, else with a clause.

    Never cut inside quoted text. Empty where not even the first clause fits.
    """
    if fits(text):
        return text
    for ends in (sentence_ends(text), [found.end() for found in _CLAUSE_END.finditer(masked(text))]):
        # The longest beginning is looked for by halves: counting tokens is the slow part.
        low, high = 0, len(ends)
        while low < high:
            middle = (low + high) // 2
            if fits(_ended(text[: ends[middle]])):
                low = middle + 1
            else:
                high = middle
        if low:
            return _ended(text[: ends[low - 1]])
    return ""


def _ended(text: str) -> str:
    return text.rstrip(" \n,;:–—،、，；")


def _without_thoughts(text: str) -> str:
    """What comes after the last thought, before one that does not end, and before a further turn."""
    text = _FOLDED_THOUGHT.sub("", re.sub(r"(?<=<)｜|｜(?=>)", "|", text))
    for thought in list(_THOUGHT_END.finditer(text))[-1:]:
        text = text[thought.end() :]
    text = _before(_THOUGHT_START, text)
    return _before(_TURN_END, _TURN_START.sub("", text))


def _before(boundary: re.Pattern[str], text: str) -> str:
    found = boundary.search(text)
    return text[: found.start()] if found else text


def _said(text: str) -> str:
    """The text in a tag for answers, in a code fence or in a field of a JSON object, where there is one."""
    text = text.strip()
    for tagged in list(_TAGGED.finditer(text))[-1:]:
        text = tagged[2].strip()
    if fenced := _FENCE.search(text):
        text = fenced[1].strip()
    if text.startswith("{"):
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            return text
        return next((found[field] for field in _FIELDS if isinstance(found.get(field), str)), text)
    return text


def _paragraph(text: str, prompt: str) -> str:
    """One line of several: headings and lines that only part are left out, so are bullets and their labels."""
    lines = []
    for line in str(clean_text(text)).split("\n"):
        line = line.strip().removeprefix("> ")
        if re.match(r"#{1,6}\s|```", line) or re.fullmatch(r"[-*_=~\s]{3,}", line):
            continue
        bullet = _BULLET.match(line)
        line = _plain(line[bullet.end() :] if bullet else line, prompt)
        if not _ASPECT.match(prompt):
            line = _ASPECT.sub("", line, count=1) if _ASPECT.match(line) else line
        if bullet and line and not re.search(r"[.,;:!?]$", line):
            line += "."
        if line:
            lines.append(line)
    return " ".join(lines)


def _plain(line: str, prompt: str) -> str:
    """A line without marks for bold, italics, code and links."""
    if not re.search(r"[*_`]", prompt):
        line = re.sub(r"(?<!\w)(\*\*\*|\*\*|\*|___|__|_|`)(?=\S)([^*_`]+)(?<=\S)\1(?!\w)", r"\2", line)
        line = line.replace("**", "").strip("*`")
    return re.sub(r"!?\[([^\]]{1,300})\]\([^)\s]{1,300}\)", r"\1", line).strip()


def _first_offer(paragraphs: list[str], prompt: str) -> str:
    """All paragraphs as one; of numbered or named offers the first only, without its number."""
    if _OFFER.match(prompt):
        return " ".join(paragraphs)
    kept, offered = [], False
    for paragraph in paragraphs:
        offer = _OFFER.match(paragraph)
        if offer and offered:
            break
        offered |= bool(offer)
        kept.append(paragraph[offer.end() :] if offer else paragraph)
    return " ".join(filter(None, kept))


def _without_preamble(text: str, prompt: str) -> str:
    for opening in (_GREETING, _PREAMBLE, _PREAMBLE):
        found = opening.match(text)
        if found and not opening.match(prompt):
            text = text[found.end() :]
    return text


def _without_afterword(text: str) -> str:
    """The text up to the first sentence that speaks of the text itself or to the person."""
    for begin in [0, *sentence_ends(text)]:
        rest = text[begin:]
        if _AFTERWORD.match(rest.lstrip(" —-")):
            return text[:begin].strip()
    return text


def _unquoted(text: str, prompt: str) -> str:
    """The text without quotation marks around all of it, unless the prompt has them there."""
    text = text.strip()
    if len(text) < 3 or text[0] not in "\"'“‘«„「" or text[-1] not in "\"'”’»“」":
        return text
    own = {prompt[start:end] for start, end in quoted(prompt)}
    spans, inside = quoted(text), text[1:-1].strip()
    around = len(spans) == 1 and spans[0] == (1, len(text) - 1) and text[1:-1] not in own
    broken = own - {text[s:e] for s, e in spans} and not own - {inside[s:e] for s, e in quoted(inside)}
    return inside if around or broken else text


def _without_repeats(text: str) -> str:
    """The text without sentences that it has said already: a model may go round in circles."""
    told: set[str] = set()
    kept = []
    for begin, end in pairwise([0, *sentence_ends(text), len(text)]):
        sentence = text[begin:end]
        plain = sentence.strip().casefold()
        if plain not in told:
            told.add(plain)
            kept.append(sentence)
    return "".join(kept).strip()
