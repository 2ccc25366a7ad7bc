/* Draws masks: outlines over the grid's crops, and stages over the large picture. */
"use strict";

(() => {
  const CLEAR = 700; // longest side from which the map has the resolution of the picture
  const FINE = 1400;

  /* Draws a dot at a click. */
  function dot(pen, x, y, radius, color) {
    for (const [size, paint] of [[radius, "#14171a"], [radius - 1, "#fff"], [radius * 0.6, color]]) {
      pen.beginPath();
      pen.arc(x, y, size, 0, 2 * Math.PI);
      pen.fillStyle = paint;
      pen.fill();
    }
  }

  const paths = new WeakMap();
  function pathOf(mask) {
    if (!paths.has(mask)) paths.set(mask, new Path2D(mask.path));
    return paths.get(mask);
  }

  /* Draws a mask's outline over a picture.
     pen: canvas context; scale: canvas pixels per image pixel; left, top: image position. */
  function lay(pen, mask, left, top, scale, fill, stroke, line) {
    const [x, y, side] = mask.crop;
    const zoom = side * scale / P2SEG.about.cell;
    pen.save();
    pen.translate(left + x * scale, top + y * scale);
    pen.scale(zoom, zoom);
    pen.translate(0.5, 0.5); // outlines run through the centers of cells
    if (fill) { pen.fillStyle = fill; pen.fill(pathOf(mask), "evenodd"); }
    if (stroke) {
      pen.strokeStyle = stroke;
      pen.lineWidth = line / zoom;
      pen.lineJoin = "round";
      pen.stroke(pathOf(mask));
    }
    pen.restore();
  }

  /* Draws a mask's crop: the mask, its neighbors' outlines, and its click. */
  function crop(canvas, mask, pixels) {
    canvas.width = canvas.height = pixels;
    const pen = canvas.getContext("2d");
    const [x, y, side] = mask.crop;
    const scale = pixels / side;
    const thin = Math.max(1, pixels / 140);
    mask.image.masks.forEach((other) => {
      const [left, top, wide] = other.crop;
      const apart = left > x + side || top > y + side || left + wide < x || top + wide < y;
      if (other === mask || apart) return;
      const same = mask.touches.includes(other.k);
      lay(pen, other, -x * scale, -y * scale, scale, "", same ? "rgba(255,255,255,.9)" : "rgba(255,255,255,.38)", thin);
    });
    const color = P2SEG.classColor(mask);
    lay(pen, mask, -x * scale, -y * scale, scale, P2SEG.color(color, 0.34), "", 0);
    lay(pen, mask, -x * scale, -y * scale, scale, "", "rgba(10,12,14,.7)", 3.2 * thin);
    lay(pen, mask, -x * scale, -y * scale, scale, "", P2SEG.color(color), 1.8 * thin);
    const point = P2SEG.paint.pointOf(mask);
    if (point) {
      dot(pen, (point[0] + 0.5 - x) * scale, (point[1] + 0.5 - y) * scale, Math.max(3.5, pixels / 44), P2SEG.color(color));
    }
  }

  /* Draws a thumbnail with all masks of the image. */
  function thumbnail(canvas, image, pixels) {
    canvas.width = canvas.height = pixels;
    const pen = canvas.getContext("2d");
    const scale = pixels / Math.max(image.width, image.height);
    const left = (pixels - image.width * scale) / 2, top = (pixels - image.height * scale) / 2;
    for (const mask of bySize(image.masks)) {
      const color = P2SEG.ownColor(mask.k);
      lay(pen, mask, left, top, scale, P2SEG.color(color, 0.4), P2SEG.color(color), Math.max(1, pixels / 160));
    }
  }

  const bySize = (masks) => [...masks].sort((a, b) => b.area - a.area);

  /* Returns a canvas with a stage, at the resolution of the picture or higher.
     content: of P2SEG.codes; stage: one of its stages, or null for the final masks;
     options: {only: position or -1, selected: position or -1, outline: bool} */
  function stage(image, content, stageOf, options) {
    const [wide, high] = image.shown;
    const times = Math.max(wide, high) < CLEAR ? Math.max(1, Math.floor(FINE / Math.max(wide, high))) : 1;
    const width = wide * times, height = high * times;
    const map = new Int32Array(width * height);
    const parts = partsOf(image, content, stageOf, options);
    parts.forEach((part, k) => P2SEG.fill(part.code, part.size, map, height, width, k + 1));
    const canvas = P2SEG.make("canvas", { width, height });
    canvas.getContext("2d").putImageData(colored(map, width, height, parts, options), 0, 0);
    return canvas;
  }

  /* The masks of a stage in drawing order: [{code, size, color, strong}]. */
  function partsOf(image, content, stageOf, { only, selected }) {
    const size = stageOf ? stageOf.size : content.size;
    const codes = stageOf ? stageOf.codes : content.final;
    if (stageOf && stageOf.kind === "classes") {
      return codes.map((code, k) => ({
        code, size, strong: false,
        color: stageOf.of[k] === 255 ? [235, 235, 235] : P2SEG.about.class_colors[stageOf.of[k] - 1] || [160, 160, 160],
      }));
    }
    const parts = codes.map((code, k) => ({ code, size, of: stageOf ? stageOf.of[k] : k }))
      .filter((part) => part.code && (only < 0 || part.of === only));
    const area = (part) => (part.of < 0 ? 0 : image.masks[part.of].area);
    parts.sort((a, b) => (a.of === selected) - (b.of === selected) || area(b) - area(a));
    return parts.map((part) => ({
      ...part,
      strong: part.of === selected,
      color: part.of < 0 ? [170, 170, 170] : P2SEG.ownColor(part.of),
    }));
  }

  function colored(map, width, height, parts, { outline, fill }) {
    const made = new ImageData(width, height);
    const pixels = new Uint32Array(made.data.buffer); // alpha, blue, green, red from the highest byte
    const word = ([red, green, blue], alpha) => (alpha << 24 | blue << 16 | green << 8 | red) >>> 0;
    const inner = parts.map((part) => (fill ? word(part.color, part.strong ? 120 : 92) : 0));
    const edges = parts.map((part) => word(part.strong ? [255, 255, 255] : part.color, 255));
    const reach = Math.max(1, Math.round(Math.max(width, height) / 800));
    for (let y = 0, at = 0; y < height; y++) {
      for (let x = 0; x < width; x++, at++) {
        const value = map[at];
        if (!value) continue;
        const border = outline && (
          x < reach || x >= width - reach || y < reach || y >= height - reach
          || map[at - reach] !== value || map[at + reach] !== value
          || map[at - reach * width] !== value || map[at + reach * width] !== value);
        pixels[at] = border ? edges[value - 1] : inner[value - 1];
      }
    }
    return made;
  }

  P2SEG.paint = {
    dot, lay, crop, thumbnail, stage,
    /* The current click of a mask: [x, y], or null. */
    pointOf(mask) {
      const decision = P2SEG.decisions.of(mask.id);
      return decision && decision.decision === "reclick" ? decision.point : mask.point;
    },
  };
})();
