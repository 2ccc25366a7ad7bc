/* The panel next to the large picture: facts, decision, and the image's other masks. */
"use strict";

(() => {
  const { make } = P2SEG;
  const WORDS = { accept: "accepted", reject: "rejected", reclick: "clicked again" };
  const percent = (value) => `${Math.round(100 * value)}%`;

  function facts(rows) {
    const list = make("dl", { class: "facts" });
    for (const [name, value, title] of rows) {
      list.append(make("dt", { textContent: name, title: title || "" }), make("dd", { textContent: value, title: title || "" }));
    }
    return list;
  }

  function sizeOf(mask) {
    const median = P2SEG.about.medians[mask.label];
    const text = `${P2SEG.number(mask.area)} px`;
    if (!median || !mask.area) return text;
    return `${text}, ${(mask.area / median).toFixed(mask.area < median ? 2 : 1)} x median`;
  }

  function buttons(mask, actions) {
    const word = P2SEG.decisions.word(mask.id);
    const button = (name, text, key, run) => make("button", {
      class: `decide ${name}`, "aria-pressed": word === name, onclick: run,
    }, make("span", { textContent: text }), make("kbd", { textContent: key }));
    const row = make("div", { class: "decides" },
      button("accept", "Accept", "Y", () => actions.decide("accept")),
      button("reject", "Reject", "X", () => actions.decide("reject")));
    if (P2SEG.about.clicked) row.append(button("reclick", "Click again", "C", actions.reclick));
    return row;
  }

  /* The reasons for a mask's suspicion, each with a bar of proportional length. */
  function reasons(mask) {
    const box = make("section", { class: "reasons" });
    const head = make("h2", { textContent: "Suspicion" });
    head.append(make("span", { class: "range", textContent: mask.suspicion.toFixed(2) }));
    box.append(head);
    const meanings = new Map(P2SEG.about.reasons.map((each) => [each.name, each.meaning]));
    const sorted = Object.entries(mask.reasons).filter(([, part]) => part >= 0.005).sort((a, b) => b[1] - a[1]);
    for (const [name, part] of sorted) {
      const bar = make("i");
      bar.style.width = percent(part);
      box.append(make("div", { class: "reason", title: meanings.get(name) },
        make("span", { class: "name", textContent: name }),
        make("span", { class: "value", textContent: part.toFixed(2) }),
        make("div", { class: "bar" }, bar)));
    }
    if (!sorted.length) box.append(make("p", { class: "all", textContent: "no reason applies" }));
    return box;
  }

  function others(image, selected, select, color) {
    const box = make("section", { class: "others" });
    const judged = image.masks.filter((mask) => P2SEG.decisions.word(mask.id)).length;
    const head = make("h2", { textContent: "Masks of this image" });
    head.append(make("span", { class: "range", textContent: `${judged} of ${image.masks.length} judged` }));
    box.append(head);
    for (const mask of image.masks) {
      const dot = make("i", { class: "dot" });
      dot.style.background = P2SEG.color(color(mask));
      const truth = P2SEG.about.truth !== null && mask.iou !== null;
      const row = make("button", { class: "row", "aria-pressed": mask === selected, onclick: () => select(mask) },
        dot, make("span", { class: "name", textContent: P2SEG.about.classes[mask.label - 1] }),
        make("span", { class: "mark", textContent: WORDS[P2SEG.decisions.word(mask.id)] || "" }),
        make("span", { class: "value", textContent: (truth ? mask.iou : mask.suspicion).toFixed(2) }));
      row.dataset.decision = P2SEG.decisions.word(mask.id);
      row.dataset.id = mask.id;
      box.append(row);
    }
    return box;
  }

  /* Shows a mask, or an image without masks.
     actions: {decide(word), reclick(), select(mask)}; classes: whether dots have class colors */
  P2SEG.panel = (image, mask, actions, classes) => {
    const color = classes ? P2SEG.classColor : (each) => P2SEG.ownColor(each.k);
    const home = document.getElementById("panel");
    if (!mask) {
      home.replaceChildren(make("p", { class: "all", textContent: "No mask in this image." }),
        facts([["File", image.name], ["Pixels", `${image.width} x ${image.height}`]]));
      return;
    }
    const dot = make("i", { class: "dot large" });
    dot.style.background = P2SEG.color(color(mask));
    const rows = [];
    if (mask.iou !== null) rows.push(["IoU", mask.iou.toFixed(3), "With the ground truth"]);
    rows.push(["Score", mask.score.toFixed(3)], ["Area", sizeOf(mask)]);
    if (mask.default) rows.push(["Kind", "default box", "No pixel was assigned to this click"]);
    if (mask.touches.length) rows.push(["Touches", `${mask.touches.length} of its class`]);
    const point = P2SEG.paint.pointOf(mask);
    if (point) rows.push(["Click", `${point.map((each) => each.toFixed(1)).join(", ")}`, "x, y in pixels"]);
    rows.push(["Id", mask.id], ["File", image.name], ["Pixels", `${image.width} x ${image.height}`]);
    const status = P2SEG.decisions.word(mask.id);
    home.replaceChildren(
      make("div", { class: "who" }, dot, make("b", { textContent: P2SEG.about.classes[mask.label - 1] }),
        make("span", { class: `status ${status}`, textContent: WORDS[status] || "not judged" })),
      buttons(mask, actions),
      facts(rows),
      reasons(mask),
      others(image, mask, actions.select, color),
    );
  };
})();
