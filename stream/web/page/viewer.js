// Two pictures of one moment on a canvas, with a divider that can be dragged, zoom and pan.

export const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

// What all viewers of a page have in common: their pictures are looked at in step.
export const view = { at: 0.5, zoom: 1, x: 0.5, y: 0.5, only: null };

const viewers = new Set();

export class Viewer {
  // `label` says what is shown, to those who do not see it.
  constructor(label) {
    this.frames = 0;
    const box = this.box = document.createElement("div");
    box.className = "stage";
    box.innerHTML = `<canvas role="img"></canvas><span class="tag left">before</span>
      <span class="tag right">after</span>
      <div class="divider" role="slider" tabindex="0" aria-orientation="horizontal"
        aria-label="Divider" aria-valuemin="0" aria-valuemax="100"></div>`;
    this.canvas = box.querySelector("canvas");
    this.divider = box.querySelector(".divider");
    this.canvas.setAttribute("aria-label", label);
    this.context = this.canvas.getContext("2d", { alpha: false });
    new ResizeObserver(() => this.draw()).observe(this.canvas);
    this.divider.addEventListener("pointerdown", event => this.drag(event, true));
    this.canvas.addEventListener("pointerdown", event => this.drag(event, false));
    this.canvas.addEventListener("wheel", event => {
      event.preventDefault();
      this.zoomAt(Math.exp(-event.deltaY * 0.002), event.offsetX, event.offsetY);
    }, { passive: false });
    this.canvas.addEventListener("dblclick", event =>
      view.zoom > 1 ? reset() : this.zoomAt(3, event.offsetX, event.offsetY));
    viewers.add(this);
  }

  remove() {
    viewers.delete(this);
    this.box.remove();
  }

  // What is shown, or null: { width, height, halves: [left, right] }, and of each of the halves
  // { image, x, y, width, height }, the place in the image.
  picture() {
    return null;
  }

  // The place of the picture on the canvas, in pixels of the canvas.
  place() {
    const picture = this.picture();
    if (!picture?.width || !picture.height) return null;
    const { width, height, halves } = picture;
    const scale = Math.min(this.canvas.width / width, this.canvas.height / height) * view.zoom;
    const at = (length, full, centre) => length * scale <= full
      ? (full - length * scale) / 2
      : clamp(full / 2 - centre * length * scale, full - length * scale, 0);
    return { halves, width, height, scale,
      x: at(width, this.canvas.width, view.x), y: at(height, this.canvas.height, view.y) };
  }

  draw() {
    const shown = this.picture();
    if (shown?.width && shown.height) {
      this.box.style.setProperty("--shape", `${shown.width} / ${shown.height}`);
    }
    const ratio = window.devicePixelRatio || 1;
    const [wide, high] = [this.canvas.clientWidth, this.canvas.clientHeight]
      .map(length => Math.max(1, Math.round(length * ratio)));
    if (this.canvas.width !== wide || this.canvas.height !== high) {
      this.canvas.width = wide;
      this.canvas.height = high;
    }
    const at = view.only === "left" ? 1 : view.only === "right" ? 0 : view.at;
    this.divider.style.setProperty("--at", `${100 * at}%`);
    this.divider.setAttribute("aria-valuenow", Math.round(100 * at));
    const left = this.box.querySelector(".tag.left").textContent;
    this.divider.setAttribute("aria-valuetext", `${Math.round(100 * at)} percent ${left}`);
    const context = this.context, place = this.place();
    context.fillStyle = "#000";
    context.fillRect(0, 0, wide, high);
    if (!place) return;
    const { halves, width, height, scale, x, y } = place;
    context.imageSmoothingQuality = "high";
    const split = Math.round(at * wide);
    const half = (of, left, right) => {
      if (right <= left) return;
      context.save();
      context.beginPath();
      context.rect(left, 0, right - left, high);
      context.clip();
      // From twice the size on its pixels are shown as they are.
      context.imageSmoothingEnabled = scale * width < 2 * of.width;
      context.drawImage(of.image, of.x, of.y, of.width, of.height, x, y, width * scale, height * scale);
      context.restore();
    };
    half(halves[0], 0, split);
    half(halves[1], split, wide);
    this.box.dataset.frames = ++this.frames;
  }

  drag(event, divides) {
    if (event.button) return;
    event.preventDefault();
    event.currentTarget.focus?.();
    const target = event.currentTarget;
    this.fingers ??= new Map();
    this.fingers.set(event.pointerId, event);
    target.setPointerCapture(event.pointerId);
    this.box.classList.add("moving");
    const { pointerId } = event;
    const move = now => {
      const before = this.fingers.get(pointerId);
      if (now.pointerId !== pointerId || !before) return;
      const bounds = this.canvas.getBoundingClientRect();
      if (divides) {
        view.at = clamp((now.clientX - bounds.left) / bounds.width, 0, 1);
        drawAll();
      } else if (this.fingers.size === 2) {
        const [one, other] = this.fingers.values();
        const still = one.pointerId === pointerId ? other : one;
        const far = point => Math.hypot(point.clientX - still.clientX, point.clientY - still.clientY);
        this.zoomAt(far(now) / Math.max(1, far(before)),
          (now.clientX + still.clientX) / 2 - bounds.left,
          (now.clientY + still.clientY) / 2 - bounds.top);
      } else {
        const ratio = this.canvas.width / bounds.width;
        this.pan((before.clientX - now.clientX) * ratio, (before.clientY - now.clientY) * ratio);
      }
      this.fingers.set(pointerId, now);
    };
    const up = now => {
      if (now.pointerId !== pointerId) return;
      this.fingers.delete(pointerId);
      target.removeEventListener("pointermove", move);
      target.removeEventListener("pointerup", up);
      target.removeEventListener("pointercancel", up);
      if (!this.fingers.size) this.box.classList.remove("moving");
    };
    target.addEventListener("pointermove", move);
    target.addEventListener("pointerup", up);
    target.addEventListener("pointercancel", up);
  }

  pan(dx, dy) {
    const place = this.place();
    if (!place) return;
    const limit = (value, length, full) => {
      const edge = Math.min(0.5, full / 2 / (length * place.scale));
      return clamp(value, edge, 1 - edge);
    };
    view.x = limit(view.x + dx / (place.width * place.scale), place.width, this.canvas.width);
    view.y = limit(view.y + dy / (place.height * place.scale), place.height, this.canvas.height);
    drawAll();
  }

  // Zoom so that what is under a point, in CSS pixels of the canvas, stays under it.
  zoomAt(factor, offsetX, offsetY) {
    const place = this.place();
    if (!place) return;
    const ratio = this.canvas.width / this.canvas.clientWidth;
    // Small pictures, which fitting enlarges, can be made as small as they are.
    const zoom = clamp(view.zoom * factor, Math.min(1, view.zoom / place.scale), 16);
    const scale = place.scale * zoom / view.zoom;
    const centre = (offset, start, length, full) => {
      const under = clamp((offset * ratio - start) / (length * place.scale), 0, 1);
      return under + (full / 2 - offset * ratio) / (length * scale);
    };
    view.x = centre(offsetX, place.x, place.width, this.canvas.width);
    view.y = centre(offsetY, place.y, place.height, this.canvas.height);
    view.zoom = zoom;
    this.pan(0, 0);
  }

  zoom(factor) {
    this.zoomAt(factor, this.canvas.clientWidth / 2, this.canvas.clientHeight / 2);
  }

  // One pixel of the picture becomes one of the screen.
  actual() {
    const place = this.place();
    if (place) this.zoom(1 / place.scale);
  }
}

export function drawAll() {
  const seen = [...viewers].filter(viewer => !viewer.box.hidden);
  for (const viewer of seen) viewer.draw();
  // In pixels of the screen for one of the picture, as the button for 1:1 counts.
  const scale = seen[0]?.place()?.scale;
  document.getElementById("zoom").textContent =
    view.zoom === 1 || !scale ? "fit" : `${Math.round(100 * scale)} %`;
}

export function reset() {
  Object.assign(view, { zoom: 1, x: 0.5, y: 0.5 });
  drawAll();
}

function divide(step) {
  view.at = clamp(view.at + step, 0, 1);
  drawAll();
}

function only(side) {
  view.only = side;
  drawAll();
}

// Keys, and the buttons #in, #out, #fit and #actual, act on the viewer that `current` gives; `more`
// has the page's own keys.
export function control(current, more) {
  const keys = {
    ArrowLeft: () => divide(-0.02), ArrowRight: () => divide(0.02),
    Home: () => divide(-1), End: () => divide(1),
    "+": () => current()?.zoom(1.25), "=": () => current()?.zoom(1.25),
    "-": () => current()?.zoom(0.8), 0: reset, 1: () => current()?.actual(),
    b: () => only("left"), a: () => only("right"), ...more,
  };
  const once = new Set(["a", "b", " "]);
  document.addEventListener("keydown", event => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const { target } = event;
    if (target.matches("input") || target.matches("select") && !",.[]+-".includes(event.key)) return;
    if (target.matches("button, summary") && event.key === " ") return;
    if (event.shiftKey && event.key.startsWith("Arrow")) {
      const far = 40, [dx, dy] = { ArrowLeft: [-far, 0], ArrowRight: [far, 0],
        ArrowUp: [0, -far], ArrowDown: [0, far] }[event.key];
      current()?.pan(dx, dy);
    } else {
      const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
      if (!keys[key] || event.repeat && once.has(key)) return;
      keys[key]();
    }
    event.preventDefault();
  });
  document.addEventListener("keyup", event => {
    if ("ab".includes(event.key.toLowerCase())) only(null);
  });
  window.addEventListener("blur", () => only(null));
  const on = (id, act) => document.getElementById(id).addEventListener("click", act);
  on("in", () => current()?.zoom(1.25));
  on("out", () => current()?.zoom(0.8));
  on("fit", reset);
  on("actual", () => current()?.actual());
}
