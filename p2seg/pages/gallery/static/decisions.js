/* What was decided about each mask. Kept in the browser at each decision, one entry a mask, under
   the gallery's own id; what the review file or the masks themselves say is what it starts from. */
"use strict";

(() => {
  const prefix = () => `p2seg.gallery.${P2SEG.about.id}.`;
  const base = new Map(); // by id
  const own = new Map(); // by id: a decision, or null where one of `base` was taken back
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
      for (const each of P2SEG.reviewed) base.set(each.id, each);
      try {
        for (let k = 0; k < localStorage.length; k++) {
          const key = localStorage.key(k);
          if (!key.startsWith(prefix())) continue;
          const kept = JSON.parse(localStorage.getItem(key));
          if (kept === null || decisions.isOne(kept)) own.set(key.slice(prefix().length), kept);
        }
      } catch (error) { refused = true; }
      unsaved = own.size;
      recount();
    },

    /* Whether a JSON value is a decision; ids are texts. */
    isOne(value) {
      if (typeof value !== "object" || value === null) return false;
      const ids = [value.id, value.image_id].every((id) => typeof id === "string" && /^\d+$/.test(id));
      if (!ids || !["accept", "reject", "reclick"].includes(value.decision)) return false;
      if (value.decision !== "reclick") return true;
      const point = value.point;
      return Array.isArray(point) && point.length === 2 && point.every(Number.isFinite);
    },

    of(id) {
      const found = own.has(id) ? own.get(id) : base.get(id);
      return found || null;
    },
    word(id) {
      const found = decisions.of(id);
      return found ? found.decision : "";
    },

    /* All decisions, also those about masks that this page does not have. */
    all() {
      const found = [];
      for (const id of new Set([...base.keys(), ...own.keys()])) {
        const each = decisions.of(id);
        if (each) found.push(each);
      }
      return found.sort((a, b) => (BigInt(a.id) < BigInt(b.id) ? -1 : 1));
    },

    /* Decides about some masks at once: [{id, image_id, decision, ..}], or {id, decision: null}. */
    set(changes) {
      past.push(changes.map((each) => [each.id, decisions.of(each.id)]));
      for (const each of changes) put(each.id, each.decision ? each : null);
      changed();
    },
    undo() {
      const group = past.pop();
      if (!group) return [];
      for (const [id, before] of group) put(id, before);
      changed();
      return group.map(([id]) => id);
    },
    isSaved(when) { if (when === unsaved) { unsaved = 0; tell(); } },
    listen(listener) { listeners.push(listener); },
  };

  function put(id, decision) {
    const before = decisions.word(id);
    if (decision === null && !base.has(id)) own.delete(id);
    else own.set(id, decision);
    unsaved += 1;
    if (P2SEG.byId.has(id)) {
      if (before) counts[before] -= 1;
      const after = decisions.word(id);
      if (after) counts[after] += 1;
    }
    try {
      if (own.has(id)) localStorage.setItem(prefix() + id, JSON.stringify(decision));
      else localStorage.removeItem(prefix() + id);
    } catch (error) { refused = true; }
  }

  function recount() {
    for (const word of Object.keys(counts)) counts[word] = 0;
    for (const mask of P2SEG.masks) {
      const word = decisions.word(mask.id);
      if (word) counts[word] += 1;
    }
  }

  function tell() { for (const listener of listeners) listener(); }
  function changed() { tell(); }

  // storage may be full or refused: then nothing may be lost without a question
  window.addEventListener("beforeunload", (event) => {
    if (refused && unsaved) event.preventDefault();
  });

  P2SEG.decisions = decisions;
})();
