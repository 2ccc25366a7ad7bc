// Draws the image, the masks over it and the points over them.
const SHARP = 3; // zoom in screen pixels per image pixel from which pixels are drawn as squares
const RADIUS = 5;

export function paint(pen, view, hit, dragged) {
  const { width, height, zoom, left, top, image, base, part } = view;
  pen.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
  pen.clearRect(0, 0, width, height);
  if (!image?.width) return;
  pen.fillStyle = "#1d1f23"; // placeholder until the image is loaded
  pen.fillRect(left, top, image.width * zoom, image.height * zoom);
  pen.imageSmoothingEnabled = zoom < SHARP;
  pen.imageSmoothingQuality = "high";
  if (base) pen.drawImage(base.picture, left, top, image.width * zoom, image.height * zoom);
  if (part && base?.scale < zoom * devicePixelRatio) {
    const place = [left + part.left * zoom, top + part.top * zoom];
    pen.drawImage(part.picture, ...place, part.width * zoom, part.height * zoom);
  }
  if (!view.hidden) paintMasks(pen, view, hit);
  for (const mark of view.marks) if (mark !== dragged) paintMark(pen, view, mark, mark === hit);
  for (const mark of view.pending) paintMark(pen, view, mark, false, true);
  if (dragged && view.mouse) {
    pen.globalAlpha = 0.4;
    paintMark(pen, view, dragged, false);
    pen.globalAlpha = 1;
    paintDot(pen, ...view.mouse, view.colors[dragged.label - 1], RADIUS + 2);
  }
}

function paintMasks(pen, { left, top, zoom, masks, marks, colors }, hit) {
  const labels = new Map(marks.map((mark) => [mark.id, mark.label]));
  pen.save();
  pen.translate(left, top);
  pen.scale(zoom, zoom);
  pen.lineJoin = "round";
  for (const { id, path, fill } of masks) {
    if (!labels.has(id)) continue; // the point was removed
    pen.globalAlpha = id === hit?.id ? 0.55 : 0.36;
    pen.fillStyle = fill;
    pen.fill(path, "evenodd");
  }
  pen.globalAlpha = 1;
  for (const { id, path } of masks) {
    if (!labels.has(id)) continue;
    pen.strokeStyle = "rgba(0, 0, 0, 0.55)";
    pen.lineWidth = (id === hit?.id ? 4.5 : 3) / zoom;
    pen.stroke(path);
    pen.strokeStyle = colors[labels.get(id) - 1];
    pen.lineWidth = (id === hit?.id ? 2.5 : 1.4) / zoom;
    pen.stroke(path);
  }
  pen.restore();
}

function paintMark(pen, view, mark, hit, pending = false) {
  const [sx, sy] = view.toScreen(mark);
  if (sx < -20 || sy < -20 || sx > view.width + 20 || sy > view.height + 20) return;
  const hollow = pending || view.unsaved?.has(mark.id);
  const style = mark.proposed ? "proposed" : hollow ? "unsaved" : "saved";
  paintDot(pen, sx, sy, view.colors[mark.label - 1], hit ? RADIUS + 2 : RADIUS, style);
}

function paintDot(pen, sx, sy, color, radius, style = "saved") {
  const ring = (size, style) => {
    pen.beginPath();
    pen.arc(sx, sy, size, 0, 2 * Math.PI);
    pen.fillStyle = style;
    pen.fill();
  };
  if (style === "proposed") { // a ring, which shows the object below
    for (const [width, stroke] of [[5.5, "rgba(10, 11, 13, 0.85)"], [3.5, "#fff"], [2, color]]) {
      pen.beginPath();
      pen.arc(sx, sy, radius, 0, 2 * Math.PI);
      pen.lineWidth = width;
      pen.strokeStyle = stroke;
      pen.stroke();
    }
    return;
  }
  if (style === "unsaved") {
    pen.beginPath();
    pen.arc(sx, sy, radius, 0, 2 * Math.PI);
    pen.setLineDash([3, 3]);
    pen.lineWidth = 2;
    pen.strokeStyle = color;
    pen.stroke();
    pen.setLineDash([]);
    return;
  }
  ring(radius + 2.2, "rgba(10, 11, 13, 0.85)");
  ring(radius + 1.2, "#fff");
  ring(radius - 0.4, color);
}
