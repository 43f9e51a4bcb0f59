// What the page does in the browser itself: theme, composing text, seeds, bringing a started run into view, watching it,
// and taking pictures from the clipboard and from the results.
(() => {
  const THEME_KEY = "krea-studio-theme";

  function applyTheme(theme) {
    document.body.classList.toggle("dark", theme === "dark");
  }

  function savedTheme() {
    try {
      return localStorage.getItem(THEME_KEY);
    } catch {
      return null; // storage may be closed to embedded pages
    }
  }

  function rememberTheme(theme) {
    try {
      localStorage.setItem(THEME_KEY, theme);
    } catch {
      // the choice then lasts until the page is left
    }
  }

  // Gradio sets the system's theme when it starts, so the saved choice is applied whenever the body's class changes.
  function keepTheme() {
    const theme = savedTheme();
    if (theme && !new URLSearchParams(location.search).has("__theme")) applyTheme(theme);
  }

  document.addEventListener("click", (event) => {
    if (event.target.closest("#theme-toggle")) {
      const theme = document.body.classList.contains("dark") ? "light" : "dark";
      rememberTheme(theme);
      applyTheme(theme);
    }
    const begins = event.target.closest("#generate, #recent button, #sweep-begin");
    if (begins) {
      const results = document.getElementById(begins.id === "sweep-begin" ? "sweep-results" : "results");
      if (results && window.matchMedia("(max-width: 900px)").matches) {
        results.scrollIntoView({ behavior: "smooth", block: "start" });
      }
    }
  });

  // Boxes for numbers bring up the number pad on a phone.
  document.addEventListener("pointerdown", (event) => {
    if (event.target.closest("#seed, #steps, #guidance-scale")) event.target.inputMode = "decimal";
  });

  // Who enters a seed wants that seed. Gradio's own input event does not see text that is pasted.
  document.addEventListener("input", (event) => {
    const random = document.querySelector("#random-seed input");
    if (event.target.closest("#seed") && random?.checked) random.click();
  });

  // Enter that confirms a word in an input method (Japanese, Chinese, Korean) is not a submit.
  document.addEventListener(
    "keydown",
    (event) => {
      if (event.key === "Enter" && event.isComposing) event.stopPropagation();
    },
    true,
  );

  const PICTURE_TYPE = "application/x-krea-studio-picture";
  const PASTE_ZONES = "#reference-file, #board-drop";
  // Where a result can be dropped, and where the file then goes.
  const RESULT_ZONES = { "reference-file": "reference-file", "moodboard-choice": "board-file" };

  function give(zone, files) {
    const input = zone?.querySelector("input[type=file]");
    if (!input || !files.length) return;
    const chosen = new DataTransfer();
    for (const file of files) chosen.items.add(file);
    input.files = chosen.files;
    input.dispatchEvent(new Event("change", { bubbles: true }));
  }

  // A result that is dragged is told by its address: what else a browser puts into the drag differs between browsers.
  document.addEventListener("dragstart", (event) => {
    const image = event.target.closest?.("#gallery") && (event.target.matches("img") ? event.target : event.target.querySelector("img"));
    if (!image) return;
    event.dataTransfer.setData(PICTURE_TYPE, image.src);
    document.body.classList.add("dragging-result");
  });

  for (const kind of ["dragend", "drop"]) {
    document.addEventListener(kind, () => document.body.classList.remove("dragging-result"), true);
  }

  for (const kind of ["dragenter", "dragover", "drop"]) {
    document.addEventListener(
      kind,
      async (event) => {
        const zone = event.target.closest?.(Object.keys(RESULT_ZONES).map((id) => `#${id}`).join());
        if (!zone || !event.dataTransfer.types.includes(PICTURE_TYPE)) return;
        event.preventDefault();
        event.stopImmediatePropagation();
        if (kind !== "drop") return;
        const address = event.dataTransfer.getData(PICTURE_TYPE);
        const picture = await (await fetch(address)).blob();
        const target = document.getElementById(RESULT_ZONES[zone.id]);
        give(target, [new File([picture], "result.png", { type: picture.type })]);
      },
      true,
    );
  }

  document.addEventListener("paste", (event) => {
    // Spreadsheets and word processors put a picture of the text beside it.
    if (event.target.closest?.("input, textarea") && event.clipboardData?.types.includes("text/plain")) return;
    const pictures = Array.from(event.clipboardData?.files ?? []).filter((file) => file.type.startsWith("image/"));
    const zone = Array.from(document.querySelectorAll(PASTE_ZONES)).find((each) => each.offsetParent);
    if (pictures.length && zone) {
      event.preventDefault();
      give(zone, pictures);
    }
  });

  // A run that is shown is asked for again and again, and the stage brought up to date in place: one text, one bar, one
  // image whose source changes. Where there is more to draw (pictures, the queue, the end), Gradio is asked for it.
  const LOOK_MS = 400;
  const RETRY_MS = 2000; // where the server did not answer, and for news that did not come
  const HIDDEN_MS = 5000; // in a tab that nobody sees

  // The stage of Create and the table of a sweep, each with the button by which there is more of it.
  const WATCHED = { "#stage": "#news", "#sweep-stage": "#sweep-news" };

  async function watchRun(place) {
    const stage = document.querySelector(`${place} [data-run]`);
    let pause = LOOK_MS;
    if (stage) {
      try {
        const { run, version } = stage.dataset;
        const answer = await fetch(`${appRoot()}runs/${run}?since=${version}`, { cache: "no-store" });
        if (answer.ok) drawRun(stage, await answer.json(), WATCHED[place]);
        else if (answer.status === 404) askForNews(stage, WATCHED[place]);
        else pause = RETRY_MS;
      } catch {
        pause = RETRY_MS;
      }
    }
    setTimeout(watchRun, document.hidden ? HIDDEN_MS : pause, place);
  }

  function appRoot() {
    return new URL(`${(window.gradio_config?.root ?? "").replace(/\/$/, "")}/`, location.href).href;
  }

  function drawRun(stage, run, news) {
    stage.dataset.version = run.version;
    if (run.news !== stage.dataset.news) askForNews(stage, news);
    if (run.ended) return;
    stage.querySelector(".running p").textContent = run.label;
    const bar = stage.querySelector(".bar");
    const filled = bar.firstElementChild;
    filled.classList.toggle("bar-unknown", run.share === null);
    filled.style.width = run.share === null ? "" : `${Math.round(100 * run.share)}%`;
    if (run.share === null) bar.removeAttribute("aria-valuenow");
    else bar.setAttribute("aria-valuenow", Math.round(100 * run.share));
    const canvas = stage.querySelector(".canvas");
    if (!canvas) return;
    if (!run.preview) {
      canvas.replaceChildren();
    } else {
      const image = canvas.querySelector("img") ?? canvas.appendChild(new Image());
      image.alt = "Preview of the picture in the making";
      if (image.src !== run.preview) image.src = run.preview;
    }
  }

  function askForNews(stage, news) {
    const now = Date.now();
    if (now - (stage.askedAt ?? 0) < RETRY_MS) return;
    stage.askedAt = now;
    document.querySelector(news)?.click();
  }

  // Pictures in what the studio writes name their file, whose address depends on where the page is served. One that was
  // there before takes its place again when a table is drawn anew, so that it does not flicker.
  const drawnImages = new Map();
  const IMAGES_KEPT = 500;

  function showFiles() {
    for (const image of document.querySelectorAll("img[data-file]:not([src])")) {
      const { file } = image.dataset;
      const before = drawnImages.get(file);
      if (before && !before.isConnected && before.className === image.className && before.alt === image.alt) {
        image.replaceWith(before);
        continue;
      }
      image.src = `${appRoot()}gradio_api/file=${file.split("/").map(encodeURIComponent).join("/")}`;
      drawnImages.set(file, image);
    }
    if (drawnImages.size <= IMAGES_KEPT) return;
    for (const [file, image] of drawnImages) if (!image.isConnected) drawnImages.delete(file);
  }

  function startWatching() {
    keepTheme();
    new MutationObserver(keepTheme).observe(document.body, { attributeFilter: ["class"] });
    new MutationObserver(showFiles).observe(document.body, { childList: true, subtree: true });
  }

  // Gradio may add this script before or after the page is read.
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", startWatching);
  else startWatching();
  for (const place of Object.keys(WATCHED)) watchRun(place);
})();
