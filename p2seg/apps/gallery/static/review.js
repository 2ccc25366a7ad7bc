/* Writes, updates and reads the review file. */
"use strict";

(() => {
  const AT_ONCE = 8; // images whose codes are read at once
  const served = window.location.protocol !== "file:"; // by `p2seg review`
  let handle = null; // the file to update after each decision, if the browser supports it
  let writing = null;
  let again = false;

  /* Returns the review as text. Ids stay text in the page: JavaScript numbers have only 53 bits. */
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

  /* Loads the missing codes of accepted masks. */
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
      // listeners also run after a save, which must not start another save
      P2SEG.decisions.listen(() => { if (P2SEG.decisions.unsaved) review.write(); });
      await review.write();
    },

    /* Writes the selected file; decisions made during the write are written afterwards. */
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

    /* Applies the decisions of a review file. */
    load(content) {
      let read;
      try {
        read = JSON.parse(content.replace(/("(?:image_)?id"\s*:\s*)(\d+)/g, '$1"$2"'));
      } catch (error) {
        P2SEG.say(`This file is not JSON: ${error.message}`, true);
        return;
      }
      const given = read && Array.isArray(read.decisions) ? read.decisions : null;
      if (!given) {
        P2SEG.say("This file has no list of decisions; choose a review.json written by a gallery", true);
        return;
      }
      const wrong = given.findIndex((each) => !P2SEG.decisions.isOne(each));
      if (wrong >= 0) {
        P2SEG.say(`Decision ${wrong + 1} of this file is invalid; the whole file was ignored`, true);
        return;
      }
      const foreign = given.filter((each) => !P2SEG.byId.has(each.id)).length;
      P2SEG.decisions.set(given.map(plain));
      const rest = foreign ? `; ${foreign} are about masks that are not here and are saved again unchanged` : "";
      P2SEG.say(`${P2SEG.number(given.length)} decisions were read${rest}`);
    },
  };

  /* Returns a decision with only the keys of the format. */
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
