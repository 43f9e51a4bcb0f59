"""Hypothesis strategies for requests, as plain data."""

from typing import Any

from hypothesis import strategies as st

from krea_studio.recipe.aspect_ratios import ASPECT_RATIOS, RESOLUTIONS
from krea_studio.recipe.request import FULL_SPREAD, SEED_LIMIT, SLIDERS, GenerationRequest, clean_text
from krea_studio.recipe.variants import VARIANTS

texts = st.text(st.characters(codec="utf-8"), max_size=60)
prompts = texts.filter(lambda text: any(c.isalnum() for c in text))
seeds = st.integers(0, SEED_LIMIT - 1)
sliders = st.integers(-100, 100)


def optional(fields: dict[str, st.SearchStrategy[Any]], **required: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries(required, optional=fields)


creativities = st.sampled_from(["raw", "low", "medium", "high"])
strengths = st.floats(-2, 2)
references = st.text("0123456789abcdef", min_size=32, max_size=32)


identities = st.text("0123456789abcdef", min_size=32, max_size=32)


def styles(required_identity: bool) -> st.SearchStrategy[Any]:
    """Choices of styles, each once, with which weights they mean or also without."""
    fields = {"weight": strengths, "trigger": st.none() | texts}
    if required_identity:
        choice = optional(fields, name=prompts, identity=identities)
    else:
        choice = optional({**fields, "identity": st.none() | identities}, name=prompts)
    return st.lists(choice, max_size=3, unique_by=lambda style: clean_text(style["name"]).casefold())


expansions = optional(
    {"writer": prompts, "model": texts, "seed": st.none() | seeds, "edited": st.booleans(), "notice": texts},
    text=prompts,
)


def boards(required_content: bool) -> st.SearchStrategy[Any]:
    """Moodboard choices, with what they steer by or also without."""
    representative = st.fixed_dictionaries({"image": references, "share": st.floats(0.01, 1)})
    words = st.lists(prompts.map(str.strip).filter(str.isprintable), max_size=3)
    content = optional(
        {"keywords": words, "avoids": words}, representatives=st.lists(representative, min_size=1, max_size=3)
    )
    fields = {"strength": st.floats(-0.5, 1.5)}
    if required_content:
        return optional(fields, name=prompts, content=content)
    return optional({**fields, "content": st.none() | content}, name=prompts)


ready = {
    "negative_prompt": texts,
    "variant": st.sampled_from(list(VARIANTS)),
    "aspect_ratio": st.sampled_from(list(ASPECT_RATIOS)),
    "resolution": st.sampled_from(RESOLUTIONS),
    "creativity": creativities,
    "intensity": sliders,
    "complexity": sliders,
    "movement": sliders,
    "random_mode": st.booleans(),
    "locked_sliders": st.lists(st.sampled_from(SLIDERS), max_size=2),
    "spread": st.integers(1, FULL_SPREAD),
    "exploration_seed": st.none() | seeds,
    "style_references": st.lists(optional({"strength": strengths}, image=references), max_size=4),
    "moodboard": st.none() | boards(required_content=True),
    "styles": styles(required_identity=True),
    "seed": st.none() | seeds,
    "batch": st.integers(1, 4),
    "steps": st.none() | st.integers(1, 100),
    "guidance_scale": st.none() | st.floats(0, 20) | st.integers(0, 20),
}
"""Fields with values that a plan can be made of."""

valid = {
    **ready,
    "expansion": st.none() | expansions,
    "moodboard": st.none() | boards(required_content=False),
    "styles": styles(required_identity=False),
}
"""Fields with every value that a request may have."""


sigmas = st.sets(st.integers(2, 1000), min_size=1, max_size=8).map(lambda s: [n / 1000 for n in sorted(s)[::-1]])


def with_sigmas(data: dict[str, Any]) -> st.SearchStrategy[Any]:
    """As it is, or drawn at sigmas of its own, in as many steps."""
    return st.just(data) | sigmas.flatmap(
        lambda own: st.sampled_from([None, len(own)]).map(lambda steps: {**data, "steps": steps, "sigmas": own})
    )


def with_effect(data: dict[str, Any]) -> dict[str, Any]:
    """Without a negative prompt where guidance is off."""
    own = data.get("guidance_scale")
    guided = VARIANTS[data.get("variant", "turbo")].guidance_scale if own is None else own
    return data if guided else {**data, "negative_prompt": ""}


ready_data = optional(ready, prompt=prompts).map(with_effect).flatmap(with_sigmas)
valid_data = optional(valid, prompt=prompts).flatmap(with_sigmas)

anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=()), max_size=40)
    | st.binary(max_size=8)
    | st.sampled_from([10**400, -(2**70), "x" * 20_000, "\ud800", "\x00", object()]),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8) | st.integers(), inner, max_size=4),
    max_leaves=6,
)
field_names = st.sampled_from(list(GenerationRequest.model_fields)) | st.text(max_size=12) | st.integers()
any_data = st.dictionaries(field_names, anything, max_size=6) | st.builds(
    lambda valid, field, value: valid | {field: value}, valid_data, field_names, anything
)
