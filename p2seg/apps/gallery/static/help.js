/* The help dialog: keys, suspicion, decisions, and how to get more stages. */
"use strict";

(() => {
  const { make } = P2SEG;
  const KEYS = [
    ["arrows  a  d", "select another tile; in the large view, left and right change the tile, up and down the mask of the image"],
    ["n", "next tile without a decision"],
    ["enter", "open the tile"],
    ["y", "accept: later exports keep the mask unchanged"],
    ["x", "reject: training ignores the pixels of the mask"],
    ["c", "click again: click the object, and the next export makes a new mask from this click"],
    ["z  ctrl+z", "undo the last decision"],
    ["1 .. 9", "select a stage in the large view"],
    ["m  o  p  b", "show or hide masks, outlines, clicks, neighbors"],
    ["space", "hold to hide all overlays"],
    ["+  -  0  f", "zoom in, zoom out, fit the image, fit the mask"],
    ["s", "save the review"],
    ["esc", "back"],
  ];

  P2SEG.help = () => {
    const { about } = P2SEG;
    const box = document.getElementById("help");
    const keys = make("dl", { class: "keys" });
    for (const [key, text] of KEYS) {
      keys.append(make("dt", {}, ...key.split("  ").map((each) => make("kbd", { textContent: each }))), make("dd", { textContent: text }));
    }
    const reasons = make("table", {});
    for (const { name, weight, meaning } of about.reasons) {
      reasons.append(make("tr", {}, make("th", { textContent: name }), make("td", { textContent: weight.toFixed(1) }), make("td", { textContent: meaning })));
    }
    const truth = {
      id: "The IoU is with the true mask of the same id.",
      overlap: "The IoU is with the true mask of the same class that overlaps most, because the ids differ.",
    }[about.truth] || "Without ground truth (gt=FILE), \"Worst first\" sorts by suspicion.";
    const text = (content) => make("p", { textContent: content });
    box.replaceChildren(
      make("h1", { textContent: "Keys" }), keys,
      make("h1", { textContent: "Suspicion" }),
      text("A score from 0 to 1, computed without ground truth. Each reason adds at most its weight, and the total is 1 - (1 - a)(1 - b)... Use it to sort masks; it is not a probability."),
      reasons, text(truth),
      make("h1", { textContent: "Decisions" }),
      text("Each decision is stored in this browser at once. \"Save review\" writes review.json; give it to gen_pseudo and train_segmentor with review=review.json. A judged mask stays in the list until a filter or the order changes. In the view of images, a and r judge all masks of the image that pass the filters."),
      ...(about.hint ? [make("h1", { textContent: "Stages" }), text(about.hint)] : []),
      make("button", { class: "main", textContent: "Close", onclick: () => box.close() }),
    );
    box.showModal();
    box.scrollTop = 0; // the focused button is at the end
  };
})();
