"""Controls that a request can name but that this version does not have yet.

One table for all who need it: the plan refuses such a control when it is not neutral, the page shows it disabled with
the reason. A control leaves the table in the change that builds it.
"""

from krea_studio.errors import InvalidRequest
from krea_studio.recipe.request import GenerationRequest, default, label
from krea_studio.validation import shown

PENDING_CONTROLS: dict[str, str] = {
    "creativity": "Prompts are drawn exactly as written (raw); expanding them is not available yet.",
    "styles": "Styles (LoRAs) are not available yet.",
}


def require_ready(request: GenerationRequest) -> None:
    """Raise InvalidRequest, naming the control, for the first one that is asked for and not built yet."""
    for field in PENDING_CONTROLS:
        value, neutral = getattr(request, field), default(field)
        if value != neutral:
            remedy = f"set it to {neutral}" if neutral not in ((), None) else "leave it empty"
            wish = f" {shown(value)}" if isinstance(value, int | str) else ""
            raise InvalidRequest(f"{label(field)}{wish} is not available yet — {remedy}")
