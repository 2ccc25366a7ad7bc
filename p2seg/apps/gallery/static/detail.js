/* The large view of one image: its masks at every stage, zoom, and decisions. */
"use strict";

(() => {
  const { make } = P2SEG;
  const byId = (id) => document.getElementById(id);
  const LAYERS = { masks: ["Fill", "m"], outline: ["Outline", "o"], points: ["Clicks", "p"], neighbors: ["Neighbors", "b"] };
  const layers = { masks: true, outline: true, points: true, neighbors: true };
  const state = { image: null, mask: null, content: null, stage: "final", bare: false, clicking: false };
  const camera = { scale: 1, x: 0, y: 0, fitted: true }; // canvas pixels per image pixel; position of the image's corner
  let canvas, pen, picture = null, overlay = null, overlayKey = "", drawing = false;
  let moveOn = () => {};

  /* Shows an image, and selects one of its masks. */
  async function show(image, mask) {
    const other = state.image !== image;
    Object.assign(state, { image, mask, clicking: false });
    byId("detail").hidden = false;
    canvas.focus();
    labels();
    if (other) {
      Object.assign(state, { content: null });
      picture = new Image();
      picture.onload = picture.onerror = draw;
      picture.src = `${P2SEG.file(image)}.jpg`;
    }
    if (other || camera.fitted) fit();
    draw();
    if (!other && state.content) return;
    try {
      const content = await P2SEG.codes(image);
      if (state.image !== image) return;
      state.content = content;
    } catch (error) {
      P2SEG.say(error.message, true);
    }
    labels();
    draw();
  }

  function labels() {
    const { image, mask } = state;
    const classes = state.stage === "semantic"; // this stage has one color per class
    P2SEG.panel(image, mask, { decide, reclick, select: (each) => show(image, each) }, classes);
    const { items, chosen } = P2SEG.grid;
    byId("place").textContent = `${P2SEG.number(chosen + 1)} / ${P2SEG.number(items.length)}`;
    byId("title").textContent = image.name;
    const note = byId("note");
    note.hidden = !state.clicking;
    note.textContent = "Click the object; Esc cancels";
    canvas.classList.toggle("clicking", state.clicking);
    const names = stages();
    byId("stages").replaceChildren(...names.map((name, k) => make("button", {
      textContent: name, "aria-pressed": name === state.stage, title: `Key ${k + 1}`,
      onclick: () => pick(name), "data-stage": name,
    })), ...(P2SEG.about.hint ? [make("button", { class: "more", textContent: "?", title: P2SEG.about.hint, onclick: () => P2SEG.say(P2SEG.about.hint) })] : []));
    byId("layers").replaceChildren(...Object.entries(LAYERS).map(([name, [text, key]]) => make("button", {
      textContent: text, "aria-pressed": layers[name], title: `Key ${key}`,
      onclick: () => toggle(name), "data-layer": name,
    })));
  }

  /* The available stages in their order; the truth follows the final masks. */
  function stages() {
    return [...P2SEG.about.stages, "final", ...(P2SEG.about.truth === null ? [] : ["truth"])];
  }
  function pick(name) { state.stage = name; labels(); draw(); }
  function toggle(name) { layers[name] = !layers[name]; labels(); draw(); }

  function resize() {
    const dense = window.devicePixelRatio || 1;
    const { clientWidth, clientHeight } = canvas;
    canvas.width = Math.max(1, Math.round(clientWidth * dense));
    canvas.height = Math.max(1, Math.round(clientHeight * dense));
    if (state.image && camera.fitted) fit();
    draw();
  }

  function fit() {
    const { image } = state;
    camera.scale = 0.97 * Math.min(canvas.width / image.width, canvas.height / image.height);
    camera.x = (canvas.width - image.width * camera.scale) / 2;
    camera.y = (canvas.height - image.height * camera.scale) / 2;
    camera.fitted = true;
  }
  function toMask() {
    if (!state.mask) return;
    const [x, y, side] = state.mask.crop;
    camera.scale = 0.9 * Math.min(canvas.width, canvas.height) / side;
    camera.x = canvas.width / 2 - (x + side / 2) * camera.scale;
    camera.y = canvas.height / 2 - (y + side / 2) * camera.scale;
    camera.fitted = false;
  }
  function zoom(factor, x = canvas.width / 2, y = canvas.height / 2) {
    const scale = Math.max(0.05, Math.min(60, camera.scale * factor));
    camera.x = x - (x - camera.x) * scale / camera.scale;
    camera.y = y - (y - camera.y) * scale / camera.scale;
    camera.scale = scale;
    camera.fitted = false;
    draw();
  }

  function draw() {
    if (drawing || !state.image) return;
    drawing = true;
    requestAnimationFrame(() => { drawing = false; paint(); });
  }

  function paint() {
    const { image, mask } = state;
    const width = image.width * camera.scale, height = image.height * camera.scale;
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, canvas.width, canvas.height);
    pen.imageSmoothingEnabled = camera.scale < 12;
    if (picture.complete && picture.naturalWidth) pen.drawImage(picture, camera.x, camera.y, width, height);
    byId("percent").textContent = `${Math.round(100 * camera.scale / (window.devicePixelRatio || 1))}%`;
    canvas.dataset.ready = state.content && picture.complete ? "yes" : "";
    if (state.bare) return;
    const layer = state.content && (layers.masks || layers.outline) ? stageCanvas() : null;
    if (layer) {
      pen.imageSmoothingEnabled = true;
      pen.drawImage(layer, camera.x, camera.y, width, height);
    }
    if (!layers.points) return;
    for (const each of image.masks) {
      if (each !== mask && layers.neighbors) point(each, 5, P2SEG.ownColor(each.k));
    }
    if (mask) point(mask, 7.5, P2SEG.ownColor(mask.k));
  }

  function point(mask, radius, color) {
    const at = P2SEG.paint.pointOf(mask);
    if (!at) return;
    const dense = window.devicePixelRatio || 1;
    // the center of the first pixel is (0, 0)
    const place = at.map((value, k) => (value + 0.5) * camera.scale + (k ? camera.y : camera.x));
    P2SEG.paint.dot(pen, place[0], place[1], radius * dense, P2SEG.color(color));
  }

  /* Returns the overlay, which is drawn again only if something has changed. */
  function stageCanvas() {
    const { image, mask, stage, content } = state;
    const selected = mask ? mask.k : -1;
    const key = [image.place, stage, selected, layers.masks, layers.outline, layers.neighbors].join();
    if (key !== overlayKey) {
      const found = stage === "final" ? null : content.stages.find((each) => each.name === stage);
      overlay = stage !== "final" && !found ? null : P2SEG.paint.stage(image, content, found, {
        selected, only: layers.neighbors ? -1 : selected, outline: layers.outline, fill: layers.masks,
      });
      overlayKey = key;
    }
    return overlay;
  }

  function decide(word) {
    if (!state.mask) return;
    const { mask } = state;
    P2SEG.decisions.set([{ id: mask.id, image_id: mask.image.id, decision: word }]);
    moveOn(mask);
  }
  function reclick() {
    if (!state.mask || !P2SEG.about.clicked) return;
    state.clicking = !state.clicking;
    labels();
  }
  /* Makes a click on the canvas the mask's new point. */
  function clicked(event) {
    const { image, mask } = state;
    const dense = window.devicePixelRatio || 1;
    const at = [event.offsetX * dense - camera.x, event.offsetY * dense - camera.y].map((each) => each / camera.scale);
    if (at[0] < 0 || at[1] < 0 || at[0] >= image.width || at[1] >= image.height) {
      P2SEG.say("That is outside the image; click inside", true);
      return;
    }
    const point = at.map(Math.floor); // the clicked pixel; the first pixel spans 0 to 1
    state.clicking = false;
    P2SEG.decisions.set([{ id: mask.id, image_id: image.id, decision: "reclick", point }]);
    labels();
    draw();
  }

  function pointer() {
    let from = null;
    canvas.addEventListener("pointerdown", (event) => {
      from = { x: event.offsetX, y: event.offsetY, moved: false, camera: { ...camera } };
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!from) return;
      const right = event.offsetX - from.x, down = event.offsetY - from.y;
      if (!from.moved && Math.hypot(right, down) < 4) return;
      const dense = window.devicePixelRatio || 1;
      from.moved = true;
      Object.assign(camera, { x: from.camera.x + right * dense, y: from.camera.y + down * dense, fitted: false });
      draw();
    });
    canvas.addEventListener("pointerup", (event) => {
      const click = from && !from.moved;
      from = null;
      if (!click) return;
      if (state.clicking) clicked(event); else selectAt(event);
    });
    canvas.addEventListener("pointercancel", () => { from = null; });
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      const dense = window.devicePixelRatio || 1;
      zoom(Math.exp(-event.deltaY / 400), event.offsetX * dense, event.offsetY * dense);
    }, { passive: false });
  }

  /* Selects the smallest mask under the mouse. */
  function selectAt(event) {
    const dense = window.devicePixelRatio || 1;
    const x = event.offsetX * dense, y = event.offsetY * dense;
    const test = make("canvas").getContext("2d");
    const under = state.image.masks.filter((mask) => {
      const [left, top, side] = mask.crop;
      const zoomed = P2SEG.about.cell / side;
      const at = [((x - camera.x) / camera.scale - left) * zoomed - 0.5, ((y - camera.y) / camera.scale - top) * zoomed - 0.5];
      return test.isPointInPath(new Path2D(mask.path), ...at, "evenodd");
    });
    under.sort((a, b) => a.area - b.area);
    if (under.length) show(state.image, under[0]);
  }

  P2SEG.detail = {
    state, layers, camera, show, pick, toggle, decide, reclick, stages,
    get open() { return !byId("detail").hidden; },
    start(next) {
      moveOn = next;
      canvas = byId("canvas");
      canvas.tabIndex = 0;
      pen = canvas.getContext("2d");
      new ResizeObserver(resize).observe(canvas);
      pointer();
      const actions = { in: () => zoom(1.4), out: () => zoom(1 / 1.4), fit: () => { fit(); draw(); }, mask: () => { toMask(); draw(); } };
      for (const button of document.querySelectorAll("[data-zoom]")) {
        button.addEventListener("click", actions[button.dataset.zoom]);
      }
      P2SEG.detail.zoom = actions;
      byId("back").addEventListener("click", P2SEG.detail.close);
    },
    /* Selects another mask of the same image. */
    step(by) {
      const { image, mask } = state;
      if (!mask) return;
      const count = image.masks.length;
      show(image, image.masks[(mask.k + by + count) % count]);
    },
    bare(value) { if (state.bare !== value) { state.bare = value; draw(); } },
    cancel() { state.clicking = false; labels(); },
    refresh() { if (P2SEG.detail.open) { labels(); draw(); } },
    close() {
      byId("detail").hidden = true;
      state.clicking = false;
      P2SEG.grid.mark();
      P2SEG.grid.choose(P2SEG.grid.chosen);
      byId("grid").focus();
    },
  };
})();
