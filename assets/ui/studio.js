// What the page does in the browser itself: theme, composing text, seeds, and bringing a started run into view.
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
    if (event.target.closest("#generate, #recent button")) {
      const results = document.getElementById("results");
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

  function watchTheme() {
    keepTheme();
    new MutationObserver(keepTheme).observe(document.body, { attributeFilter: ["class"] });
  }

  // Gradio may add this script before or after the page is read.
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", watchTheme);
  else watchTheme();
})();
