/* The grid of tiles. Only visible tiles are in the document, because there may be 100,000. */
"use strict";

(() => {
  const { make } = P2SEG;
  const GAP = 10, CAPTION = 26, BEYOND = 2; // pixels; rows kept above and below
  const BUDGET = 6; // milliseconds per frame for pictures and overlays
  const FLYING = 250; // scroll speed in pixels per frame above which no picture is drawn
  const tiles = new Map(); // by place in the list
  const bare = new Set(); // places of tiles whose picture is not drawn yet
  let items = [];
  let wanted = 184, side = 184, columns = 1, chosen = 0, withMasks = true;
  let box, sheet, openOne = () => {};

  const rowHeight = () => side + CAPTION + GAP;
  const dense = () => Math.min(2, window.devicePixelRatio || 1);

  function layout() {
    const room = box.clientWidth - GAP;
    columns = Math.max(1, Math.floor(room / (wanted + GAP)));
    side = Math.max(64, Math.floor(room / columns) - GAP); // tiles fill the whole width
    sheet.style.height = `${Math.ceil(items.length / columns) * rowHeight() + GAP}px`;
    box.style.setProperty("--side", `${side}px`);
  }

  /* Adds the visible tiles and removes the others. */
  function draw() {
    const first = Math.max(0, Math.floor((box.scrollTop - GAP) / rowHeight()) - BEYOND);
    const rows = Math.ceil(box.clientHeight / rowHeight()) + 2 * BEYOND + 1;
    const start = first * columns, end = Math.min(items.length, start + rows * columns);
    for (const [place, tile] of tiles) {
      if (place < start || place >= end) { tile.remove(); tiles.delete(place); bare.delete(place); }
    }
    for (let place = start; place < end; place++) {
      if (!tiles.has(place)) {
        const tile = made(place);
        tiles.set(place, tile);
        bare.add(place);
        sheet.append(tile);
      }
    }
    dress();
  }

  /* Draws the tiles' pictures, visible tiles first, within the time budget of a frame. So fast
     scrolling never waits for pictures that leave the view at once. */
  let dressing = false, before = 0;
  function dress() {
    if (dressing || !bare.size) return;
    dressing = true;
    requestAnimationFrame(() => {
      dressing = false;
      const flown = Math.abs(box.scrollTop - before);
      before = box.scrollTop;
      if (flown > FLYING) { dress(); return; }
      const until = performance.now() + BUDGET;
      const middle = (box.scrollTop + box.clientHeight / 2) / rowHeight() * columns;
      const order = [...bare].sort((a, b) => Math.abs(a - middle) - Math.abs(b - middle));
      for (const place of order) {
        bare.delete(place);
        fill(tiles.get(place), items[place]);
        if (performance.now() > until) break;
      }
      dress();
    });
  }

  function fill(tile, item) {
    const image = make("img", { alt: "", decoding: "async", draggable: false });
    const picture = tile.firstChild;
    if (item.image) cropped(image, item);
    else whole(image, item);
    picture.append(image, make("canvas"));
    overlay(tile, item);
  }

  function made(place) {
    const item = items[place];
    const isMask = P2SEG.list.order.view === "masks";
    const tile = make("figure", { class: "tile", title: isMask ? item.image.name : item.name },
      make("div", { class: "picture" }), make("figcaption"));
    tile.dataset.place = place;
    tile.style.transform = `translate(${GAP + place % columns * (side + GAP)}px, ${GAP + Math.floor(place / columns) * rowHeight()}px)`;
    mark(tile, item);
    return tile;
  }

  /* Shows one cell of a sheet by enlarging the sheet and shifting it. */
  function cropped(image, mask) {
    const { sheet: most } = P2SEG.about;
    const own = mask.k % most;
    const onSheet = Math.min(most, mask.image.masks.length - (mask.k - own));
    const across = Math.min(4, onSheet), down = Math.ceil(onSheet / across);
    image.src = `${P2SEG.file(mask.image)}-${Math.floor(mask.k / most)}.jpg`;
    image.style.width = `${100 * across}%`;
    image.style.height = `${100 * down}%`;
    image.style.left = `${-100 * (own % across)}%`;
    image.style.top = `${-100 * Math.floor(own / across)}%`;
  }

  function whole(image, item) {
    image.src = `${P2SEG.file(item)}-small.jpg`;
    image.className = "whole";
  }

  function overlay(tile, item) {
    const canvas = tile.querySelector("canvas"), pixels = Math.round(side * dense());
    if (!canvas) return;
    if (!withMasks) canvas.width = canvas.height = 1;
    else if (item.image) P2SEG.paint.crop(canvas, item, pixels);
    else P2SEG.paint.thumbnail(canvas, item, pixels);
  }

  /* Updates the changeable parts of a tile: its caption and its decision. */
  function mark(tile, item) {
    const isMask = P2SEG.list.order.view === "masks";
    const word = isMask ? P2SEG.decisions.word(item.id) : wordOf(item);
    tile.dataset.decision = word;
    tile.classList.toggle("chosen", Number(tile.dataset.place) === chosen);
    tile.querySelector("figcaption").replaceChildren(...(isMask ? caption(item) : captionOf(item)));
  }

  function wordOf(image) {
    const words = new Set(image.masks.map((mask) => P2SEG.decisions.word(mask.id)));
    return words.size === 1 ? [...words][0] : "";
  }

  function caption(mask) {
    const dot = make("i", { class: "dot" });
    dot.style.background = P2SEG.color(P2SEG.classColor(mask));
    const name = make("span", { class: "name", textContent: P2SEG.about.classes[mask.label - 1] });
    const parts = [dot, name];
    if (mask.default) parts.push(make("span", { class: "tag", textContent: "box", title: "Default box" }));
    parts.push(value(mask));
    return parts;
  }

  function captionOf(image) {
    const name = make("span", { class: "name", textContent: image.name.split("/").pop() });
    const judged = image.masks.filter((mask) => P2SEG.decisions.word(mask.id)).length;
    const count = make("span", { class: "value", textContent: `${judged}/${image.masks.length}` });
    return [name, count];
  }

  /* The number by which tiles are sorted, else the IoU or the suspicion. */
  function value(mask) {
    const { sort } = P2SEG.list.order;
    const truth = P2SEG.about.truth !== null && mask.iou !== null;
    let text = truth ? mask.iou.toFixed(2) : mask.suspicion.toFixed(2);
    let what = truth ? "IoU with the ground truth" : "Suspicion";
    if (sort === "suspicion") [text, what] = [mask.suspicion.toFixed(2), "Suspicion"];
    if (sort === "score") [text, what] = [mask.score.toFixed(2), "Score"];
    if (sort === "large" || sort === "small") [text, what] = [P2SEG.number(mask.area), "Area in pixels"];
    return make("span", { class: "value", textContent: text, title: what });
  }

  function choose(place) {
    if (!items.length) return;
    const before = tiles.get(chosen);
    chosen = Math.max(0, Math.min(items.length - 1, place));
    if (before) before.classList.remove("chosen");
    const top = GAP + Math.floor(chosen / columns) * rowHeight();
    if (top < box.scrollTop + GAP) box.scrollTop = top - GAP;
    else if (top + rowHeight() > box.scrollTop + box.clientHeight) box.scrollTop = top + rowHeight() - box.clientHeight;
    draw();
    const tile = tiles.get(chosen);
    if (tile) tile.classList.add("chosen");
  }

  P2SEG.grid = {
    start(open) {
      openOne = open;
      box = document.getElementById("grid");
      sheet = document.getElementById("sheet");
      let asked = false;
      box.addEventListener("scroll", () => {
        if (asked) return;
        asked = true;
        requestAnimationFrame(() => { asked = false; draw(); });
      }, { passive: true });
      new ResizeObserver(() => { layout(); P2SEG.grid.redraw(); }).observe(box);
      sheet.addEventListener("click", (event) => {
        const tile = event.target.closest(".tile");
        if (tile) { choose(Number(tile.dataset.place)); openOne(chosen); }
      });
    },
    get items() { return items; },
    get chosen() { return chosen; },
    get columns() { return columns; },
    get masks() { return withMasks; },
    set masks(value) { withMasks = value; P2SEG.grid.mark(); },
    resize(pixels) { wanted = pixels; layout(); P2SEG.grid.redraw(); choose(chosen); },

    /* Shows other items, starting at the first. */
    show(others) {
      items = others;
      chosen = 0;
      box.scrollTop = 0;
      layout();
      P2SEG.grid.redraw();
    },
    redraw() {
      for (const tile of tiles.values()) tile.remove();
      tiles.clear();
      bare.clear();
      draw();
    },
    /* Updates the parts of the tiles that may have changed. */
    mark() {
      for (const [place, tile] of tiles) {
        mark(tile, items[place]);
        overlay(tile, items[place]);
      }
    },
    choose,
  };
})();
