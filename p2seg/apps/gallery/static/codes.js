/* COCO's compressed run-length codes. */
"use strict";

(() => {
  /* Decodes the run lengths: 5 bits per character, lowest bits first. From the fourth run on, each
     value is the difference from the run two before. Runs go down the columns and start outside
     the mask. */
  P2SEG.runs = (text) => {
    const runs = [];
    let at = 0;
    while (at < text.length) {
      let value = 0, shift = 0, more = true;
      while (more && at < text.length) {
        const unit = text.charCodeAt(at++) - 48;
        value |= (unit & 31) << shift;
        more = (unit & 32) !== 0;
        shift += 5;
        if (!more && (unit & 16) && shift < 32) value |= -1 << shift;
      }
      if (runs.length > 2) value += runs[runs.length - 2];
      runs.push(value);
    }
    return runs;
  };

  /* Draws a code into a map of another size: `map[y * width + x] = value`.
     size: [height, width] of the code; map: height x width. Returns the number of drawn cells. */
  P2SEG.fill = (text, size, map, height, width, value) => {
    const [fullHeight, fullWidth] = size;
    const down = height / fullHeight, right = width / fullWidth;
    let at = 0, painted = 0, inside = false;
    for (const run of P2SEG.runs(text)) {
      if (inside) {
        let place = at;
        const end = Math.min(at + run, fullHeight * fullWidth);
        while (place < end) {
          const column = Math.floor(place / fullHeight);
          const first = place - column * fullHeight;
          const last = Math.min(fullHeight, first + end - place);
          const y0 = Math.ceil(first * down - 0.5), y1 = Math.ceil(last * down - 0.5);
          const x0 = Math.ceil(column * right - 0.5), x1 = Math.ceil((column + 1) * right - 0.5);
          for (let x = x0; x < x1; x++) {
            for (let y = y0; y < y1; y++) map[y * width + x] = value;
          }
          painted += Math.max(0, x1 - x0) * Math.max(0, y1 - y0);
          place += last - first;
        }
      }
      at += run;
      inside = !inside;
    }
    return painted;
  };
})();
