"""The phrasebook's tables: phrases by group, what each says besides its group, and the words that name a group.

Two worlds: plain English for any checkpoint, and what is known beforehand about the words of a small world, which come
with its checkpoint. Cues are generous: a word that may name a group counts as naming it, because a phrase that is not
added does no harm. Facts are what phrases and prompts say across groups, such as night or black and white. Data only;
`phrasebook` reads it.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Phrase:
    """Words to add; `facts` are what they say besides their group.

    A `bold` one is for high creativity only, a `neutral` one sets no mood and suits any prompt, also at low.
    """

    text: str
    facts: frozenset[str] = frozenset()
    bold: bool = False
    neutral: bool = False


@dataclass(frozen=True)
class Cue:
    """Words that name a group in a prompt, or none (""), and the facts that they say."""

    group: str
    facts: frozenset[str]
    words: tuple[str, ...]


def _phrases(*rows: str, common: str = "") -> tuple[Phrase, ...]:
    """Rows of the form `text | facts`, to which `common` ones are added.

    A row that begins with ! is bold, one with = neutral.
    """
    found = []
    for row in rows:
        text, _, facts = row.partition("|")
        said = frozenset(f"{facts} {common}".split())
        found.append(Phrase(text.strip("!= "), said, row.startswith("!"), row.startswith("=")))
    return tuple(found)


def _cues(group: str, *rows: str) -> tuple[Cue, ...]:
    """Rows of the form `words, with commas | facts`."""
    found = []
    for row in rows:
        said, _, facts = row.partition("|")
        found.append(Cue(group, frozenset(facts.split()), tuple(" ".join(each.split()) for each in said.split(","))))
    return tuple(found)


OPPOSED = (
    ("day", "night"), ("day", "dusk"), ("night", "dusk"), ("day", "stars"), ("colourless", "coloured"),
    ("colourless", "vivid"), ("muted", "vivid"), ("sparse", "dense"), ("still", "moving"), ("photographic", "drawn"),
    ("warm", "cool"), ("dark", "bright"), ("soft", "hard"), ("sharp", "blurred"), ("wide", "close"),
    ("indoors", "outdoors"), ("storm", "clear"), ("above", "below"), ("centred", "aside"), ("toned", "coloured"),
    ("toned", "colourless"), ("airless", "airy"), ("graphic", "scenic"),
)  # fmt: skip

PHRASES: dict[str, tuple[Phrase, ...]] = {
    "medium": _phrases(
        "=photograph | photographic",
        "film photograph | photographic",
        "documentary photograph | photographic",
        "studio photograph | photographic indoors",
        "oil painting | drawn coloured",
        "watercolor painting | drawn coloured",
        "gouache painting | drawn coloured",
        "pastel drawing | drawn coloured",
        "=pencil drawing | drawn",
        "ink drawing | drawn",
        "flat vector illustration | drawn",
        "screen print | drawn",
        "storybook illustration | drawn",
        "3D render | drawn",
        "=illustration | drawn",
        "=digital painting | drawn coloured",
        "!paper collage | drawn",
        "!linocut | drawn",
        "!blueprint | drawn cool toned graphic",
        "!stained glass window | drawn coloured",
        "!embroidery | drawn coloured",
        "!mosaic | drawn",
        "!clay diorama | drawn",
        "!double exposure photograph | photographic",
        "!pinhole photograph | photographic",
        "!woven tapestry | drawn coloured",
        "!scratchboard drawing | drawn colourless",
    ),
    "light": _phrases(
        "=natural light",
        "=soft diffuse light | soft",
        "overcast daylight | day soft outdoors airy",
        "clear morning light | day clear airy",
        "bright midday sun | day hard bright clear outdoors airy",
        "low evening sun | dusk warm outdoors airy",
        "golden hour light | dusk warm coloured outdoors airy",
        "soft window light | day soft indoors",
        "warm lamplight | warm indoors",
        "candlelight | warm dark indoors airy",
        "moonlight | night cool dark airy",
        "blue hour light | dusk cool coloured outdoors airy",
        "=gentle side light | soft",
        "=soft backlight | soft",
        "dappled shade | day clear outdoors airy",
        "even studio light | indoors",
        "!a single shaft of light | dark hard",
        "!light from below | hard",
        "!a hard flash | hard",
        "!neon glow | night coloured vivid",
        "!firelight | warm dark airy",
        "!rim light from both sides | hard dark",
        "!shadows of unseen leaves | day clear outdoors airy",
        "!light through colored glass | coloured indoors",
        "!a lightning flash | night storm hard cool outdoors airy",
        common="scenic",
    ),
    "palette": _phrases(
        "muted earth tones | muted coloured warm",
        "soft pastel colors | muted coloured",
        "cool blues and grays | coloured cool",
        "warm ambers and browns | coloured warm",
        "deep jewel tones | vivid coloured",
        "natural colors | coloured",
        "black and white | colourless",
        "sepia tones | colourless muted warm",
        "teal and rust | coloured",
        "ochre and slate | coloured muted",
        "cream and olive green | coloured muted",
        "forest greens | coloured",
        "faded colors | muted coloured",
        "bright primary colors | vivid coloured bright",
        "dusty pinks and violets | coloured muted",
        "navy and gold | coloured",
        "!acid green and magenta | vivid coloured",
        "!ultraviolet and gold | vivid coloured",
        "!grays with one bright accent | coloured",
        "!iridescent colors | coloured vivid",
        "!two clashing colors | coloured",
        "!shades of red alone | coloured vivid warm",
        "!candy colors | coloured vivid",
    ),
    "density": _phrases(
        "a plain background | sparse",
        "an uncluttered frame | sparse",
        "few elements | sparse",
        "plenty of empty space | sparse",
        "clean simple shapes | sparse",
        "a smooth empty background | sparse",
        "a few well-chosen details",
        "a modest amount of detail",
        "fine detail where the eye rests",
        "a softly suggested background",
        "rich detail | dense",
        "layered detail | dense",
        "a detailed background | dense",
        "many small things to discover | dense",
        "intricate textures | dense",
        "!every corner filled | dense",
        "!an overflowing frame | dense",
        "!endlessly repeating forms | dense",
        "!almost nothing else in the frame | sparse",
        "!reduced to a few bare shapes | sparse",
    ),
    "motion": _phrases(
        "perfectly still | still",
        "a quiet pause | still",
        "calm air | still clear airy",
        "a moment of calm | still",
        "a moment of rest | still",
        "a slight breeze | airy outdoors",
        "a gentle drift | moving",
        "the beginning of a movement | moving",
        "the air barely stirring | airy",
        "an unhurried rhythm",
        "caught in mid-motion | moving",
        "windblown | moving airy outdoors",
        "a sweeping movement | moving",
        "lively movement | moving",
        "a strong gust of wind | moving storm airy outdoors",
        "!swirling air | moving storm airy",
        "!a whirlwind of motion | moving storm airy",
        "!streaks of motion blur | moving blurred",
        "!floating weightless | moving",
        "!frozen in time | still",
        common="scenic",
    ),
    "lens": _phrases(
        "35mm lens | photographic",
        "50mm lens | photographic",
        "85mm lens | photographic",
        "wide-angle lens | photographic wide",
        "long telephoto lens | photographic close",
        "macro lens | photographic close sharp",
        "shallow depth of field | photographic blurred",
        "deep focus | photographic sharp",
        "soft focus | photographic blurred soft",
        "fine film grain | photographic",
        "slight vignetting | photographic",
        "handheld framing | photographic",
        "medium format sharpness | photographic sharp",
        "smooth background blur | photographic blurred",
        "anamorphic lens | photographic wide",
        "!fisheye lens | photographic wide",
        "!tilt-shift focus | photographic blurred",
        "!lens flare | photographic bright",
        "!coarse film grain | photographic",
        "!vintage lens swirl | photographic blurred",
        common="scenic",
    ),
    "composition": _phrases(
        "centered composition | centred",
        "off-center composition | aside",
        "symmetrical composition | centred",
        "eye-level view | scenic",
        "three-quarter view | scenic",
        "seen from the side | scenic",
        "close-up | close scenic",
        "medium shot | scenic",
        "wide shot | wide scenic",
        "low angle | below scenic",
        "high angle | above scenic",
        "strong diagonals",
        "framed by the foreground | scenic",
        "layers of depth | scenic",
        "generous margins",
        "!seen from straight above | above scenic",
        "!seen from the ground | below scenic",
        "!extreme close-up | close scenic",
        "!tiny in a vast frame | wide scenic",
        "!half hidden by the frame's edge | aside scenic",
        "!seen as a reflection | scenic",
        "!seen through an opening | scenic",
        "!tilted horizon | scenic",
    ),
}

# A row without a group only says facts, or keeps a word from being read as something else.
CUES: tuple[Cue, ...] = (
    *_cues(
        "",
        "vending machine, hot air balloon, ice cream, clean shaven",
        "night, nighttime, nocturnal, after dark, night sky | night",
        "star, starry, starlit, milky way, galaxy, aurora, northern lights | night stars",
        "day, daytime, noon, midday, morning, afternoon, blue sky | day",
        "evening, dusk, twilight | dusk",
        "indoors, indoor, inside, interior, room, kitchen, bedroom, bathroom, living room, studio, office, hall, "
        "corridor, library, museum, church, cathedral, cafe, bar, shop, classroom, attic, cellar, basement | indoors",
        "outdoors, outdoor, outside, mountain, forest, field, meadow, beach, sea, ocean, desert, street, city, "
        "garden, park, river, lake, hill, sky, skyline, snow, jungle, harbor, cliff, valley, road, bridge, "
        "lighthouse, tower, castle, village, town, ship, boat, sailboat, tree, skyscraper | outdoors",
        "hot, summer, desert, fire, lava, autumn, fall | warm",
        "cold, winter, snow, snowy, ice, icy, frozen lake, arctic | cool",
        "dark, gloomy, shadowy | dark",
        "bright, light, luminous | bright",
        "blur, blurry, blurred, hazy, misty, foggy, fog, mist | blurred soft",
        "sharp, crisp | sharp",
        "rain, rainy, raining, storm, thunderstorm, lightning, blizzard | storm outdoors",
        "empty, bare, plate, dish, bowl, cup, glass, bottle, vase, cake, food, fruit, chair, table, sofa, shoe, book, "
        "sign, ring, watch, bread, pizza, sushi, dessert | still",
        # Signs for the eye, not views.
        "logo, icon, emoji, map, floor plan, diagram, infographic, chart, flowchart, pictogram, "
        "qr code | drawn graphic",
        "underwater, under water, seabed, ocean floor, outer space, in space, deep space, spacewalk | airless outdoors",
    ),
    *_cues(
        "medium",
        "photo, photograph, photography, photographic, photorealistic, photorealism, snapshot, polaroid, selfie, "
        "headshot, film photo, film still, movie still, cinematic, cinematic still, analog film, 35mm film, film, "
        "dslr, raw photo, documentary, editorial, double exposure, cyanotype, daguerreotype, realistic | photographic",
        "painting, oil painting, oil, watercolor, watercolour, aquarelle, gouache, acrylic, tempera, fresco, mural, "
        "drawing, sketch, ink, ink drawing, ink wash, pen and ink, line art, line drawing, lineart, pencil, charcoal, "
        "crayon, pastel drawing, chalk, illustration, vector, vector art, flat design, flat poster, logo, icon, "
        "emoji, sticker, cartoon, comic, comic book, manga, anime, cel shaded, pixel art, voxel, 3d, 3d render, "
        "render, cgi, low poly, clay, claymation, sculpture, statue, papercut, paper cut, cut paper, paper art, "
        "origami, collage, linocut, woodcut, woodblock, engraving, etching, lithograph, screen print, risograph, "
        "print, poster, mosaic, stained glass, embroidery, tapestry, felt, quilt, knitted, blueprint, diagram, "
        "infographic, map, graffiti, stencil, concept art, digital art, artwork, art, storybook, diorama, neon sign, "
        "ukiyo e, art nouveau, art deco, bauhaus, impressionist, impressionism, cubist, cubism, surrealist, "
        "watercolors, painted, drawn, illustrated, embroidered, carved, icons, wallpaper, tattoo, mural, "
        "just lines, only lines | drawn",
        "cyanotype | cool toned",
        "blueprint | cool toned graphic",
    ),
    *_cues(
        "light",
        "light, lit, lighting, backlight, backlit, rim light, shadow, shade, glow, glowing, silhouette, spotlight, "
        "chiaroscuro, overcast, flash, softbox",
        "sun, sunny, sunlight, sunlit, sunshine, daylight, bright sun, under a bright sun, sunbeam | day",
        "sunset, sunrise, dawn, golden hour, blue hour, sundown | dusk",
        "moon, moonlight, moonlit, full moon, crescent moon | night",
        "candle, candlelight, candlelit, lamp, lamplight, lantern, firelight, campfire, fire | warm",
        "neon, neon lights | night coloured vivid",
        "empty sky, clear sky | clear",
        "on the moon | airless outdoors",
    ),
    *_cues(
        "palette",
        "color, colour, colored, coloured, palette, tone, hue, duotone, gradient, iridescent, rainbow | coloured",
        "colorful, colourful, multicolored, vivid colors, bright colors, saturated colors | coloured vivid",
        "black and white, black & white, monochrome, monochromatic, grayscale, greyscale, noir, sepia, shades of "
        "gray, shades of grey, b&w, colorless, colourless, uncolored, uncoloured | colourless",
        "pastel, pastels, muted colors, faded colors | coloured muted",
        "red, orange, yellow, green, blue, purple, violet, pink, brown, teal, turquoise, cyan, magenta, crimson, "
        "scarlet, gold, golden, ochre, amber, beige, cream, olive, navy, indigo, lavender, emerald, maroon, mint, "
        "peach, coral, rust, silver, bronze, copper | coloured",
        "black, white, gray, grey",
    ),
    *_cues(
        "vividness",
        "vivid, saturated, vibrant, intense, bold, neon | vivid coloured",
        "muted, faded, pale, washed out, desaturated, subdued | muted",
    ),
    *_cues(
        "density",
        "minimal, minimalist, minimalism, simple, very simple, empty, sparse, clean, uncluttered, plain background, "
        "white background, negative space, isolated, lone, bare, blank, nothing but, nothing else, undecorated, "
        "unadorned | sparse",
        "detailed, highly detailed, intricate, ornate, busy, rich, crowded, crowd, dense, packed, packed with detail, "
        "cluttered, complex, elaborate, chaotic, overflowing, lush, teeming, maximalist | dense",
        "balanced, background, detail",
    ),
    *_cues(
        "motion",
        "still, static, calm, quiet, motionless, frozen, at rest, resting, sleeping, asleep, sitting, seated, "
        "standing, lying, posing, serene, peaceful, tranquil, stationary, still life, windless | still",
        "moving, motion, movement, dynamic, action, running, jumping, leaping, flying, dancing, rushing, racing, "
        "falling, swirling, spinning, galloping, chasing, swimming, walking, riding, climbing, fighting, diving, "
        "skating, surfing, exploding, explosion, splashing, windy, wind, strong wind, windswept, windblown, breeze, "
        "stormy, full of motion, motion blur, throwing, kicking, soaring, floating, drifting, marching, driving, "
        "speeding | moving",
    ),
    *_cues(
        "lens",
        "lens, mm, 35mm film, wide angle, telephoto, macro, fisheye, bokeh, depth of field, focus, f stop, aperture, "
        "film grain, grain, tilt shift, lens flare, anamorphic, shallow focus, exposure | photographic",
    ),
    *_cues(
        "composition",
        "composition, framing, framed, centered, centred, off center, symmetrical, symmetry, diagonal, view, angle, "
        "close up, closeup, portrait, headshot, shot, wide shot, medium shot, full body, half body, bust, panorama, "
        "panoramic, aerial, overhead, from above, from below, bird's eye, worm's eye, top down, isometric, flat lay, "
        "profile, side view, front view, foreground, perspective, horizon, cross section, landscape",
    ),
    *_cues(
        "setting",
        "mountain, mountains, hill, hills, sea, ocean, wave, waves, water, plain, field, meadow, forest, desert, "
        "beach, island, city, street, village, garden, park, river, lake, sky, space, snow, jungle, cave, room, "
        "kitchen, studio, background, harbor, valley, cliff, cloud, clouds, underwater, indoors, outdoors, mountain "
        "land, flat ground",
    ),
)

# A small world's groups and the groups of plain English whose cues name them too.
SMALL_WORLD_GROUPS = {
    "rendering style": "medium",
    "palette": "palette",
    "setting": "setting",
    "sky": "light",
    "how dense": "density",
    "how vivid": "vividness",
    "how much motion": "motion",
}
# More ways in which the prompts of the embedded checkpoints name things; read before the cues above.
SMALL_WORLD_CUES: tuple[Cue, ...] = (
    *_cues(
        "",
        "red fox, sitting fox, sitting cat, flying bird, blue whale, spouting whale, sailing boat, tropical fish, "
        "striped fish, round tree, apple tree, hot air balloon, striped balloon, striped lighthouse, spotted "
        "mushroom, flowering cactus, potted cactus, rocket ship, little house, poster",
    ),
    *_cues(
        "medium",
        "papercut, paper cut, cut paper art, cut paper, layered paper, flat poster, screen print, flat vector art, "
        "flat design, ink drawing, line drawing, pen and ink, ink sketch, watercolor, watercolor painting, aquarelle, "
        "watercolor wash, mosaic, tile mosaic, mosaic of tiles, tiled picture, neon sign, neon lights, glowing neon, "
        "neon",
    ),
    *_cues(
        "palette",
        "sunset colors, sunset palette, sunset oranges and pinks, sunset tones, ocean colors, ocean palette, ocean "
        "blues, blue ocean tones, forest colors, forest palette, forest greens, green forest tones, candy colors, "
        "candy palette, candy pinks, sweet candy tones, autumn colors, autumn palette, autumn browns, golden autumn "
        "tones, mint colors, mint palette, mint green, fresh mint tones | coloured",
        "midnight colors, midnight palette, midnight blue, dark midnight tones | coloured dark night",
        "monochrome, black and white, monochrome palette, shades of gray | colourless",
    ),
    *_cues(
        "setting",
        "over rolling hills, in the hills, with soft hills, on a hill, in the mountains, with mountain peaks, before "
        "tall mountains, in a mountain land, at sea, on the waves, among sea waves, over the water, on a wide plain, "
        "on flat ground, in an open field, on the plain",
    ),
    *_cues(
        "light",
        "in the sun, under a bright sun, on a sunny day, with a big sun | day outdoors",
        "under the moon, with a crescent moon, at night with the moon, in the moonlight | night outdoors",
        "under an empty sky, under a clear sky, with a clear sky, with nothing in the sky | outdoors",
    ),
    *_cues(
        "density",
        "minimal, empty, very simple, simple, sparse, clean | sparse",
        "balanced",
        "detailed, busy, rich, crowded, dense, packed with detail | dense",
    ),
    *_cues(
        "vividness",
        "muted, faded, washed out, soft, pale, gentle colors | muted",
        "natural colors | coloured",
        "bright, colorful, lively colors, vivid, saturated, intense colors | vivid coloured",
    ),
    *_cues(
        "motion",
        "still, static, motionless, calm, quiet, with a light breeze | still",
        "with some wind",
        "windy, moving, with a strong wind, dynamic, stormy, full of motion | moving",
    ),
)
# Where a small world's things are at home; others are on land. At high creativity they may be anywhere.
AFLOAT = ("fish", "whale", "sailboat", "sailing boat", "boat")
AT_SEA = "at sea"
