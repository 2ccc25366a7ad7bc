/* Selects and sorts the masks or images to show. */
"use strict";

(() => {
  const filters = {
    classes: new Set(), // labels; empty: all
    decisions: new Set(), // "", accept, reject, reclick; empty: all
    ranges: {}, // by name in VALUES: [least, most]; missing: all
    box: false,
    touches: false,
    text: "",
  };
  const order = { view: "masks", sort: "worst" };

  /* The values with a histogram: the title, the value of a mask, and its format. */
  const fraction = (value) => value.toFixed(2);
  const VALUES = {
    iou: { title: "IoU", of: (mask) => mask.iou, low: 0, high: 1, shown: fraction },
    suspicion: { title: "Suspicion", of: (mask) => mask.suspicion, low: 0, high: 1, shown: fraction },
    score: { title: "Score", of: (mask) => mask.score, low: 0, high: 1, shown: fraction },
    size: {
      title: "Size", of: (mask) => Math.sqrt(mask.area), log: true,
      shown: (value) => `${P2SEG.number(Math.round(value))} px`,
    },
  };

  const SORTS = {
    worst: "Worst first",
    suspicion: "Suspicion",
    score: "Lowest score",
    large: "Largest",
    small: "Smallest",
    name: "Name",
  };

  /* The badness of a mask; larger is worse. */
  function badness(mask) {
    if (P2SEG.about.truth === null || mask.iou === null) return mask.suspicion;
    return 1 - mask.iou;
  }

  const KEYS = {
    worst: (mask) => -badness(mask),
    suspicion: (mask) => -mask.suspicion,
    score: (mask) => mask.score,
    large: (mask) => -mask.area,
    small: (mask) => mask.area,
    name: () => 0,
  };

  function passes(mask) {
    if (filters.classes.size && !filters.classes.has(mask.label)) return false;
    if (filters.decisions.size && !filters.decisions.has(P2SEG.decisions.word(mask.id))) return false;
    if (filters.box && !mask.default) return false;
    if (filters.touches && !mask.touches.length) return false;
    if (filters.text && !mask.image.name.toLowerCase().includes(filters.text)) return false;
    for (const [name, range] of Object.entries(filters.ranges)) {
      const value = VALUES[name].of(mask);
      if (value === null || value < range[0] || value > range[1]) return false;
    }
    return true;
  }

  function filtered() {
    const f = filters;
    return f.classes.size + f.decisions.size + Object.keys(f.ranges).length > 0
      || f.box || f.touches || f.text !== "";
  }

  /* The rank of each image by name. */
  let named = null;
  function nameOf(image) {
    if (!named) {
      const sorted = [...P2SEG.images].sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
      named = new Map(sorted.map((each, k) => [each, k]));
    }
    return named.get(image);
  }

  function ranked(items, keyOf) {
    const keys = items.map(keyOf);
    const ties = items.map((item) => nameOf(item.image || item));
    const places = items.map((_, k) => k);
    places.sort((a, b) => keys[a] - keys[b] || ties[a] - ties[b] || a - b);
    return places.map((k) => items[k]);
  }

  /* The masks or images to show. The badness of an image is that of its worst shown mask. */
  function items() {
    const shown = P2SEG.masks.filter(passes);
    const key = KEYS[order.sort];
    if (order.view === "masks") return ranked(shown, key);
    const best = new Map();
    for (const mask of shown) {
      const before = best.get(mask.image);
      if (before === undefined || key(mask) < before) best.set(mask.image, key(mask));
    }
    const images = filtered() ? [...best.keys()] : P2SEG.images;
    return ranked(images, (image) => (best.has(image) ? best.get(image) : Infinity));
  }

  P2SEG.list = { filters, order, VALUES, SORTS, passes, items, badness, filtered };
})();
