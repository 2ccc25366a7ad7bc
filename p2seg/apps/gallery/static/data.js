/* The gallery's data. It is loaded by script tags, because a page opened from disk may not fetch
   files. The scripts pass JSON as text, and names are never inserted as HTML. */
"use strict";

window.P2SEG = (() => {
  const images = []; // cards, see p2seg/apps/gallery/build.py
  const masks = [];
  const byId = new Map();
  const parts = [];
  const KEPT = 40; // images whose codes are kept
  const codes = new Map(); // by place, the latest last
  const waiting = new Map();
  let about = null;
  let reviewed = [];

  const P2SEG = {
    images, masks, byId,
    get about() { return about; },
    get reviewed() { return reviewed; },

    // called by the data scripts
    gallery(text) { about = JSON.parse(text); },
    review(text) { reviewed = JSON.parse(text); },
    part(text) { parts[Number(document.currentScript.dataset.number)] = JSON.parse(text); },
    image(text) { waiting.get(Number(document.currentScript.dataset.number)).content = JSON.parse(text); },

    /* Loads a data script; the script reads its `number` from the tag. */
    script(source, number) {
      return new Promise((done, failed) => {
        const tag = document.createElement("script");
        tag.src = source;
        tag.dataset.number = number;
        tag.onload = () => { tag.remove(); done(); };
        tag.onerror = () => { tag.remove(); failed(new Error(`${source} cannot be read`)); };
        document.head.append(tag);
      });
    },

    /* Loads all cards into `images` and `masks`. */
    async start() {
      const loads = [];
      for (let k = 0; k < about.parts; k++) {
        loads.push(P2SEG.script(`data/part-${String(k).padStart(4, "0")}.js`, k));
      }
      await Promise.all(loads);
      for (const part of parts) for (const image of part.images) add(image);
      parts.length = 0;
    },

    /* The path of an image's files without the suffix. */
    file(image) {
      const thousand = String(Math.floor(image.place / 1000)).padStart(3, "0");
      return `images/${thousand}/${String(image.place).padStart(6, "0")}`;
    },

    /* The run-length codes and stages of an image. */
    async codes(image) {
      const place = image.place;
      if (codes.has(place)) {
        const known = codes.get(place);
        codes.delete(place);
        codes.set(place, known);
        return known;
      }
      if (!waiting.has(place)) {
        const one = {};
        waiting.set(place, one);
        one.loaded = P2SEG.script(`${P2SEG.file(image)}.js`, place).then(() => one.content);
        one.loaded.finally(() => waiting.delete(place)).catch(() => {});
      }
      const content = await waiting.get(place).loaded;
      delete content.card;
      codes.set(place, content);
      if (codes.size > KEPT) codes.delete(codes.keys().next().value);
      return content;
    },
  };

  function add(image) {
    image.masks.forEach((mask, k) => {
      mask.image = image;
      mask.k = k;
      mask.number = masks.length;
      masks.push(mask);
      byId.set(mask.id, mask);
    });
    images.push(image);
  }

  /* Creates an element; text is set as text, never as HTML. */
  P2SEG.make = (name, options = {}, ...children) => {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(options)) {
      if (key === "class") made.className = value;
      else if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
      else if (key.startsWith("data-") || key.startsWith("aria-")) made.setAttribute(key, value);
      else made[key] = value;
    }
    made.append(...children);
    return made;
  };
  P2SEG.color = (rgb, alpha = 1) => `rgba(${rgb[0]}, ${rgb[1]}, ${rgb[2]}, ${alpha})`;
  P2SEG.classColor = (mask) => about.class_colors[mask.label - 1];
  P2SEG.ownColor = (k) => about.colors[k % about.colors.length];
  P2SEG.number = (value) => value.toLocaleString("en-US");
  return P2SEG;
})();
