/* What keys do, what suspicion is made of, and how stages are had. */
"use strict";

(() => {
  const { make } = P2SEG;
  const KEYS = [
    ["arrows", "another tile; in the large view left and right go on, up and down stay in the image"],
    ["enter", "open the tile"],
    ["a", "accept: the mask stays as it is, whatever is exported later"],
    ["r", "reject: the mask is neither object nor background"],
    ["c", "click again: then click the object, and its mask is made anew by the next export"],
    ["u  ctrl+z", "take the last decision back"],
    ["1 .. 9", "stages of the large view"],
    ["m  o  p  n", "masks, outlines, clicks, neighbors"],
    ["space", "hold it to see the bare image"],
    ["+  -  0  z", "zoom; the whole image; the mask"],
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
      overlap: "The IoU is with the true mask of its class that the mask overlaps most, since ids differ.",
    }[about.truth] || "There is no ground truth (gt=FILE): worst first goes by suspicion.";
    const text = (content) => make("p", { textContent: content });
    box.replaceChildren(
      make("h1", { textContent: "Keys" }), keys,
      make("h1", { textContent: "Suspicion" }),
      text("Made without ground truth, 0 to 1: each reason counts up to its weight, and together they are 1 - (1 - a)(1 - b)... It orders what to look at; it is no probability."),
      reasons, text(truth),
      make("h1", { textContent: "Decisions" }),
      text("They are kept in this browser at once. Save review writes review.json, which gen_pseudo and train_segmentor take as review=review.json. What was judged stays in the list until a filter or the order changes. In the view of images, a and r judge all masks of the image that pass the filters."),
      ...(about.hint ? [make("h1", { textContent: "Stages" }), text(about.hint)] : []),
      make("button", { class: "main", textContent: "Close", onclick: () => box.close() }),
    );
    box.showModal();
    box.scrollTop = 0; // the focus is on the button at the end
  };
})();
