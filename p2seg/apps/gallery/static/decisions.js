/* The decision about each mask. The start values come from the review file or from the masks. Each
   decision is stored in the browser at once, one entry per mask, under the id of the gallery. So
   other tabs of the gallery see it. */
"use strict";

(() => {
  const prefix = () => `p2seg.gallery.${P2SEG.about.id}.`;
  const base = new Map(); // by id
  const own = new Map(); // by id: a decision, or null if a decision of `base` was undone
  const moved = new Map(); // by id: the new click [x, y] from which a mask here was made
  const past = []; // groups of [id, before]
  const listeners = [];
  const counts = { accept: 0, reject: 0, reclick: 0 };
  let refused = false;
  let unsaved = 0;

  const decisions = {
    counts,
    get refused() { return refused; },
    get unsaved() { return unsaved; },
    get past() { return past.length; },

    start() {
      for (const mask of P2SEG.masks) {
        const word = { accepted: "accept", rejected: "reject" }[mask.review];
        if (word) base.set(mask.id, { id: mask.id, image_id: mask.image.id, decision: word });
      }
      for (const each of P2SEG.reviewed) { base.set(each.id, each); remember(each); }
      try {
        for (const [id, kept] of stored()) { own.set(id, kept); remember(kept); }
      } catch (error) { refused = true; }
      unsaved = own.size;
      recount();
    },

    /* Reads the browser's storage, because another tab may have added decisions. */
    look() {
      if (refused) return;
      try {
        const kept = stored();
        const ids = new Set([...own.keys(), ...kept.keys()]);
        if ([...ids].filter((id) => heard(id, kept.get(id))).length) tell();
      } catch (error) { refused = true; }
    },

    /* Whether a JSON value is a valid decision; ids are text. */
    isOne(value) {
      if (typeof value !== "object" || value === null) return false;
      const ids = [value.id, value.image_id].every((id) => typeof id === "string" && /^\d+$/.test(id));
      if (!ids || !["accept", "reject", "reclick"].includes(value.decision)) return false;
      const point = value.point;
      if (value.decision !== "reclick" && point === undefined) return true;
      return Array.isArray(point) && point.length === 2 && point.every(Number.isFinite);
    },

    of(id) {
      const found = own.has(id) ? own.get(id) : base.get(id);
      return found || null;
    },
    /* The decision word of a mask; a mask made from its new click needs a new decision. */
    word(id) {
      const found = decisions.of(id);
      return found && !(found.decision === "reclick" && isMade(found)) ? found.decision : "";
    },

    /* All decisions, including those about masks that are not on this page. */
    all() {
      const found = [];
      for (const id of new Set([...base.keys(), ...own.keys()])) {
        const each = decisions.of(id);
        if (each) found.push(each);
      }
      return found.sort((a, b) => (BigInt(a.id) < BigInt(b.id) ? -1 : 1));
    },

    /* Sets several decisions at once: [{id, image_id, decision, ..}]; {id, decision: null} clears. */
    set(changes) {
      past.push(changes.map((each) => [each.id, decisions.of(each.id)]));
      for (const each of changes) put(each.id, each.decision ? carrying(each) : null);
      tell();
    },
    undo() {
      const group = past.pop();
      if (!group) return [];
      for (const [id, before] of group) put(id, before);
      tell();
      return group.map(([id]) => id);
    },
    isSaved(when) { if (when === unsaved) { unsaved = 0; tell(); } },
    listen(listener) { listeners.push(listener); },
  };

  /* Whether a decision's point is the click from which its mask was made. */
  function isMade(each) {
    const mask = P2SEG.byId.get(each.id);
    if (!each.point || !mask || !mask.point) return false;
    return each.point.every((value, k) => Math.abs(value - mask.point[k]) < 0.01);
  }
  function remember(each) { if (each && isMade(each)) moved.set(each.id, each.point); }

  /* Adds to a decision the new click from which its mask was made, so that the click is not lost. */
  function carrying(each) {
    remember(each);
    if (each.decision === "reclick" || each.point || !moved.has(each.id)) return each;
    return { ...each, point: moved.get(each.id) };
  }

  /* Sets the own entry of a mask to a decision or null; undefined removes the entry. */
  function change(id, value) {
    const before = decisions.word(id);
    if (value === undefined) own.delete(id);
    else own.set(id, value);
    unsaved += 1;
    if (!P2SEG.byId.has(id)) return;
    if (before) counts[before] -= 1;
    const after = decisions.word(id);
    if (after) counts[after] += 1;
  }

  function put(id, decision) {
    change(id, decision === null && !base.has(id) ? undefined : decision);
    try {
      if (own.has(id)) localStorage.setItem(prefix() + id, JSON.stringify(decision));
      else localStorage.removeItem(prefix() + id);
    } catch (error) { refused = true; }
  }

  /* The decisions in the browser's storage, by id. */
  function stored() {
    const found = new Map();
    for (let k = 0; k < localStorage.length; k++) {
      const key = localStorage.key(k);
      if (!key.startsWith(prefix())) continue;
      const kept = parsed(localStorage.getItem(key));
      if (kept !== undefined) found.set(key.slice(prefix().length), kept);
    }
    return found;
  }
  function parsed(text) {
    if (text === null) return undefined;
    const kept = JSON.parse(text);
    return kept === null || decisions.isOne(kept) ? kept : undefined;
  }

  /* Applies a decision of another tab; returns whether it is new. */
  function heard(id, value) {
    if (JSON.stringify(own.get(id)) === JSON.stringify(value)) return false;
    remember(value);
    change(id, value);
    return true;
  }

  let telling = null;
  window.addEventListener("storage", (event) => {
    if (!P2SEG.about || !event.key || !event.key.startsWith(prefix())) return;
    if (!heard(event.key.slice(prefix().length), parsed(event.newValue)) || telling) return;
    telling = setTimeout(() => { telling = null; tell(); }, 50); // groups many events
  });

  function recount() {
    for (const word of Object.keys(counts)) counts[word] = 0;
    for (const mask of P2SEG.masks) {
      const word = decisions.word(mask.id);
      if (word) counts[word] += 1;
    }
  }

  function tell() { for (const listener of listeners) listener(); }

  // if the storage is full or blocked, the browser asks before it closes the page
  window.addEventListener("beforeunload", (event) => {
    if (refused && unsaved) event.preventDefault();
  });

  P2SEG.decisions = decisions;
})();
