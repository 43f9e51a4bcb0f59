// What the browser does for the tab History: the page's address, which pictures are meant, and the keys.
// The address says what is shown; a link or a key changes it and asks Gradio for what it names (#history-go).
(() => {
  const TAB = "history";
  const START = `?tab=${TAB}`;
  const picked = new Set(); // what is selected, over all pages
  let meant = null; // the pictures that the next action is for, in the place of the selected ones
  let ready = false; // what the address names was shown
  let left = START; // where the tab was left
  let focus = null; // a picture's id, or which one of the next page
  let place = null; // how far a list was scrolled that a picture was opened from
  let wrote = null; // the address where what was drawn gave it, and not the person

  const tab = () => new URLSearchParams(location.search).get("tab") || "create";
  const seen = (selector) => [...document.querySelectorAll(selector)].find((each) => each.offsetParent);
  const opened = () => seen("#history-picture [data-picture]")?.dataset.picture;
  const shots = () => [...document.querySelectorAll("#history-grid a.shot")];
  const idOf = (element) => element?.closest?.("[data-picture]")?.dataset.picture;

  // What Gradio itself reads from an address, such as `__theme`, stays in it.
  function written(address) {
    const query = new URLSearchParams(address);
    for (const [name, value] of new URLSearchParams(location.search)) if (name.startsWith("__")) query.set(name, value);
    return `?${query}`;
  }

  function move(address, replace, state = {}) {
    const next = written(address);
    if (next !== written(location.search)) history[replace ? "replaceState" : "pushState"](state, "", next);
  }

  function go() {
    wrote = null;
    document.querySelector("#history-go")?.click();
  }

  function follow(link) {
    const beside = link.closest("#history-picture") && link.rel !== "up"; // Back leads to the list, not through all
    if (link.matches(".shot")) [place, focus] = [scrollY, idOf(link)];
    move(link.getAttribute("href"), beside);
    if (link.closest(".history-pages")) scrollTo(0, 0);
    go();
  }

  function act(ids, button) {
    const pressed = document.querySelector(button);
    if (!ids.length || !pressed) return;
    meant = ids;
    pressed.click();
  }

  function mark() {
    for (const box of document.querySelectorAll("[data-pick]")) box.checked = picked.has(box.dataset.pick);
    document.querySelector("#history")?.toggleAttribute("data-picking", picked.size > 0);
    const count = document.querySelector("#history-picked-count");
    if (count) count.textContent = `${picked.size} selected`;
  }

  function settle() {
    mark();
    const open = opened();
    if (open) {
      if (place !== null && scrollY > 0) scrollTo(0, 0);
      return;
    }
    if (place !== null && shots().length) {
      scrollTo(0, place);
      place = null;
    }
    const links = shots();
    const found = { first: links[0], last: links[links.length - 1] }[focus] ?? links.find((link) => idOf(link) === focus);
    if (found && document.activeElement === document.body) found.focus();
  }

  window.kreaHistory = {
    address: () => location.search,
    picked: () => {
      const ids = meant ?? (opened() ? [opened()] : [...picked]);
      meant = null;
      return ids;
    },
    // After something was drawn that was asked for at an address: where it is elsewhere, its own address, and by what it
    // came ("go", "stay", "push", "type", "change"). Who has gone elsewhere meanwhile is shown that place again instead.
    drawn: (address, asked, by) => {
      ready = true;
      if (tab() === TAB && written(asked) !== written(location.search) && location.search !== wrote) go();
      else if (address && by !== "stay" && tab() === TAB) {
        move(address, by === "go" || by === "change" || (by === "type" && history.state?.typing), { typing: by === "type" });
        wrote = location.search;
      }
      if (by === "change") picked.clear();
      requestAnimationFrame(() => requestAnimationFrame(settle));
    },
    // A tab is shown, by whatever.
    entered: (name) => {
      if (!ready || tab() === name) return;
      if (tab() === TAB) left = location.search;
      move(name === TAB ? left : `?tab=${name}`);
      if (name === TAB) go();
    },
    // Brings into view what was filled on Create, once that is shown.
    show: (selector) => requestAnimationFrame(() => document.querySelector(selector)?.scrollIntoView({ block: "center" })),
  };

  function step(rel) {
    const link = seen(`#history-picture a[rel="${rel}"]`);
    if (opened()) {
      if (link) follow(link);
      return;
    }
    const links = shots();
    const at = links.findIndex((each) => each === document.activeElement || idOf(each) === idOf(document.activeElement));
    const next = at < 0 ? links[0] : links[at + (rel === "next" ? 1 : -1)];
    const page = seen(`.history-pages a[rel="${rel}"]`);
    if (next) {
      focus = idOf(next);
      next.focus();
    } else if (page) {
      focus = rel === "next" ? "first" : "last";
      document.activeElement?.blur();
      follow(page);
    }
  }

  const TYPING = "input:not([type=checkbox]), textarea, select, [contenteditable], [role=listbox], [role=slider]";

  function press(key) {
    const open = opened();
    const ids = open ? [open] : picked.size ? [...picked] : [idOf(document.activeElement)].filter(Boolean);
    const back = seen('#history-picture a[rel="up"], #history-bin a[rel="up"]');
    switch (key) {
      case "ArrowRight":
      case "ArrowLeft":
        step(key === "ArrowRight" ? "next" : "prev");
        return true;
      case "Escape":
        if (back) follow(back);
        else picked.clear();
        mark();
        return true;
      case "f":
      case "F":
        act(ids, open ? "#history-star" : "#history-picked-star");
        return true;
      case "Delete":
        act(ids, open ? "#history-delete" : "#history-picked-delete");
        return true;
    }
    return false;
  }

  document.addEventListener("keydown", (event) => {
    if (tab() !== TAB || event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest?.(TYPING) || !seen("#history")) return;
    if (press(event.key)) event.preventDefault();
  });

  document.addEventListener("click", (event) => {
    const at = (selector) => event.target.closest?.(selector);
    const link = at("a[data-go]");
    if (link && (event.ctrlKey || event.metaKey) && link.matches(".shot")) {
      event.preventDefault();
      link.parentElement.querySelector("[data-pick]").click();
    } else if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
      event.preventDefault();
      follow(link);
    }
    if (at("[data-star]")) act([at("[data-star]").dataset.star], "#history-picked-star");
    if (at("[data-restore]")) act([at("[data-restore]").dataset.restore], "#history-restore");
    if (at("#history-picked-none")) {
      picked.clear();
      mark();
    }
  });

  document.addEventListener("change", (event) => {
    const id = event.target.dataset?.pick;
    if (!id) return;
    if (event.target.checked) picked.add(id);
    else picked.delete(id);
    mark();
  });

  document.addEventListener("focusin", (event) => {
    if (event.target.matches?.("#history-grid a.shot")) focus = idOf(event.target);
  });

  addEventListener("popstate", go);
})();
