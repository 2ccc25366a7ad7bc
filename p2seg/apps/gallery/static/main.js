/* Connects the parts of the page with the buttons and keys. */
"use strict";

(() => {
  const byId = (id) => document.getElementById(id);
  const { order, SORTS } = P2SEG.list;
  let hiding = 0;

  /* Shows a message for some seconds. */
  P2SEG.say = (text, wrong = false) => {
    const toast = byId("toast");
    toast.textContent = text;
    toast.classList.toggle("wrong", wrong);
    toast.hidden = false;
    clearTimeout(hiding);
    hiding = setTimeout(() => { toast.hidden = true; }, wrong ? 8000 : 4000);
  };

  /* Shows the items that pass the filters, in order. */
  function refresh() {
    const items = P2SEG.list.items();
    const masks = order.view === "masks";
    byId("shown").textContent = P2SEG.number(items.length);
    const all = masks ? P2SEG.masks.length : P2SEG.images.length;
    byId("of").textContent = `of ${P2SEG.number(all)} ${masks ? "masks" : "images"}`;
    byId("reset").disabled = !P2SEG.list.filtered();
    byId("empty").hidden = items.length > 0;
    byId("empty").textContent = all ? "Nothing passes these filters." : "There are no masks here.";
    P2SEG.grid.show(items);
  }

  function count() {
    const { counts, unsaved, refused } = P2SEG.decisions;
    const judged = counts.accept + counts.reject + counts.reclick, all = P2SEG.masks.length;
    byId("judged").textContent = P2SEG.number(judged);
    byId("left").textContent = P2SEG.number(all - judged);
    byId("meter").style.width = `${all ? 100 * judged / all : 0}%`;
    byId("save").classList.toggle("unsaved", unsaved > 0);
    byId("undo").disabled = P2SEG.decisions.past === 0;
    byId("warning").hidden = !refused;
    byId("warning").textContent = "This browser cannot store decisions because its storage is full or blocked; save the review before you close the page.";
    byId("keep").textContent = P2SEG.files.kept ? `Kept in ${P2SEG.files.kept}` : "Keep in a file";
    P2SEG.grid.mark();
    P2SEG.detail.refresh();
  }

  function setView(view) {
    order.view = view;
    for (const button of byId("view").children) button.setAttribute("aria-pressed", button.dataset.view === view);
    refresh();
  }

  /* Opens an item of the list: a mask, or the worst mask of an image that passes the filters. */
  function open(place) {
    const item = P2SEG.grid.items[place];
    if (!item) return;
    if (item.image) { P2SEG.detail.show(item.image, item); return; }
    const passing = item.masks.filter(P2SEG.list.passes);
    const shown = passing.length ? passing : item.masks;
    const worst = shown.reduce((a, b) => (a && P2SEG.list.badness(a) >= P2SEG.list.badness(b) ? a : b), null);
    P2SEG.detail.show(item, worst);
  }

  function go(by) {
    const { items, chosen } = P2SEG.grid;
    const place = chosen + by;
    if (place < 0 || place >= items.length) { P2SEG.say(by > 0 ? "This is the last one" : "This is the first one"); return; }
    P2SEG.grid.choose(place);
    if (P2SEG.detail.open) open(place);
  }

  /* Selects the next item with a mask that has no decision. */
  function next() {
    const { items, chosen } = P2SEG.grid;
    const isLeft = (item) => (item.image ? [item] : item.masks).some((mask) => !P2SEG.decisions.word(mask.id));
    const place = items.findIndex((item, k) => k > chosen && isLeft(item));
    if (place < 0) { P2SEG.say("No later one is left to judge"); return; }
    go(place - chosen);
  }

  /* Opens the next item after a decision in the large view; other masks of the image come first. */
  function moveOn(mask) {
    if (order.view === "images") {
      const left = mask.image.masks.filter((each) => !P2SEG.decisions.word(each.id) && P2SEG.list.passes(each));
      if (left.length) { P2SEG.detail.show(mask.image, left.find((each) => each.k > mask.k) || left[0]); return; }
    }
    if (P2SEG.grid.chosen + 1 < P2SEG.grid.items.length) go(1);
    else P2SEG.say("This was the last one");
  }

  /* Judges the selected tile: a mask, or all masks of an image that pass the filters. */
  function judge(word) {
    if (P2SEG.detail.open) { P2SEG.detail.decide(word); return; }
    const item = P2SEG.grid.items[P2SEG.grid.chosen];
    if (!item) return;
    const masks = item.image ? [item] : item.masks.filter(P2SEG.list.passes);
    if (masks.length) {
      P2SEG.decisions.set(masks.map((mask) => ({ id: mask.id, image_id: mask.image.id, decision: word })));
    }
    if (P2SEG.grid.chosen + 1 < P2SEG.grid.items.length) P2SEG.grid.choose(P2SEG.grid.chosen + 1);
  }

  /* Undoes the last decision and shows its mask. */
  function undo() {
    const [id] = P2SEG.decisions.undo();
    const mask = P2SEG.byId.get(id);
    if (id === undefined) { P2SEG.say("There is nothing to undo"); return; }
    if (!mask) return;
    const place = P2SEG.grid.items.indexOf(order.view === "masks" ? mask : mask.image);
    if (place >= 0) P2SEG.grid.choose(place);
    if (P2SEG.detail.open) P2SEG.detail.show(mask.image, mask);
  }

  function reclick() {
    if (!P2SEG.detail.open) open(P2SEG.grid.chosen);
    P2SEG.detail.reclick();
  }

  function escape() {
    if (!P2SEG.detail.open) return;
    if (P2SEG.detail.state.clicking) P2SEG.detail.cancel(); else P2SEG.detail.close();
  }

  function toggleMasks() {
    if (P2SEG.detail.open) { P2SEG.detail.toggle("masks"); return; }
    P2SEG.grid.masks = !P2SEG.grid.masks;
    byId("bare").setAttribute("aria-pressed", P2SEG.grid.masks);
  }

  const inDetail = (run) => () => { if (P2SEG.detail.open) run(); };
  const across = (by) => () => go(by);
  const down = (by) => () => (P2SEG.detail.open ? P2SEG.detail.step(by) : P2SEG.grid.choose(P2SEG.grid.chosen + by * P2SEG.grid.columns));
  const KEYS = {
    ArrowLeft: across(-1), a: across(-1), ArrowRight: across(1), d: across(1), n: next, ArrowUp: down(-1), ArrowDown: down(1),
    Enter: () => { if (!P2SEG.detail.open) open(P2SEG.grid.chosen); },
    Escape: escape, y: () => judge("accept"), x: () => judge("reject"), c: reclick, z: undo,
    m: toggleMasks, o: inDetail(() => P2SEG.detail.toggle("outline")),
    p: inDetail(() => P2SEG.detail.toggle("points")), b: inDetail(() => P2SEG.detail.toggle("neighbors")),
    s: () => P2SEG.files.save(), "?": P2SEG.help, " ": inDetail(() => P2SEG.detail.bare(true)),
    "+": inDetail(() => P2SEG.detail.zoom.in()), "=": inDetail(() => P2SEG.detail.zoom.in()),
    "-": inDetail(() => P2SEG.detail.zoom.out()), 0: inDetail(() => P2SEG.detail.zoom.fit()),
    f: inDetail(() => P2SEG.detail.zoom.mask()),
  };

  function keyboard() {
    document.addEventListener("keydown", (event) => {
      const typing = event.target.matches("input[type=search], select, input[type=range]");
      if (typing && event.key === "Escape") { event.target.blur(); return; }
      const back = (event.ctrlKey || event.metaKey) && !event.shiftKey && !event.altKey && event.key === "z";
      if (back && !typing && !byId("help").open) { event.preventDefault(); undo(); return; }
      if (typing || byId("help").open || event.ctrlKey || event.metaKey || event.altKey) return;
      const onButton = event.target.matches("button, input") && (event.key === "Enter" || event.key === " ");
      if (onButton) return;
      let run = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
      if (/^[1-9]$/.test(event.key) && P2SEG.detail.open) {
        const name = P2SEG.detail.stages()[Number(event.key) - 1];
        if (name) run = () => P2SEG.detail.pick(name);
      }
      if (!run) return;
      event.preventDefault();
      run();
    });
    document.addEventListener("keyup", (event) => { if (event.key === " ") P2SEG.detail.bare(false); });
  }

  function buttons() {
    for (const [name, title] of Object.entries(SORTS)) byId("sort").append(P2SEG.make("option", { value: name, textContent: title }));
    if (P2SEG.about.truth !== null) byId("sort").options[0].textContent = "Lowest IoU";
    else byId("sort").options[1].remove(); // the same as the first
    byId("sort").addEventListener("change", () => { order.sort = byId("sort").value; byId("grid").focus(); refresh(); });
    byId("view").addEventListener("click", (event) => { if (event.target.dataset.view) setView(event.target.dataset.view); });
    byId("size").addEventListener("input", () => P2SEG.grid.resize(Number(byId("size").value)));
    byId("bare").setAttribute("aria-pressed", "true");
    byId("bare").addEventListener("click", toggleMasks);
    byId("undo").addEventListener("click", undo);
    byId("save").addEventListener("click", P2SEG.files.save);
    byId("asked").addEventListener("click", P2SEG.help);
    byId("keep").hidden = !P2SEG.files.canKeep;
    byId("keep").addEventListener("click", async () => { await P2SEG.files.keep(); count(); });
    byId("load").addEventListener("click", () => byId("file").click());
    byId("file").addEventListener("change", async () => {
      const [file] = byId("file").files;
      if (file) P2SEG.files.load(await file.text());
      byId("file").value = "";
    });
  }

  async function start() {
    if (!P2SEG.about) {
      byId("empty").hidden = false;
      byId("empty").textContent = "The data of this gallery is missing; copy the whole gallery folder, or run p2seg gallery again.";
      return;
    }
    try {
      await P2SEG.start();
    } catch (error) {
      byId("empty").hidden = false;
      byId("empty").textContent = `${error.message}; copy the whole gallery folder, or run p2seg gallery again.`;
      return;
    }
    byId("name").textContent = P2SEG.about.pseudo;
    document.title = `${P2SEG.about.pseudo} - p2seg gallery`;
    P2SEG.decisions.start();
    buttons();
    P2SEG.grid.start(open);
    P2SEG.detail.start(moveOn);
    P2SEG.filters.start(refresh);
    keyboard();
    P2SEG.decisions.listen(count);
    refresh();
    count();
    byId("grid").focus();
    document.body.dataset.ready = "yes";
  }
  start();
})();
