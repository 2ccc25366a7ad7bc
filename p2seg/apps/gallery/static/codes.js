/* COCO's compressed run-length codes. */
"use strict";

(() => {
  /* The run lengths of a code: 5 bits a character, lowest first; from the third on differences to
     the last but one. Runs go down the columns and begin with what is outside. */
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

  /* Paints a code into a map of another size: `map[y * width + x] = value`.
     size: [height, width] of the code; map: of height x width. Gives the number of painted cells. */
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
