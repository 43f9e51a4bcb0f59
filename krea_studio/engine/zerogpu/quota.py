"""What the package `spaces` says when no GPU is lent, in the studio's words: what happened — what to do.

Its errors are Gradio's, with a title that tells their kind and a message for people. They are known by that title here,
so that this needs neither package.
"""

from krea_studio.errors import Unavailable

WORKER_ERROR = "ZeroGPU worker error"
LESS = "ask for fewer steps, a smaller picture or fewer references"
_TOLD = {
    "ZeroGPU quota exceeded": (
        "Hugging Face lends you no GPU now",
        "try again later, sign in to Hugging Face for a larger quota, or " + LESS,
    ),
    "ZeroGPU pending credits exceeded": ("Your other runs have all of your credits", "try again once they are done"),
    "ZeroGPU illegal duration": ("A GPU is not lent to you for so long", LESS),
    "ZeroGPU queue timeout": ("No GPU was free in time", "try again in a few minutes"),
    "ZeroGPU client error": ("No GPU could be had", "reload the page, and try again in a few minutes"),
    WORKER_ERROR: ("The process with the GPU ended before the picture was finished", "try again, or " + LESS),
}
"""Title → what happened, what to do."""


def was_aborted(error: Exception) -> bool:
    """Whether the process with the GPU was ended from outside, as where it takes longer than was asked for."""
    return getattr(error, "title", "") == WORKER_ERROR and "aborted" in str(getattr(error, "message", ""))


def in_words(error: Exception, seconds: int) -> Unavailable | None:
    """What to tell of an error while a GPU was asked for, or lent, for so many seconds; None where it is another's."""
    told = _TOLD.get(getattr(error, "title", ""))
    if told is None:
        return None
    happened, advice = told
    said = " ".join(str(getattr(error, "message", error)).split()).rstrip(". ")
    return Unavailable(f"{happened} ({said}; {seconds} s were asked for) — {advice}")
