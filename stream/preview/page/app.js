// The preview: before and after in one picture, what the feed does, and how it restores.
// The server sends both halves side by side in one video, so that they are always of one moment.

import { control, drawAll, reset, Viewer } from "./viewer.js";

const $ = id => document.getElementById(id);
const WINDOW_MS = 60_000;      // of the plot
const MUTE_MS = 4_000;         // WebRTC that shows nothing for so long gives way to MJPEG
const AGAIN_MS = 1_000;

let paused = false;

class Stage extends Viewer {
  constructor(feed) {
    super(`${feed.name}, before and after`);
    this.feed = feed;
    this.history = [];
    this.touched = {};           // settings that were asked for and are not in use yet
    this.source = null;          // what is drawn: a video or an ImageBitmap, both halves
    this.still = null;           // the same while paused
    this.message = Object.assign(document.createElement("p"), { className: "message", hidden: true });
    this.name = Object.assign(document.createElement("button"),
      { type: "button", className: "name", textContent: feed.name });
    this.name.addEventListener("click", () => choose(this));
    this.box.append(this.message, this.name);
  }

  picture() {
    const image = this.still ?? this.source;
    if (!image) return null;
    const width = (image.videoWidth ?? image.width) / 2;
    const height = image.videoHeight ?? image.height;
    return { width, height, halves: [0, width].map(x => ({ image, x, y: 0, width, height })) };
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
    if (this === chosen) $("how").textContent = "";
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
      if (this.peer !== peer) {
        link.ask({ type: "leave", peer: offer.peer }).catch(() => {});
        return;
      }
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
    if (!paused) return still.close();
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
      // A server that was started anew counts changes from 1 again.
      for (const stage of stages) stage.touched = {};
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
    // One that was begun anew is another, of the same name.
    if (stage.feed.number !== feed.number) stage.stop();
    stage.feed = feed;
    return stage;
  });
  for (const gone of before.values()) { gone.stop(); gone.remove(); }
  for (const stage of stages) {
    if (!stage.box.isConnected) $("stages").append(stage.box);
    if (!stage.peer && !stage.ended) stage.start();
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

const shown = () => stages.filter(stage => !stage.box.hidden);

let pausing = null;

async function pause(wanted = !paused) {
  paused = wanted;
  $("pause").setAttribute("aria-pressed", wanted);
  $("pause").textContent = wanted ? "Go on" : "Pause";
  pausing = Promise.all(shown().map(stage => wanted
    ? stage.pause().catch(error => say(error.message)) : stage.resume()));
  await pausing;
}

async function save() {
  if (!paused) pause(true);
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
    stage.name.textContent =
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
  if (!settings) {
    delete box.dataset.key;
    return box.replaceChildren();
  }
  const key = JSON.stringify([stage.feed.name, choices]);
  if (box.dataset.key !== key) {
    box.dataset.key = key;
    const option = value => `<option>${value}</option>`;
    box.innerHTML = `
      <label for="model">Model</label><select id="model" class="wide"></select>
      <label for="strength">Strength</label>
      <input id="strength" type="range" min="0" max="1" step="0.05"><output></output>
      <label for="fuse">Fusion</label>
      <input id="fuse" type="range" min="0" max="5" step="1"><output></output>
      <label for="smooth">Smoothing</label>
      <input id="smooth" type="range" min="0" max="1" step="0.05"><output></output>
      <label for="upscale">Enlarge</label><select id="upscale" class="wide"></select>
      <label for="early" title="Stop the network after its first stage: faster, a little less sharp">
        Quick pass</label><input id="early" type="checkbox">`;
    for (const name of ["model", "upscale"]) {
      const select = $(name);
      for (const value of choices[name]) {
        const each = document.createElement("option");
        each.value = value; each.textContent = value || "no";
        select.append(each);
      }
    }
    for (const input of box.querySelectorAll("input, select")) {
      input.addEventListener("input", () => {
        chosen.touched[input.id] = { value: CONTROLS[input.id].take(input), number: Infinity };
        label();
        send(chosen, input.id);
      });
    }
  }
  for (const [name, control] of Object.entries(CONTROLS)) {
    const touched = stage.touched[name];
    // What was touched stays as it is until the feed has answered; not until its settings are the
    // same, as they may be so from before a change that is still on its way.
    const kept = touched && stage.feed.answered < touched.number;
    if (!kept) delete stage.touched[name];
    control.put($(name), kept ? touched.value : settings[name]);
  }
  label();
}

// How each setting is shown and read.
const value = { put: (input, now) => { input.value = now ?? ""; }, take: input => input.value };
const number = { ...value, take: input => Number(input.value) };
const CONTROLS = {
  model: value, strength: number, fuse: number, smooth: number,
  upscale: { ...value, take: input => input.value || null },
  early: { put: (input, now) => { input.checked = now; }, take: input => input.checked },
};

function label() {
  for (const name of ["strength", "smooth"]) {
    $(name).nextElementSibling.textContent = Number($(name).value).toFixed(2);
  }
  $("fuse").nextElementSibling.textContent = $("fuse").value;
}

let sending = false;
const unsent = new Map();      // of each stage, the names of what was touched since

// One request at a time, with what was touched alone; what is touched meanwhile goes with the next.
async function send(stage, touched) {
  unsent.set(stage, (unsent.get(stage) ?? new Set()).add(touched));
  if (sending) return;
  sending = true;
  try {
    while (unsent.size) {
      const [[of, names]] = unsent;
      unsent.delete(of);
      const sent = [...names].filter(name => of.touched[name]).map(name => [name, of.touched[name]]);
      const changed = Object.fromEntries(sent.map(([name, { value }]) => [name, value]));
      const answer = await fetch("settings", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ feed: of.feed.name, ...changed }),
      });
      const text = await answer.text();
      say(answer.ok ? "" : text);
      const number = answer.ok ? Number(text) : 0;
      for (const [, touched] of sent) touched.number = number;
      if (of === chosen) form(of);
    }
  } catch (error) {
    say(error.message);
    unsent.clear();
    for (const stage of stages) stage.touched = {};
    if (chosen) form(chosen);
  } finally {
    sending = false;
  }
}

// Keys and buttons -------------------------------------------------------------------------------

control(() => chosen ?? stages[0], {
  " ": () => pause(), s: save, Escape: () => stages.length > 1 && choose(null),
});
$("pause").addEventListener("click", () => pause());
$("save").addEventListener("click", save);
$("overview").addEventListener("click", () => choose(null));
$("transport").addEventListener("change", () => {
  for (const stage of stages) { stage.noRtc = false; stage.start(); }
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", plot);

link.open();
