/* The review file: written, kept up to date, and read. */
"use strict";

(() => {
  const AT_ONCE = 8; // images whose codes are read together
  const served = window.location.protocol !== "file:"; // by `p2seg review`
  let handle = null; // the file that is kept up to date, where the browser can
  let writing = null;
  let again = false;

  /* The review as text. Ids are digits, since numbers of JavaScript cannot hold all of them. */
  async function text(progress) {
    P2SEG.decisions.look();
    const all = P2SEG.decisions.all();
    await complete(all, progress);
    const info = {
      tool: "p2seg gallery",
      pseudo: P2SEG.about.pseudo,
      pseudo_sha256: P2SEG.about.sha256,
    };
    const lines = all.map((each) => {
      let line = `{"id": ${each.id}, "image_id": ${each.image_id}, "decision": "${each.decision}"`;
      if (each.decision === "accept") {
        const { size, counts } = codeOf(each);
        line += `, "segmentation": {"size": [${size.join(", ")}], "counts": ${JSON.stringify(counts)}}`;
      }
      if (each.point) line += `, "point": [${each.point.join(", ")}]`;
      return `${line}}`;
    });
    const body = lines.length ? `\n${lines.join(",\n")}\n` : "";
    return `{"info": ${JSON.stringify(info)},\n"decisions": [${body}]}\n`;
  }

  const found = new Map(); // codes of accepted masks, by id
  const codeOf = (each) => each.segmentation || found.get(each.id);

  /* Fetches the codes of accepted masks that are not known yet. */
  async function complete(all, progress) {
    const images = new Set();
    for (const each of all) {
      const mask = P2SEG.byId.get(each.id);
      if (each.decision === "accept" && !codeOf(each) && mask) images.add(mask.image);
    }
    const todo = [...images];
    let done = 0;
    const worker = async () => {
      while (todo.length) {
        const image = todo.pop();
        const codes = await P2SEG.codes(image);
        image.masks.forEach((mask, k) => {
          found.set(mask.id, { size: codes.size, counts: codes.final[k] });
        });
        done += 1;
        if (progress && done % 100 === 0) progress(done, images.size);
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
  }

  /* Sends the review to `p2seg review`, which writes review.json. */
  async function send(content) {
    const answer = await fetch("review.json", { method: "PUT", body: content });
    if (!answer.ok) throw new Error((await answer.text()).trim() || `the server answered ${answer.status}`);
  }

  const review = {
    canKeep: "showSaveFilePicker" in window && !served,
    get kept() { return handle ? handle.name : ""; },

    async save() {
      const when = P2SEG.decisions.unsaved;
      try {
        const content = await text((done, of) => P2SEG.say(`${done} of ${of} images read`));
        if (served) {
          await send(content);
          P2SEG.decisions.isSaved(when);
          P2SEG.say(`review.json holds ${P2SEG.number(P2SEG.decisions.all().length)} decisions`);
          return;
        }
        const url = URL.createObjectURL(new Blob([content], { type: "application/json" }));
        const link = P2SEG.make("a", { href: url, download: "review.json" });
        link.click();
        setTimeout(() => URL.revokeObjectURL(url), 60000);
        P2SEG.decisions.isSaved(when);
        P2SEG.say(`review.json holds ${P2SEG.number(P2SEG.decisions.all().length)} decisions`);
      } catch (error) {
        P2SEG.say(`The review was not saved: ${error.message}`, true);
      }
    },

    async keep() {
      try {
        handle = await window.showSaveFilePicker({ suggestedName: "review.json" });
      } catch (error) {
        if (error.name !== "AbortError") P2SEG.say(`No file was chosen: ${error.message}`, true);
        return;
      }
      // being saved is told, too, and must not be a reason to write again
      P2SEG.decisions.listen(() => { if (P2SEG.decisions.unsaved) review.write(); });
      await review.write();
    },

    /* Writes the chosen file; while it is written, decisions that come are written after. */
    async write() {
      if (!handle) return;
      if (writing) { again = true; return; }
      const when = P2SEG.decisions.unsaved;
      writing = (async () => {
        const stream = await handle.createWritable();
        await stream.write(await text());
        await stream.close();
      })();
      try {
        await writing;
        P2SEG.decisions.isSaved(when);
      } catch (error) {
        P2SEG.say(`${handle.name} was not written: ${error.message}; save the review`, true);
        handle = null;
      }
      writing = null;
      if (again) { again = false; review.write(); }
    },

    /* Takes the decisions of a review file's text. */
    load(content) {
      let read;
      try {
        read = JSON.parse(content.replace(/("(?:image_)?id"\s*:\s*)(\d+)/g, '$1"$2"'));
      } catch (error) {
        P2SEG.say(`This file is no JSON: ${error.message}`, true);
        return;
      }
      const given = read && Array.isArray(read.decisions) ? read.decisions : null;
      if (!given) {
        P2SEG.say("This file has no list of decisions; choose a review.json of a gallery", true);
        return;
      }
      const wrong = given.findIndex((each) => !P2SEG.decisions.isOne(each));
      if (wrong >= 0) {
        P2SEG.say(`Decision ${wrong + 1} of this file cannot be read; nothing was taken from it`, true);
        return;
      }
      const foreign = given.filter((each) => !P2SEG.byId.has(each.id)).length;
      P2SEG.decisions.set(given.map(plain));
      const rest = foreign ? `; ${foreign} are about masks that are not here, and are kept` : "";
      P2SEG.say(`${P2SEG.number(given.length)} decisions were read${rest}`);
    },
  };

  /* A decision with what the form has and nothing else. */
  function plain(each) {
    const made = { id: each.id, image_id: each.image_id, decision: each.decision };
    const code = each.segmentation;
    const whole = code && Array.isArray(code.size) && code.size.length === 2
      && code.size.every(Number.isInteger) && typeof code.counts === "string";
    if (each.decision === "accept" && whole) made.segmentation = { size: code.size, counts: code.counts };
    if (each.point) made.point = each.point;
    return made;
  }

  P2SEG.files = review;
})();
