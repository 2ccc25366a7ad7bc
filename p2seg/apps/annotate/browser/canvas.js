// The image with its points and masks: zoom, pan, click, drag. Image positions here refer to pixel
// edges (the first pixel spans 0 to 1). Messages to the server contain pixel indices.
import { paint } from "p2seg-annotate/paint.js";

const REACH = 9; // radius in screen pixels within which the mouse selects a point
const STILL = 4; // most screen pixels that the mouse may move during a click
const ZOOMS = [1 / 64, 48]; // smallest and largest zoom, in screen pixels per image pixel

export default {
  template: `<div class="stage" tabindex="0"><canvas></canvas>
    <div class="fault" v-if="fault">{{ fault }}</div>
    <div class="lost" v-if="cut">{{ refused
      ? "The server was restarted. Open the new address that it printed; saved points are safe."
      : "Connection lost. Clicks are ignored until it is back; saved points are safe." }}</div>
    <div class="note" :class="{shown: noted}">{{ text }}</div>
    <div class="tip" v-show="tip.text" :style="tip.style">{{ tip.text }}</div></div>`,
  props: { colors: Array, names: Array, keys: Array, start: String },
  data: () => ({ fault: "", cut: false, refused: false, text: "", noted: false, tip: { text: "", style: "" } }),
  created() {
    Object.assign(this, {
      image: null, base: null, part: null, marks: [], masks: [], pending: [], hidden: false,
      label: 1, zoom: 1, left: 0, top: 0, mouse: null, press: null, count: 0,
    });
  },
  mounted() {
    this.canvas = this.$el.querySelector("canvas");
    const on = (target, name, act, options) => target.addEventListener(name, act.bind(this), options);
    on(this.canvas, "pointerdown", this.down);
    on(this.canvas, "pointermove", this.moved);
    on(this.canvas, "pointerup", this.up);
    on(this.canvas, "pointercancel", () => (this.press = null));
    on(this.canvas, "pointerleave", () => { this.mouse = null; this.draw(); });
    on(this.canvas, "contextmenu", (event) => event.preventDefault());
    on(this.canvas, "wheel", this.wheel, { passive: false });
    on(window, "keydown", this.key);
    setInterval(() => this.connected(), 300);
    setInterval(() => this.cut && this.look(), 1500);
    new ResizeObserver(() => this.resize()).observe(this.$el);
    this.resize();
    this.lost = JSON.parse(sessionStorage.getItem("p2seg-pending") ?? "[]");
    const seen = Number.parseInt(sessionStorage.getItem("p2seg-image") ?? "-1");
    this.$emit("ready", { number: seen });
  },
  methods: {
    // ---- messages from the server
    show(image) {
      const again = this.image?.number === image.number && this.image?.width === image.width;
      this.image = image;
      this.fault = image.fault ?? "";
      sessionStorage.setItem("p2seg-image", image.number);
      if (!again) Object.assign(this, { base: null, part: null, marks: [], masks: [], pending: [], press: null });
      if (!again) this.fit();
      if (!image.fault) this.load();
      this.draw();
    },
    points(number, points, unsaved, seen, proposed) {
      if (number !== this.image?.number) return;
      const mark = (isProposed) => ([id, label, x, y]) => ({ id, label, x, y, proposed: isProposed });
      this.marks = [...proposed.map(mark(true)), ...points.map(mark(false))];
      this.unsaved = new Set(unsaved);
      this.pending = this.pending.filter((each) => each.count > seen);
      this.tellLost();
      this.remember();
      this.draw();
    },
    outlines(number, outlines) {
      if (number !== this.image?.number) return;
      this.masks = outlines.map(([id, path, fill]) => ({ id, path: new Path2D(path), fill }));
      this.draw();
    },
    choose(label) {
      this.label = label;
      this.draw();
    },
    hide(hidden) {
      this.hidden = hidden;
      this.draw();
    },
    note(text) {
      this.text = text;
      this.noted = true;
      clearTimeout(this.fading);
      this.fading = setTimeout(() => (this.noted = false), 3500);
    },
    // ---- pictures
    url(number, part) {
      return `/picture/${number}?${new URLSearchParams({ ...part, start: this.start })}`;
    },
    load() {
      const image = this.image, picture = new Image();
      const most = Math.max(this.width, this.height) * devicePixelRatio;
      const fit = Math.min(2048, Math.ceil(most / 512) * 512); // equal for windows of similar size
      picture.onload = () => {
        if (this.image !== image) return;
        this.base = { picture, scale: Math.min(1, fit / Math.max(image.width, image.height)) };
        this.draw();
        this.sharpen();
        if (image.next !== null) new Image().src = this.url(image.next, { fit });
      };
      picture.onerror = () => this.image === image && this.$emit("broken", { number: image.number });
      picture.src = this.url(image.number, { fit });
    },
    sharpen() {
      // requests the visible part at screen resolution if the whole picture has less
      clearTimeout(this.waiting);
      this.waiting = setTimeout(() => {
        const image = this.image, scale = Math.min(1, this.zoom * devicePixelRatio);
        if (!this.base || this.base.scale >= scale * 0.95) return;
        const [x0, y0] = this.toImage(0, 0).map(Math.floor);
        const [x1, y1] = this.toImage(this.width, this.height).map(Math.ceil);
        const seen = [Math.max(x0, 0), Math.max(y0, 0), Math.min(x1, image.width), Math.min(y1, image.height)];
        if (seen[0] >= seen[2] || seen[1] >= seen[3]) return;
        const own = this.part;
        if (own && own.scale >= scale * 0.95 && own.left <= seen[0] && own.top <= seen[1]
            && own.left + own.width >= seen[2] && own.top + own.height >= seen[3]) return;
        const [w, h] = [seen[2] - seen[0], seen[3] - seen[1]];
        const left = Math.max(0, seen[0] - (w >> 2)), top = Math.max(0, seen[1] - (h >> 2));
        const width = Math.min(image.width - left, w + (w >> 1)), height = Math.min(image.height - top, h + (h >> 1));
        const to = { to_width: Math.ceil(width * scale), to_height: Math.ceil(height * scale) };
        const picture = new Image();
        picture.onload = () => {
          if (this.image !== image) return;
          this.part = { picture, left, top, width, height, scale };
          this.draw();
        };
        picture.src = this.url(image.number, { left, top, width, height, ...to });
      }, 120);
    },
    // ---- view
    resize() {
      const { clientWidth, clientHeight } = this.$el;
      const middle = this.width ? this.toImage(this.width / 2, this.height / 2) : null;
      Object.assign(this, { width: clientWidth, height: clientHeight });
      this.canvas.width = clientWidth * devicePixelRatio;
      this.canvas.height = clientHeight * devicePixelRatio;
      if (this.fitted || !middle) this.fit();
      else this.place(this.zoom, middle, this.width / 2, this.height / 2);
    },
    fit() {
      if (!this.image?.width) return;
      const { width, height } = this.image, border = 24;
      const zoom = Math.min((this.width - 2 * border) / width, (this.height - 2 * border) / height);
      this.place(Math.min(Math.max(zoom, ZOOMS[0]), 8), [width / 2, height / 2], this.width / 2, this.height / 2);
      this.fitted = true;
    },
    place(zoom, [x, y], sx, sy) {
      this.zoom = zoom;
      this.left = sx - x * zoom;
      this.top = sy - y * zoom;
      this.fitted = false;
      this.draw();
      this.sharpen();
    },
    zoomBy(factor) {
      if (!this.image?.width) return;
      const [sx, sy] = this.mouse ?? [this.width / 2, this.height / 2];
      const zoom = Math.min(Math.max(this.zoom * factor, ZOOMS[0]), ZOOMS[1]);
      this.place(zoom, this.toImage(sx, sy), sx, sy);
    },
    toImage(sx, sy) {
      return [(sx - this.left) / this.zoom, (sy - this.top) / this.zoom];
    },
    toScreen({ x, y }) {
      return [this.left + (x + 0.5) * this.zoom, this.top + (y + 0.5) * this.zoom];
    },
    pixel(sx, sy) {
      const [x, y] = this.toImage(sx, sy).map(Math.floor), { width, height } = this.image;
      return x >= 0 && y >= 0 && x < width && y < height ? { x, y } : null;
    },
    hit() {
      if (!this.mouse || !this.image) return null;
      let best = null, least = REACH;
      for (const mark of [...this.marks, ...this.pending]) {
        const [sx, sy] = this.toScreen(mark);
        const far = Math.hypot(sx - this.mouse[0], sy - this.mouse[1]);
        if (far <= least) [best, least] = [mark, far];
      }
      return best;
    },
    draw() {
      if (this.drawing) return;
      this.drawing = requestAnimationFrame(() => {
        this.drawing = null;
        const hit = this.press?.mark ?? (this.press?.far ? null : this.hit());
        const dragged = this.press?.mark && this.press.far ? this.press.mark : null;
        paint(this.canvas.getContext("2d"), this, hit, dragged);
        const [sx, sy] = this.mouse ?? [0, 0];
        const text = hit && !dragged ? this.names[hit.label - 1] + (hit.proposed ? " (proposed)" : "") : "";
        this.tip = { text, style: `left: ${sx + 14}px; top: ${sy + 14}px` };
        this.canvas.style.cursor = dragged || (this.press?.far && !hit) ? "grabbing" : hit ? "pointer" : "crosshair";
        const { zoom, left, top, marks, pending, masks, image, base } = this;
        const told = { number: image?.number, zoom, left, top, points: marks.filter((each) => !each.proposed).length,
          proposed: marks.filter((each) => each.proposed).length, pending: pending.length,
          unsaved: this.unsaved?.size ?? 0, masks: masks.length, ready: !!base, sharp: this.part?.scale ?? 0 };
        Object.assign(this.$el.dataset, told);
      });
    },
    // ---- mouse and keys
    at(event) {
      const box = this.canvas.getBoundingClientRect();
      this.mouse = [event.clientX - box.left, event.clientY - box.top];
    },
    down(event) {
      this.at(event);
      this.$el.focus({ preventScroll: true });
      if (!this.image?.width || this.fault) return;
      event.preventDefault();
      this.canvas.setPointerCapture(event.pointerId);
      const mark = event.button === 1 ? null : this.hit();
      if (event.button === 2) this.remove(mark);
      else this.press = { button: event.button, start: this.mouse, from: [this.left, this.top], mark, far: false };
    },
    moved(event) {
      this.at(event);
      const press = this.press;
      if (press) {
        const step = this.mouse.map((each, k) => each - press.start[k]);
        press.far ||= Math.hypot(...step) > STILL;
        if (press.far && !press.mark) {
          [this.left, this.top] = press.from.map((each, k) => each + step[k]);
          this.fitted = false;
          this.sharpen();
        }
      }
      this.draw();
    },
    up(event) {
      this.at(event);
      const press = this.press;
      this.press = null;
      if (!press || press.button !== 0) return this.draw();
      const place = this.pixel(...(press.far ? this.mouse : press.start));
      if (press.mark?.proposed && !press.far) {
        if (this.connected()) this.$emit("accept", { number: this.image.number, id: press.mark.id });
      } else if (press.mark && !press.far) this.note(`This place already has a point: ${this.names[press.mark.label - 1]}. Drag to move it, right click to remove it, or zoom in to click next to it.`);
      else if (press.mark && press.mark.id && place && this.connected()) {
        Object.assign(press.mark, place);
        this.$emit("drag", { number: this.image.number, id: press.mark.id, ...place });
      } else if (!press.mark && !press.far && place && this.connected()) {
        this.count += 1;
        this.pending.push({ ...place, label: this.label, count: this.count });
        this.remember();
        this.$emit("click", { number: this.image.number, count: this.count, ...place });
      }
      this.draw();
    },
    remove(mark) {
      if (mark?.id && this.connected()) this.$emit("remove", { number: this.image.number, id: mark.id });
    },
    wheel(event) {
      event.preventDefault();
      this.at(event);
      const lines = event.deltaMode === 1 ? 33 : 1;
      this.zoomBy(Math.exp(-Math.max(-240, Math.min(240, event.deltaY * lines)) / 400));
    },
    key(event) {
      const target = event.target;
      if (/^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName) || document.querySelector(".q-dialog")) return;
      if (target.tagName === "BUTTON" && /^( |Enter)$/.test(event.key)) return;
      const control = event.ctrlKey || event.metaKey;
      if (control && event.key.toLowerCase() === "z" && !event.shiftKey) this.command(event, "undo");
      if (control || event.altKey) return;
      const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
      const digit = /^(Digit|Numpad)([1-9])$/.exec(event.code)?.[2];
      const label = this.keys.indexOf(/^[1-9]$/.test(key) ? key : event.shiftKey ? key : digit ?? key) + 1;
      const commands = {
        ArrowLeft: "back", a: "back", ArrowRight: "forth", d: "forth", n: "next", Enter: "done",
        z: "undo", " ": "hide", "?": "help", y: "accept", x: "reject",
      };
      if (label > 0) this.command(event, "class", label);
      else if (key === "Delete" || key === "Backspace") { event.preventDefault(); this.remove(this.hit()); }
      else if (key === "+" || key === "=") this.zoomBy(1.5);
      else if (key === "-") this.zoomBy(1 / 1.5);
      else if (key === "0") this.fit();
      else if (commands[key]) this.command(event, commands[key]);
    },
    command(event, name, label = 0) {
      event.preventDefault();
      if (!event.repeat || name === "back" || name === "forth") this.$emit("command", { name, label });
    },
    // ---- connection
    isConnected() {
      return !!(window.socket?.connected && window.did_handshake);
    },
    connected() {
      this.cut = !this.isConnected();
      this.refused &&= this.cut;
      return !this.cut;
    },
    async look() {
      // a restarted server has another token and refuses every request
      const answer = await fetch("/picture/none").catch(() => null);
      this.refused = answer?.status === 403;
    },
    remember() {
      const number = this.image?.number;
      sessionStorage.setItem("p2seg-pending", JSON.stringify(this.pending.map(({ x, y }) => ({ number, x, y }))));
    },
    tellLost() {
      // reports clicks that were sent before the page was reloaded but never saved
      const lost = this.lost?.filter(({ number, x, y }) => number === this.image.number
        && !this.marks.some((mark) => mark.x === x && mark.y === y));
      if (lost?.length) this.note(lost.length === 1 ? "The last click was not saved; click again." : `The last ${lost.length} clicks were not saved; click again.`);
      this.lost = null;
    },
  },
};
