// The preview: before and after in one picture, what the feed does, and how it restores.
// The server sends both halves side by side in one video, so that they are always of one moment.

const $ = id => document.getElementById(id);
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
const WINDOW_MS = 60_000;      // of the plot
const MUTE_MS = 4_000;         // WebRTC that shows nothing for so long gives way to MJPEG
const AGAIN_MS = 1_000;

// What all pictures have in common: they are looked at in step.
const view = { at: 0.5, zoom: 1, x: 0.5, y: 0.5, only: null, paused: false };

class Stage {
  constructor(feed) {
    this.feed = feed;
    this.history = [];
    this.frames = 0;
    this.source = null;          // what is drawn: a video or an ImageBitmap, both halves
    this.still = null;           // the same while paused
    this.build();
  }

  build() {
    const box = this.box = document.createElement("div");
    box.className = "stage";
    box.innerHTML = `<canvas></canvas><span class="tag before">before</span>
      <span class="tag after">after</span><p class="message" hidden></p>
      <div class="divider" role="slider" tabindex="0" aria-orientation="horizontal"
        aria-label="Divider" aria-valuemin="0" aria-valuemax="100"></div>
      <button type="button" class="name"></button>`;
    this.canvas = box.querySelector("canvas");
    this.message = box.querySelector(".message");
    this.divider = box.querySelector(".divider");
    const name = box.querySelector(".name");
    name.textContent = this.feed.name;
    name.addEventListener("click", () => choose(this));
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", `${this.feed.name}, before and after`);
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
  }

  // The place of the picture on the canvas, in pixels of the canvas.
  place() {
    const picture = this.still ?? this.source;
    if (!picture) return null;
    const width = (picture.videoWidth ?? picture.width) / 2;
    const height = picture.videoHeight ?? picture.height;
    if (!width || !height) return null;
    const scale = Math.min(this.canvas.width / width, this.canvas.height / height) * view.zoom;
    const at = (length, full, centre) => length * scale <= full
      ? (full - length * scale) / 2
      : clamp(full / 2 - centre * length * scale, full - length * scale, 0);
    return { picture, width, height, scale,
      x: at(width, this.canvas.width, view.x), y: at(height, this.canvas.height, view.y) };
  }

  draw() {
    const ratio = window.devicePixelRatio || 1;
    const [wide, high] = [this.canvas.clientWidth, this.canvas.clientHeight]
      .map(length => Math.max(1, Math.round(length * ratio)));
    if (this.canvas.width !== wide || this.canvas.height !== high) {
      this.canvas.width = wide;
      this.canvas.height = high;
    }
    const at = view.only === "before" ? 1 : view.only === "after" ? 0 : view.at;
    this.divider.style.setProperty("--at", `${100 * at}%`);
    this.divider.setAttribute("aria-valuenow", Math.round(100 * at));
    this.divider.setAttribute("aria-valuetext", `${Math.round(100 * at)} percent before`);
    const context = this.context, place = this.place();
    context.fillStyle = "#000";
    context.fillRect(0, 0, wide, high);
    if (!place) return;
    const { picture, width, height, scale, x, y } = place;
    context.imageSmoothingEnabled = scale < 2;
    context.imageSmoothingQuality = "high";
    const split = Math.round(at * wide);
    const half = (from, left, right) => {
      if (right <= left) return;
      context.save();
      context.beginPath();
      context.rect(left, 0, right - left, high);
      context.clip();
      context.drawImage(picture, from, 0, width, height, x, y, width * scale, height * scale);
      context.restore();
    };
    half(0, 0, split);
    half(width, split, wide);
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
    const move = now => {
      const before = this.fingers.get(now.pointerId);
      if (!before) return;
      const bounds = this.canvas.getBoundingClientRect();
      if (divides) {
        view.at = clamp((now.clientX - bounds.left) / bounds.width, 0, 1);
        drawAll();
      } else if (this.fingers.size === 2) {
        const [one, other] = this.fingers.values();
        const still = one.pointerId === now.pointerId ? other : one;
        const far = point => Math.hypot(point.clientX - still.clientX, point.clientY - still.clientY);
        this.zoomAt(far(now) / Math.max(1, far(before)),
          (now.clientX + still.clientX) / 2 - bounds.left,
          (now.clientY + still.clientY) / 2 - bounds.top);
      } else {
        const ratio = this.canvas.width / bounds.width;
        this.pan((before.clientX - now.clientX) * ratio, (before.clientY - now.clientY) * ratio);
      }
      this.fingers.set(now.pointerId, now);
    };
    const up = now => {
      this.fingers.delete(now.pointerId);
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
    const zoom = clamp(view.zoom * factor, 1, 16);
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

  // Getting pictures ---------------------------------------------------------------------------

  start() {
    this.stop();
    const wanted = $("transport").value;
    if (wanted === "mjpeg" || !window.RTCPeerConnection || this.noRtc && wanted === "auto") {
      this.mjpeg();
    } else {
      this.webrtc();
    }
  }

  stop() {
    this.ended?.abort();
    this.ended = null;
    this.peer?.close();
    if (this.number) link.ask({ type: "leave", peer: this.number }).catch(() => {});
    this.peer = this.number = null;
    clearTimeout(this.watch);
    if (this.video) this.video.srcObject = null;
    this.how = "";
  }

  async webrtc() {
    const peer = this.peer = new RTCPeerConnection();
    const video = this.video ??= Object.assign(document.createElement("video"),
      { muted: true, autoplay: true, playsInline: true });
    let seen = false;
    const fail = () => {
      if (this.peer !== peer) return;
      this.noRtc = !seen;
      this.stop();
      if ($("transport").value === "auto" && !seen) this.mjpeg();
      else this.watch = setTimeout(() => this.start(), AGAIN_MS);
    };
    const shown = () => {
      if (this.peer !== peer) return;
      clearTimeout(this.watch);
      this.watch = setTimeout(fail, MUTE_MS * (seen ? 5 : 1));
      seen = true;
      this.take(video, "WebRTC");
      next();
    };
    const next = () => video.requestVideoFrameCallback
      ? video.requestVideoFrameCallback(shown)
      : requestAnimationFrame(shown);
    peer.addEventListener("track", event => {
      if ("jitterBufferTarget" in event.receiver) event.receiver.jitterBufferTarget = 0;
      video.srcObject = event.streams[0] ?? new MediaStream([event.track]);
      video.play().catch(() => {});
      next();
    });
    peer.addEventListener("connectionstatechange", () => {
      if (["failed", "closed"].includes(peer.connectionState)) fail();
    });
    this.watch = setTimeout(fail, MUTE_MS);
    try {
      const offer = await link.ask({ type: "watch", feed: this.feed.name });
      this.number = offer.peer;
      await peer.setRemoteDescription({ type: "offer", sdp: offer.sdp });
      await peer.setLocalDescription(await peer.createAnswer());
      await link.ask({ type: "answer", peer: offer.peer, sdp: peer.localDescription.sdp });
    } catch {
      fail();
    }
  }

  async mjpeg() {
    const ended = this.ended = new AbortController();
    try {
      const address = `mjpeg?feed=${encodeURIComponent(this.feed.name)}`;
      const answer = await fetch(address, { signal: ended.signal, cache: "no-store" });
      if (!answer.ok) throw new Error(answer.statusText);
      for await (const jpeg of parts(answer.body.getReader())) {
        const bitmap = await createImageBitmap(new Blob([jpeg], { type: "image/jpeg" }));
        if (ended.signal.aborted) return bitmap.close();
        const before = this.source;
        this.take(bitmap, "MJPEG");
        if (before instanceof ImageBitmap && before !== this.still) before.close();
      }
    } catch { /* below */ }
    if (!ended.signal.aborted) this.watch = setTimeout(() => this.start(), AGAIN_MS);
  }

  take(picture, how) {
    this.source = picture;
    this.how = how;
    if (!this.still) this.draw();
    if (this === chosen) $("how").textContent = how;
  }

  // What is paused is fetched without loss, and is what will be saved.
  async pause() {
    const answer = await fetch(`still?feed=${encodeURIComponent(this.feed.name)}`, { cache: "no-store" });
    if (!answer.ok) throw new Error("there is no picture yet");
    this.png = await answer.blob();
    const still = await createImageBitmap(this.png);
    if (!view.paused) return still.close();
    this.still = still;
    this.draw();
  }

  resume() {
    this.still?.close();
    this.still = this.png = null;
    this.draw();
  }
}

// The JPEGs of a multipart stream, each announced by its length.
async function* parts(reader) {
  let data = new Uint8Array(0);
  const more = async () => {
    const { done, value } = await reader.read();
    if (done) return false;
    const joined = new Uint8Array(data.length + value.length);
    joined.set(data);
    joined.set(value, data.length);
    data = joined;
    return true;
  };
  for (;;) {
    let text, end;
    while ((end = (text = new TextDecoder("latin1").decode(data.subarray(0, 512))).indexOf("\r\n\r\n")) < 0) {
      if (!await more()) return;
    }
    const length = Number(/content-length: (\d+)/i.exec(text)[1]);
    while (data.length < end + 4 + length) if (!await more()) return;
    yield data.slice(end + 4, end + 4 + length);
    data = data.slice(end + 4 + length);
  }
}

// The line to the server -------------------------------------------------------------------------

const link = {
  asked: new Map(),
  next: 1,

  open() {
    const address = new URL("ws", location.href);
    address.protocol = address.protocol.replace("http", "ws");
    address.search = "";
    this.socket = new WebSocket(address);
    this.socket.addEventListener("message", event => this.heard(JSON.parse(event.data)));
    this.socket.addEventListener("close", () => {
      $("state").textContent = "the connection is lost; connecting again";
      document.body.dataset.link = "lost";
      for (const { reject } of this.asked.values()) reject(new Error("lost"));
      this.asked.clear();
      setTimeout(() => this.open(), AGAIN_MS);
    });
  },

  ask(message) {
    return new Promise((resolve, reject) => {
      if (this.socket.readyState !== WebSocket.OPEN) return reject(new Error("not connected"));
      const id = this.next++;
      this.asked.set(id, { resolve, reject });
      this.socket.send(JSON.stringify({ ...message, id }));
    });
  },

  heard(message) {
    if (message.type === "feeds") {
      document.body.dataset.link = "open";
      populate(message.feeds);
    } else if (message.type === "figures") {
      figures(message.figures);
    } else if (message.id) {
      const asked = this.asked.get(message.id);
      this.asked.delete(message.id);
      if (message.error) asked?.reject(new Error(message.error));
      else asked?.resolve(message);
    }
  },
};

// Stages -----------------------------------------------------------------------------------------

let stages = [];
let chosen = null;

function populate(feeds) {
  const before = new Map(stages.map(stage => [stage.feed.name, stage]));
  stages = feeds.map(feed => {
    const stage = before.get(feed.name) ?? new Stage(feed);
    before.delete(feed.name);
    stage.feed = feed;
    return stage;
  });
  for (const gone of before.values()) { gone.stop(); gone.box.remove(); }
  for (const stage of stages) {
    if (!stage.box.isConnected) $("stages").append(stage.box);
    if (!stage.how) stage.start();
  }
  if (!stages.includes(chosen)) choose(stages.length === 1 ? stages[0] : null);
  else choose(chosen);
}

function choose(stage) {
  chosen = stage ?? null;
  const grid = !chosen && stages.length > 1;
  $("stages").classList.toggle("grid", grid);
  for (const each of stages) each.box.hidden = Boolean(chosen) && each !== chosen;
  $("overview").hidden = grid || stages.length < 2;
  $("panel").hidden = !chosen;
  const title = chosen && stages.length > 1 ? `${chosen.feed.name} - deblur` : "deblur";
  document.title = document.querySelector("h1").textContent = title;
  $("how").textContent = chosen?.how ?? "";
  if (chosen) form(chosen);
  if (!chosen) reset();
  drawAll();
}

function drawAll() {
  for (const stage of stages) if (!stage.box.hidden) stage.draw();
  $("zoom").textContent = view.zoom === 1 ? "fit" : `${view.zoom.toFixed(1)}x`;
}

function reset() {
  Object.assign(view, { zoom: 1, x: 0.5, y: 0.5 });
  drawAll();
}

const shown = () => stages.filter(stage => !stage.box.hidden);

function zoom(factor) {
  const stage = chosen ?? stages[0];
  stage?.zoomAt(factor, stage.canvas.clientWidth / 2, stage.canvas.clientHeight / 2);
}

function actual() {
  const stage = chosen ?? stages[0], place = stage?.place();
  if (place) zoom(1 / place.scale);
}

let pausing = null;

async function pause(wanted = !view.paused) {
  view.paused = wanted;
  $("pause").setAttribute("aria-pressed", wanted);
  $("pause").textContent = wanted ? "Go on" : "Pause";
  pausing = Promise.all(shown().map(stage => wanted
    ? stage.pause().catch(error => say(error.message)) : stage.resume()));
  await pausing;
}

async function save() {
  if (!view.paused) pause(true);
  await pausing;
  const when = new Date().toISOString().replace(/[-:]/g, "").replace("T", "-").slice(0, 15);
  for (const stage of shown().filter(stage => stage.png)) {
    const anchor = document.createElement("a");
    anchor.href = URL.createObjectURL(stage.png);
    anchor.download = `${stage.feed.name.replace(/[^\w.-]+/g, "_")}-${when}.png`;
    anchor.click();
    setTimeout(() => URL.revokeObjectURL(anchor.href), 10_000);
  }
}

function say(text) {
  $("said").textContent = text ?? "";
}

// Figures ----------------------------------------------------------------------------------------

const COLORS = ["--after", "--before"];  // of the lines of the plot

function figures(all) {
  const now = performance.now();
  for (const stage of stages) {
    const figures = all[stage.feed.name];
    if (!figures) continue;
    stage.figures = figures;
    stage.history.push({ at: now, ...figures.plot.values });
    while (stage.history[0].at < now - WINDOW_MS) stage.history.shift();
    stage.message.hidden = ["live", "restoring"].includes(figures.state);
    stage.message.textContent = figures.state;
    stage.box.querySelector(".name").textContent =
      `${stage.feed.name} · ${figures.state} · ${figures.fps.toFixed(1)} fps`;
  }
  const live = stages.filter(stage => stage.figures?.state === "live").length;
  $("state").textContent = chosen?.figures
    ? chosen.figures.state : `${live} of ${stages.length} cameras live`;
  if (chosen?.figures) tell(chosen.figures);
  const legend = $("legend"), drawn = chosen?.figures?.plot ?? {};
  if (legend.dataset.label !== drawn.label) {
    legend.dataset.label = drawn.label;
    const names = Object.keys(drawn.values ?? {}).map((name, index) => {
      const each = document.createElement("span");
      each.textContent = `${name} `;
      each.style.color = `var(${COLORS[index]})`;
      return each;
    });
    legend.replaceChildren(...names, drawn.label ?? "");
    $("plot").setAttribute("aria-label", drawn.label ?? "");
  }
  plot();
}

function tell(figures) {
  const rows = figures.rows;
  const list = $("figures");
  if (list.childElementCount !== 2 * rows.length) {
    list.replaceChildren(...rows.flatMap(() => [document.createElement("dt"), document.createElement("dd")]));
  }
  rows.forEach(([name, value], index) => {
    const [term, said] = [list.children[2 * index], list.children[2 * index + 1]];
    if (term.textContent !== name) term.textContent = name;
    if (said.textContent !== String(value)) said.textContent = value;
    said.dataset.figure = name;
  });
}

function plot() {
  const canvas = $("plot");
  if (!chosen || !canvas.clientWidth) return;
  const ratio = window.devicePixelRatio || 1;
  const wide = canvas.width = Math.round(canvas.clientWidth * ratio);
  const high = canvas.height = Math.round(canvas.clientHeight * ratio);
  const context = canvas.getContext("2d");
  const colors = getComputedStyle(document.documentElement);
  const now = performance.now();
  const keys = Object.keys(chosen.figures?.plot.values ?? {});
  const values = chosen.history.flatMap(each => keys.map(key => each[key])).filter(each => each != null);
  const top = nice(Math.max(10, ...values));
  context.font = `${11 * ratio}px system-ui, sans-serif`;
  context.fillStyle = colors.getPropertyValue("--soft");
  context.strokeStyle = colors.getPropertyValue("--edge");
  context.lineWidth = ratio;
  for (const share of [0, 0.5, 1]) {
    const y = high - 4 * ratio - share * (high - 18 * ratio);
    context.beginPath(); context.moveTo(0, y); context.lineTo(wide, y); context.stroke();
    if (share) context.fillText(`${top * share}`, 2 * ratio, y - 3 * ratio);
  }
  for (const [index, key] of keys.entries()) {
    context.strokeStyle = colors.getPropertyValue(COLORS[index]);
    context.lineWidth = 2 * ratio;
    context.beginPath();
    let drawing = false;
    for (const each of chosen.history) {
      if (each[key] == null) { drawing = false; continue; }
      const x = wide * (1 - (now - each.at) / WINDOW_MS);
      const y = high - 4 * ratio - each[key] / top * (high - 18 * ratio);
      if (drawing) context.lineTo(x, y); else context.moveTo(x, y);
      drawing = true;
    }
    context.stroke();
  }
}

function nice(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map(step => step * power).find(step => step >= value);
}

// Settings ---------------------------------------------------------------------------------------

function form(stage) {
  const { settings, choices } = stage.feed;
  const box = $("settings");
  box.hidden = !settings;
  if (!settings) return box.replaceChildren();
  const key = JSON.stringify([stage.feed.name, choices]);
  if (box.dataset.key !== key) {
    box.dataset.key = key;
    const option = value => `<option>${value}</option>`;
    box.innerHTML = `
      <label for="model">Model</label><select id="model" class="wide"></select>
      <label for="strength">Strength</label>
      <input id="strength" type="range" min="0" max="1" step="0.05"><output></output>
      <label for="smooth">Smoothing</label>
      <input id="smooth" type="range" min="0" max="1" step="0.05"><output></output>
      <label for="upscale">Enlarge</label><select id="upscale" class="wide"></select>
      <label for="early">Leave early</label><input id="early" type="checkbox">`;
    for (const name of ["model", "upscale"]) {
      const select = $(name);
      for (const value of choices[name]) {
        const each = document.createElement("option");
        each.value = value; each.textContent = value || "no";
        select.append(each);
      }
    }
    for (const input of box.querySelectorAll("input, select")) {
      input.addEventListener("input", () => { label(); send(); });
    }
  }
  if (box.contains(document.activeElement) && sending) return;
  $("model").value = settings.model;
  $("strength").value = settings.strength;
  $("smooth").value = settings.smooth;
  $("upscale").value = settings.upscale ?? "";
  $("early").checked = settings.early;
  label();
}

function label() {
  for (const name of ["strength", "smooth"]) {
    $(name).nextElementSibling.textContent = Number($(name).value).toFixed(2);
  }
}

let sending = false, again = false;

// One request at a time; what changed meanwhile goes with the next.
async function send() {
  if (sending) { again = true; return; }
  sending = true;
  try {
    do {
      again = false;
      const answer = await fetch("settings", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({
          feed: chosen.feed.name, model: $("model").value, strength: Number($("strength").value),
          smooth: Number($("smooth").value), upscale: $("upscale").value || null,
          early: $("early").checked,
        }),
      });
      say(answer.ok ? "" : await answer.text());
    } while (again);
  } catch (error) {
    say(error.message);
  } finally {
    sending = false;
  }
}

// Keys and buttons -------------------------------------------------------------------------------

const keys = {
  ArrowLeft: () => divide(-0.02), ArrowRight: () => divide(0.02),
  Home: () => divide(-1), End: () => divide(1),
  "+": () => zoom(1.25), "=": () => zoom(1.25), "-": () => zoom(0.8),
  0: reset, 1: actual, " ": () => pause(), s: save, Escape: () => stages.length > 1 && choose(null),
  b: () => only("before"), a: () => only("after"),
};

function divide(step) {
  view.at = clamp(view.at + step, 0, 1);
  drawAll();
}

function only(side) {
  view.only = side;
  drawAll();
}

document.addEventListener("keydown", event => {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.target.matches("input, select") || event.target.matches("button, summary") && event.key === " ") return;
  if (event.shiftKey && event.key.startsWith("Arrow")) {
    const far = 40, [dx, dy] = { ArrowLeft: [-far, 0], ArrowRight: [far, 0], ArrowUp: [0, -far], ArrowDown: [0, far] }[event.key];
    (chosen ?? stages[0])?.pan(dx, dy);
  } else {
    const act = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!act || event.repeat && "ab ".includes(event.key)) return;
    act();
  }
  event.preventDefault();
});
document.addEventListener("keyup", event => { if ("ab".includes(event.key.toLowerCase())) only(null); });
window.addEventListener("blur", () => only(null));

$("pause").addEventListener("click", () => pause());
$("save").addEventListener("click", save);
$("in").addEventListener("click", () => zoom(1.25));
$("out").addEventListener("click", () => zoom(0.8));
$("fit").addEventListener("click", reset);
$("actual").addEventListener("click", actual);
$("overview").addEventListener("click", () => choose(null));
$("transport").addEventListener("change", () => {
  for (const stage of stages) { stage.noRtc = false; stage.start(); }
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", plot);

link.open();
