// Pictures that are compared: all are zoomed and moved at once, and a handle wipes between two of them.
// What is seen of a picture is told by --zoom, and --x and --y in % of its frame, on the element around all.
(() => {
  const MOST = 16;
  const STEP = 1.25;
  const MOVED = 5; // % of a frame for an arrow key

  const state = (compare) => (compare.seen ??= { zoom: 1, x: 0, y: 0 });

  function draw(compare) {
    const seen = state(compare);
    const most = 50 * (seen.zoom - 1);
    seen.x = Math.max(-most, Math.min(most, seen.x));
    seen.y = Math.max(-most, Math.min(most, seen.y));
    compare.style.setProperty("--zoom", seen.zoom);
    compare.style.setProperty("--x", `${seen.x}%`);
    compare.style.setProperty("--y", `${seen.y}%`);
    compare.classList.toggle("zoomed", seen.zoom > 1);
    compare.querySelector("output").textContent = `${Math.round(100 * seen.zoom)} %`;
  }

  // Zooms to what is under a point of a frame, in % of it from its middle.
  function zoom(compare, to, at = { x: 0, y: 0 }) {
    const seen = state(compare);
    const next = Math.max(1, Math.min(MOST, to));
    seen.x = at.x - ((at.x - seen.x) * next) / seen.zoom;
    seen.y = at.y - ((at.y - seen.y) * next) / seen.zoom;
    seen.zoom = next;
    draw(compare);
  }

  function move(compare, x, y) {
    state(compare).x += x;
    state(compare).y += y;
    draw(compare);
  }

  function place(frame, event) {
    const box = frame.getBoundingClientRect();
    return {
      x: (100 * (event.clientX - box.left)) / box.width - 50,
      y: (100 * (event.clientY - box.top)) / box.height - 50,
    };
  }

  function wipe(compare) {
    const on = compare.querySelector("[data-do=wipe]")?.getAttribute("aria-pressed") === "true";
    compare.classList.toggle("wiping", on);
    const named = (side, otherwise) => compare.querySelector(`[data-wipe=${side}]`)?.value ?? otherwise;
    const sides = { left: named("left", "A"), right: named("right", "B") };
    for (const pane of compare.querySelectorAll(".pane")) {
      const side = Object.keys(sides).find((each) => sides[each] === pane.dataset.name);
      if (on && side) pane.dataset.side = side;
      else delete pane.dataset.side;
    }
    const handle = compare.querySelector(".wipe-handle");
    if (handle) compare.style.setProperty("--wipe", `${handle.value}%`);
  }

  const actions = {
    in: (compare) => zoom(compare, state(compare).zoom * STEP),
    out: (compare) => zoom(compare, state(compare).zoom / STEP),
    reset: (compare) => zoom(compare, 1),
    wipe: (compare, button) => {
      button.setAttribute("aria-pressed", button.getAttribute("aria-pressed") !== "true");
      wipe(compare);
    },
  };

  document.addEventListener("click", (event) => {
    const button = event.target.closest?.(".compare [data-do]");
    if (button) actions[button.dataset.do](button.closest(".compare"), button);
  });

  for (const kind of ["input", "change"]) {
    document.addEventListener(kind, (event) => {
      if (event.target.closest?.(".wipe-handle, [data-wipe]")) wipe(event.target.closest(".compare"));
    });
  }

  const KEYS = { "+": "in", "=": "in", "-": "out", "0": "reset" };
  const ARROWS = { ArrowLeft: [MOVED, 0], ArrowRight: [-MOVED, 0], ArrowUp: [0, MOVED], ArrowDown: [0, -MOVED] };

  document.addEventListener("keydown", (event) => {
    if (!event.target.matches?.(".panes") || event.ctrlKey || event.metaKey || event.altKey) return;
    const compare = event.target.closest(".compare");
    if (KEYS[event.key]) actions[KEYS[event.key]](compare);
    else if (ARROWS[event.key] && state(compare).zoom > 1) move(compare, ...ARROWS[event.key]);
    else return;
    event.preventDefault();
  });

  // At the full picture the wheel scrolls the page where it would zoom out.
  document.addEventListener(
    "wheel",
    (event) => {
      const frame = event.target.closest?.(".compare .frame");
      if (!frame) return;
      const compare = frame.closest(".compare");
      if (event.deltaY > 0 && state(compare).zoom === 1) return;
      event.preventDefault();
      zoom(compare, state(compare).zoom * STEP ** Math.max(-2, Math.min(2, -event.deltaY / 100)), place(frame, event));
    },
    { passive: false },
  );

  // One pointer drags, two pinch.
  const pointers = new Map();

  document.addEventListener("pointerdown", (event) => {
    const frame = event.target.closest?.(".compare .frame");
    if (!frame) return;
    frame.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, { frame, at: place(frame, event) });
  });

  document.addEventListener("pointermove", (event) => {
    const pointer = pointers.get(event.pointerId);
    if (!pointer) return;
    const { frame, at } = pointer;
    const compare = frame.closest(".compare");
    if (!compare) return;
    const now = place(frame, event);
    const other = [...pointers].find(([id, each]) => id !== event.pointerId && each.frame === frame)?.[1];
    if (other) {
      const spread = (point) => Math.hypot(point.x - other.at.x, point.y - other.at.y);
      const middle = { x: (now.x + other.at.x) / 2, y: (now.y + other.at.y) / 2 };
      if (spread(at) > 1) zoom(compare, (state(compare).zoom * spread(now)) / spread(at), middle);
    } else {
      move(compare, now.x - at.x, now.y - at.y);
    }
    pointer.at = now;
  });

  for (const kind of ["pointerup", "pointercancel"]) {
    document.addEventListener(kind, (event) => pointers.delete(event.pointerId));
  }
})();
