// The page of a comparison. It stands in one script with viewer.js, since it must be one file.

const $ = id => document.getElementById(id);
const { names, size, frames } = JSON.parse($("data").textContent);
const AROUND = 2;              // frames that are decoded ahead
const SLOWEST_MS = 500;        // that a frame is shown for while it plays

class Stage extends Viewer {
  picture() {
    const [left, right] = this.images ?? [];
    const half = image => ({ image, x: 0, y: 0, width: image.naturalWidth, height: image.naturalHeight });
    return left && right && { width: size[0], height: size[1], halves: [half(left), half(right)] };
  }
}

const stage = new Stage("The left and the right video at one moment");
$("stage").append(stage.box);
const tags = ["left", "right"].map(side => stage.box.querySelector(`.tag.${side}`));
const sides = { left: 0, right: 1 };
let index = 0;
let playing = null;

// Decoding ---------------------------------------------------------------------------------------

const decoded = new Map();     // what is near the frame that is shown

function image(frame, video) {
  const key = frame * names.length + video;
  if (!decoded.has(key)) {
    const made = new Image();
    made.src = `data:image/jpeg;base64,${frames[frame].pictures[video]}`;
    decoded.set(key, made.decode().then(() => made));
  }
  return decoded.get(key);
}

function ahead() {
  const near = new Set();
  for (let frame = index - AROUND; frame <= index + AROUND; frame++) {
    for (const video of Object.values(sides)) {
      if (!frames[frame]) continue;
      image(frame, video).catch(() => {});
      near.add(frame * names.length + video);
    }
  }
  for (const key of decoded.keys()) if (!near.has(key)) decoded.delete(key);
}

async function show(frame) {
  index = clamp(frame, 0, frames.length - 1);
  const [now, left, right] = [index, sides.left, sides.right];
  const images = await Promise.all([image(now, left), image(now, right)]);
  if (now !== index || left !== sides.left || right !== sides.right) return;
  stage.images = images;
  [left, right].forEach((video, side) => { tags[side].textContent = names[video]; });
  $("time").textContent = frames[index].time;
  for (const button of $("moments").children) {
    button.setAttribute("aria-pressed", Number(button.dataset.moment) === frames[index].moment);
  }
  mark(frames[index].second);
  drawAll();
  stage.box.dataset.index = index;
  ahead();
}

// Where the frame is in the charts.
function mark(second) {
  for (const chart of document.querySelectorAll("svg")) {
    const { first, last, left, right } = chart.dataset;
    const along = Number(last) > Number(first) ? (second - first) / (last - first) : 0.5;
    const x = Number(left) + along * (right - left);
    chart.querySelector(".now").setAttribute("transform", `translate(${x.toFixed(1)} 0)`);
  }
}

// Going from frame to frame ----------------------------------------------------------------------

function step(by) {
  stop();
  show(index + by);
}

function jump(by) {
  const moment = clamp(frames[index].moment + by, 0, frames.at(-1).moment);
  stop();
  show(frames.findIndex(each => each.moment === moment));
}

async function play() {
  if (playing) return stop();
  const mine = playing = {};
  $("play").setAttribute("aria-pressed", true);
  while (playing === mine) {
    const from = frames[index];
    const after = frames[index + 1]?.moment === from.moment
      ? index + 1 : frames.findIndex(each => each.moment === from.moment);
    const lasts = after > index ? 1000 * (frames[after].second - from.second) : SLOWEST_MS;
    await new Promise(resolve => setTimeout(resolve, clamp(lasts, 0, SLOWEST_MS)));
    if (playing === mine) await show(after);
  }
}

function stop() {
  playing = null;
  $("play").setAttribute("aria-pressed", false);
}

// Controls ---------------------------------------------------------------------------------------

for (const side of Object.keys(sides)) {
  names.forEach((name, video) => $(side).append(new Option(name, video)));
  $(side).value = sides[side];
  $(side).addEventListener("change", () => { sides[side] = Number($(side).value); show(index); });
}
$("choice").hidden = names.length < 3;
frames.forEach((frame, at) => {
  if (at && frames[at - 1].moment === frame.moment) return;
  const button = Object.assign(document.createElement("button"),
    { type: "button", textContent: frame.time });
  button.dataset.moment = frame.moment;
  button.addEventListener("click", () => { stop(); show(at); });
  $("moments").append(button);
});
$("back").addEventListener("click", () => step(-1));
$("next").addEventListener("click", () => step(1));
$("play").addEventListener("click", play);
control(() => stage, {
  ",": () => step(-1), ".": () => step(1), "[": () => jump(-1), "]": () => jump(1), " ": play,
});
show(0);
