/* The panel of filters: classes, decisions, histograms with two handles, switches. */
"use strict";

(() => {
  const { make } = P2SEG;
  const BINS = 36;
  const { filters, VALUES } = P2SEG.list;
  const home = () => document.getElementById("filters");
  const refreshers = [];
  const resets = [];
  let changed = () => {};

  function section(title, ...children) {
    return make("section", {}, make("h2", { textContent: title }), ...children);
  }

  /* A list of choices; any number can be selected. */
  function choices(chosen, entries) {
    const list = make("div", { class: "choices" });
    for (const { value, name, color, count } of entries) {
      const dot = make("i", { class: "dot" });
      if (color) dot.style.background = color;
      const number = make("span", { class: "count" });
      const button = make("button", {
        title: name, "aria-pressed": "false",
        onclick() {
          if (chosen.has(value)) chosen.delete(value); else chosen.add(value);
          refresh();
          changed();
        },
      }, ...(color ? [dot] : []), make("span", { class: "name", textContent: name }), number);
      button.dataset.value = value;
      refreshers.push(() => {
        button.setAttribute("aria-pressed", chosen.has(value));
        number.textContent = P2SEG.number(count());
      });
      list.append(button);
    }
    resets.push(() => chosen.clear());
    return list;
  }

  function classes() {
    const counts = new Map();
    for (const mask of P2SEG.masks) counts.set(mask.label, (counts.get(mask.label) || 0) + 1);
    const there = P2SEG.about.classes.map((name, k) => ({ name, label: k + 1 }))
      .filter(({ label }) => counts.has(label));
    return choices(filters.classes, there.map(({ name, label }) => ({
      value: label, name, count: () => counts.get(label),
      color: P2SEG.color(P2SEG.about.class_colors[label - 1]),
    })));
  }

  function decided() {
    const { counts } = P2SEG.decisions;
    const left = () => P2SEG.masks.length - counts.accept - counts.reject - counts.reclick;
    const entry = (value, name, count, color) => ({ value, name, count, color });
    return choices(filters.decisions, [
      entry("", "Not judged", left, "var(--soft)"),
      entry("accept", "Accepted", () => counts.accept, "var(--accept)"),
      entry("reject", "Rejected", () => counts.reject, "var(--reject)"),
      ...(P2SEG.about.clicked
        ? [entry("reclick", "Clicked again", () => counts.reclick, "var(--reclick)")] : []),
    ]);
  }

  function flag(name, title, count) {
    const box = make("input", { type: "checkbox", onchange() { filters[name] = box.checked; changed(); } });
    box.id = `only-${name}`;
    resets.push(() => { filters[name] = false; box.checked = false; });
    const number = make("span", { class: "count", textContent: P2SEG.number(count) });
    box.disabled = count === 0;
    return make("label", { class: "flag" }, box, make("span", { class: "name", textContent: title }), number);
  }

  /* A histogram of a value, with a handle at each end. */
  function histogram(name) {
    const { title, of, shown, log, low, high } = VALUES[name];
    const values = P2SEG.masks.map(of).filter((value) => value !== null);
    if (!values.length) return null;
    const least = low ?? values.reduce((a, b) => Math.min(a, b), Infinity);
    const most = high ?? values.reduce((a, b) => Math.max(a, b), 0);
    if (values.every((value) => value === values[0])) {
      return section(title, make("p", { class: "all", textContent: `all ${shown(values[0])}` }));
    }
    const start = Math.max(least, 1), ratio = most / start;
    const edge = (k) => {
      if (k === 0) return least;
      if (k === BINS) return most;
      return log ? start * ratio ** (k / BINS) : least + (most - least) * k / BINS;
    };
    const bars = new Array(BINS).fill(0);
    for (const value of values) {
      const part = log ? Math.log(Math.max(value, start) / start) / Math.log(ratio)
        : (value - least) / (most - least);
      bars[Math.min(BINS - 1, Math.max(0, Math.floor(part * BINS)))] += 1;
    }
    const highest = Math.sqrt(Math.max(...bars));
    const drawn = make("div", { class: "bars" }, ...bars.map((count) => {
      const bar = make("i");
      bar.style.height = count ? `${Math.max(6, 100 * Math.sqrt(count) / highest)}%` : "0";
      return bar;
    }));
    const says = make("span", { class: "range" });
    const handles = [0, BINS].map((value, side) => make("input", {
      type: "range", min: 0, max: BINS, step: 1, value,
      "aria-label": `${title} ${side ? "at most" : "at least"}`,
      oninput() { move(side); },
    }));
    function move(side) {
      const [a, b] = handles.map((handle) => Number(handle.value));
      if (a >= b) handles[side].value = side ? Math.min(BINS, a + 1) : Math.max(0, b - 1);
      show();
      changed();
    }
    function show() {
      const [a, b] = handles.map((handle) => Number(handle.value));
      says.textContent = `${shown(edge(a))} to ${shown(edge(b))}`;
      [...drawn.children].forEach((bar, k) => bar.classList.toggle("out", k < a || k >= b));
      if (a === 0 && b === BINS) delete filters.ranges[name];
      else filters.ranges[name] = [edge(a), edge(b)];
    }
    resets.push(() => { [handles[0].value, handles[1].value] = [0, BINS]; show(); });
    show();
    const box = section(title, make("div", { class: "histogram" }, drawn, ...handles));
    box.querySelector("h2").append(says);
    box.dataset.value = name;
    return box;
  }

  function refresh() { for (const each of refreshers) each(); }

  P2SEG.filters = {
    start(whenChanged) {
      changed = whenChanged;
      const search = make("input", {
        type: "search", placeholder: "File name", "aria-label": "File name",
        oninput() { filters.text = search.value.toLowerCase(); changed(); },
      });
      resets.push(() => { filters.text = ""; search.value = ""; });
      const shown = make("p", { class: "shown" }, make("b", { id: "shown" }), " ", make("span", { id: "of" }));
      const clear = make("button", { class: "ghost", id: "reset", textContent: "Reset", onclick: P2SEG.filters.reset });
      const boxes = P2SEG.masks.filter((mask) => mask.default).length;
      const near = P2SEG.masks.filter((mask) => mask.touches.length).length;
      const ranges = ["iou", "suspicion", "score", "size"].map(histogram).filter(Boolean);
      home().append(
        make("div", { class: "head" }, shown, clear),
        search,
        section("Decision", decided()),
        ...ranges,
        section("Only", flag("box", "Default boxes", boxes), flag("touches", "Touching their class", near)),
        section("Class", classes()),
      );
      P2SEG.decisions.listen(refresh);
      refresh();
    },
    reset() {
      for (const each of resets) each();
      refresh();
      changed();
    },
  };
})();
