"""Whether a language model refuses: it says no, or asks back, instead of describing a picture.

Small models refuse what is harmless, and a refusal that is taken for a prompt gets drawn. Told by the usual phrases
in the languages that prompts are written in most; a refusal in any other words is not found here, only by what it
then lacks of the prompt.
"""

import re

from krea_studio.direction.wording import masked

_CANNOT = (
    r"i (?:can['’]?t|cannot|can not|won['’]?t|will not|could not|couldn['’]t)|i(?:['’]m| am) (?:unable|not able) to|"
    r"we (?:can['’]?t|cannot)"
)
# Anywhere in an answer.
_REFUSES = (
    r"\bas an? (?:ai|artificial|language model|large language|image (?:model|prompt))\b",
    r"\bi(?:['’]m| am) (?:just |only )?an? (?:ai|language model)\b",
    rf"\b(?:{_CANNOT}) (?:in good conscience )?(?:help|assist|create|generate|write|produce|provide|fulfill?|comply|"
    r"depict|describe|do|expand|rewrite|complete|support|engage|continue|process|participate|answer|respond|make|draw)\b",
    r"\bi(?:['’]m| am) not (?:allowed|comfortable|permitted)\b",
    r"\bi (?:must|have to|need to) (?:respectfully |politely )?(?:decline|refuse)\b",
    r"\b(?:content|usage|safety) (?:policy|policies|guidelines)\b|\bagainst my (?:guidelines|programming|policy)\b",
    r"\b(?:your|this|the) (?:request|prompt) (?:violates|goes against|is not appropriate|is inappropriate|contains "
    r"(?:inappropriate|prohibited|harmful))\b",
    r"\b(?:ich|wir) k(?:ann|önnen)\b[^.,;]{0,40} nicht\b|\bik kan\b[^.,;]{0,40} niet\b",
    r"\bje ne (?:peux|suis) pas\b|\bno puedo\b|\bnão posso\b|\bnon posso\b",
    r"не могу|我无法|我不能|无法满足|作为一[个名].{0,6}(?:ai|人工智能|语言模型)|できません|お手伝いできま|할 수 없",
)
# At the beginning only: a picture may well be about somebody who is sorry.
_REFUSES_AT_START = (
    r"(?:i['’]?m|i am) (?:really |very |so |truly )?sorry\b|sorry\b|(?:my )?apologies\b|i apologi[sz]e\b",
    r"unfortunately\b|regrettably\b",
    _CANNOT,
    r"es tut mir leid|tut mir leid|entschuldigung|(?:je suis )?désolée?\b|lo siento|desculpe|mi dispiace|het spijt me|"
    r"извините|к сожалению|抱歉|很抱歉|对不起|申し訳|죄송",
    r"(?:could|can) you (?:please )?(?:clarify|provide|specify|share)|please (?:provide|clarify|specify|share)\b",
    r"what (?:would you like|kind of)\b|how can i (?:help|assist)\b",
)
_PATTERNS = (
    re.compile("|".join(_REFUSES), re.IGNORECASE),
    re.compile(rf"[\W_]*(?:{'|'.join(_REFUSES_AT_START)})", re.IGNORECASE),
)


def refused(answer: str, prompt: str) -> bool:
    """Whether an answer, cleaned or not, refuses or asks back.

    What stands in quotation marks is to be drawn and refuses nothing; nor does what the prompt says itself.
    """
    said, own = masked(answer.strip()), masked(prompt).casefold()
    everywhere, at_start = _PATTERNS
    for found in (everywhere.search(said), at_start.match(said)):
        if found and found[0].strip().casefold() not in own:
            return True
    return False
