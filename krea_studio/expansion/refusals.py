"""Whether a language model speaks for itself instead of describing a picture: it refuses, asks back, or talks.

Small models refuse what is harmless, and a refusal that is taken for a prompt gets drawn. The usual phrases, in the
languages that prompts are written in most, are final. In English there is a general sign too: a description has neither
"I" nor "you", says nothing of prompts or of itself, and has nothing that was meant for a machine, so that an answer
with any of these is worth another try. In other languages a refusal in any other words is found only by what it then
lacks of the prompt.
"""

import re

from krea_studio.expansion.words import is_english, masked

_CANNOT = (
    r"(?: (?:can(?:no|['’]?)t|can not|could ?(?:no|n['’]?)t|won['’]?t|will not)|(?:['’]m| am) (?:unable|not able))"
)
_VIOLATES = r"(?:violat\w+|against|breach\w*|due to|because of|under|per) (?:(?:the|our|my|your) )?"
# Anywhere in an answer.
_REFUSES = (
    r"\bas an? (?:(?:ai|artificial intelligence)(?: (?:language )?(?:model|assistant))?,|(?:large )?language model\b)",
    r"\bas an? (?:ai|image) (?:language )?(?:model|assistant)\b",
    rf"\b{_VIOLATES}(?:content|usage|safety) (?:policy|policies|guidelines)\b",
    r"\b(?:request|prompt) (?:(?:is|was|has been) )?(?:denied|rejected|declined|refused|(?:in|not )appropriate)\b",
    r"\bcan(?:not|['’]t) be (?:shown|depicted|described|drawn|generated|created|expanded) (?:because|since|as|due)\b",
    r"\b(?:ich|wir) k(?:ann|önnen)\b[^.,;]{0,40} nicht\b|\bik kan\b[^.,;]{0,40} niet\b",
    r"\bje ne (?:peux|suis) pas\b|\bno puedo\b|\bnão posso\b|\bnon posso\b|\bnie mogę\b|yardımcı olama",
    r"\bне могу\b|我无法|我不能|无法满足|作为一[个名].{0,6}(?:ai|人工智能|语言模型)|できません|お手伝いできま",
    r"할 수 없(?:습니다|어요)",
)
# At the beginning only: a picture may well be about somebody who is sorry.
_REFUSES_AT_START = (
    r"(?:i['’]?m|i am) (?:really |very |so |truly )?sorry\b|i apologi[sz]e\b",
    r"(?:sorry|(?:my )?apologies|unfortunately|regrettably)(?=[,.!:]| but\b| for\b)",
    rf"(?:i|we){_CANNOT}\b",
    r"(?:it is|it['’]s) not possible\b|no, ",
    r"es tut mir leid|tut mir leid|entschuldigung|(?:je suis )?désolée?\b|lo siento|desculpe|mi dispiace|het spijt me|"
    r"przepraszam|üzgünüm|извините|к сожалению|抱歉|很抱歉|对不起|申し訳|죄송",
    r"please (?:provide|clarify|specify|share)\b|what kind of\b",
)
_PATTERNS = (
    re.compile("|".join(_REFUSES), re.IGNORECASE),
    re.compile(rf"[\W_]*(?:{'|'.join(_REFUSES_AT_START)})", re.IGNORECASE),
)
# "We" only where a sentence begins: faces that we cannot make out are a description.
_PERSON = re.compile(
    r"\bI\b(?!-\d)|\b[Mm]e\b|\b[Mm]y\b|\b[Yy]ours?\b|\b[Yy]ou\b|\b[Ll]et['’]s\b|(?:\A|[.!?:] )(?:We|we|Our|our)\b"
)
# What is said of a text: no picture has a prompt, and a story in it (which a house has too) is no sentence's subject.
_TEXT = r"(?:story|tale|poem|description|sentence|paragraph|passage|essay|example|summary|response)"
_ITSELF = re.compile(
    r"\bprompts?\b|\brewr(?:it(?:e|es|ing|ten)|ote)\b"
    rf"|\b(?:this|it|here|the following) is an? (?:\w+ ){{0,2}}{_TEXT}\b"
    rf"|\b(?:the|this) {_TEXT} (?:is|describes|tells|says|mentions|begins|starts|ends|should|must|would)\b",
    re.IGNORECASE,
)
_MACHINE = re.compile(
    r"https?://|</?[a-z][^<>\n]{0,40}>|<\||\|>|[◁▷]|\[/?[a-z_:]{0,20}think[a-z]*\]|&[lg]t;|\bthe user\b", re.IGNORECASE
)


def refused(answer: str, prompt: str) -> bool:
    """Whether an answer, cleaned or not, refuses or asks back in a usual phrase.

    What stands in quotation marks is to be drawn and refuses nothing; nor does what the prompt says itself.
    """
    said, own = masked(answer.strip()), masked(prompt).casefold()
    everywhere, at_start = _PATTERNS
    for found in (everywhere.search(said), at_start.match(said)):
        if found and found[0].strip().casefold() not in own:
            return True
    return False


def talks(text: str, prompt: str) -> bool:
    """Whether a cleaned answer speaks of itself or to somebody, where the prompt does not, or has a machine's marks."""
    said = masked(text)
    if any(found[0].casefold() not in prompt.casefold() for found in _MACHINE.finditer(said)):
        return True
    return is_english(said) and any(sign.search(said) and not sign.search(prompt) for sign in (_PERSON, _ITSELF))
