// The queue: files are dropped, jobs are followed, and what is done is looked at and fetched.

const $ = id => document.getElementById(id);
const WAITS = { queued: "waits", running: "at work", done: "done", failed: "failed", cancelled: "cancelled" };

const jobs = new Map();          // by their numbers
const cards = new Map();
let counts = {};

async function ask(path, method = "GET", body = undefined) {
  const headers = body === undefined ? {} : { "Content-Type": "application/json" };
  const answer = await fetch(path, { method, headers, body: body && JSON.stringify(body), cache: "no-store" });
  if (answer.status === 204) return null;
  const told = await answer.json().catch(() => ({ error: answer.statusText }));
  if (!answer.ok) throw new Error(told.error);
  return told;
}

const say = text => { $("said").textContent = text ?? ""; };

// An error is said, and is no end of the page.
const attempt = act => async (...given) => {
  say("");
  try { await act(...given); } catch (error) { say(error.message); }
};

// What comes from the server ----------------------------------------------------------------------

async function load(before) {
  const told = await ask(before ? `jobs?before=${before}` : "jobs");
  if (!before) {
    jobs.clear();
    for (const card of cards.values()) card.remove();
    cards.clear();
  }
  for (const job of told.jobs) jobs.set(job.number, job);
  counts = told.counts;
  const known = Math.min(...told.jobs.map(job => job.number));
  $("more").hidden = told.jobs.length < 100;
  $("more").onclick = attempt(() => load(known));
  for (const job of told.jobs) draw(job);
  tell();
}

function listen() {
  const events = new EventSource("events");
  events.addEventListener("open", attempt(() => load()));
  events.addEventListener("job", event => {
    const job = JSON.parse(event.data), before = jobs.get(job.number);
    if (before) counts[before.state]--;
    counts[job.state] = (counts[job.state] ?? 0) + 1;
    jobs.set(job.number, job);
    draw(job);
    tell();
  });
  events.addEventListener("deleted", event => {
    const { number } = JSON.parse(event.data), job = jobs.get(number);
    if (job) counts[job.state]--;
    jobs.delete(number);
    cards.get(number)?.remove();
    cards.delete(number);
    tell();
  });
  events.addEventListener("error", () => {
    $("state").textContent = "the connection is lost; connecting again";
    document.body.dataset.link = "lost";
    // A refusal is final for an EventSource, which a service that begins anew may give.
    if (events.readyState === EventSource.CLOSED) {
      ask("healthz").then(() => ask("jobs?limit=1")).catch(error => {
        if (error instanceof TypeError) return;  // nobody is there
        $("state").textContent = error.message;
      });
      setTimeout(listen, 2000);
    }
  });
}

function tell() {
  document.body.dataset.link = "open";
  const said = Object.entries(counts).filter(([, count]) => count > 0)
    .map(([state, count]) => `${count} ${WAITS[state]}`);
  $("state").textContent = said.join(", ") || "idle";
  $("empty").hidden = Boolean(jobs.size) || Boolean(document.querySelector("[data-state=uploading]"));
}

// Jobs --------------------------------------------------------------------------------------------

const made = (tag, values = {}, ...within) => {
  const element = Object.assign(document.createElement(tag), values);
  element.append(...within);
  return element;
};

function draw(job) {
  let card = cards.get(job.number);
  if (!card) {
    card = made("li", { className: "job" });
    card.dataset.number = job.number;
    cards.set(job.number, card);
    // The newest first.
    const after = [...$("jobs").children].find(each => Number(each.dataset.number ?? Infinity) < job.number);
    $("jobs").insertBefore(card, after ?? null);
  }
  const looks = JSON.stringify([job.state, job.said, job.notes]);
  if (card.dataset.looks !== looks) {
    card.dataset.looks = looks;
    card.dataset.state = job.state;
    const held = card.contains(document.activeElement) ? document.activeElement.textContent : null;
    card.replaceChildren(
      made("h2", {}, `${job.path ?? job.name} `, made("small", { textContent: `${job.number} · ${size(job.size)} · ${WAITS[job.state]}` })),
      ...(job.state === "running" ? [made("progress", { max: 1 })] : []),
      made("p", { className: "line" }),
      ...(job.state === "done" && job.conforms === false ? [list(job.notes)] : []),
      made("div", { className: "acts" }, ...acts(job)));
    if (held) [...card.querySelectorAll("button, a")].find(each => each.textContent === held)?.focus();
  }
  card.querySelector(".line").textContent = line(job);
  const bar = card.querySelector("progress");
  if (bar) {
    const { frames, expected_frames: all } = job.progress ?? {};
    bar.setAttribute("aria-label", `Progress of ${job.name}`);
    if (all) bar.value = Math.min(1, frames / all);
    else bar.removeAttribute("value");
  }
}

const list = notes => made("ul", {}, ...notes.map(note => made("li", { textContent: note })));

function line(job) {
  const now = job.progress;
  if (job.state === "running") {
    if (!now) return "starting";
    const parts = [now.phase, `${now.frames}${now.expected_frames ? ` of ${now.expected_frames}` : ""} frames`];
    if (now.fps) parts.push(`${now.fps >= 10 ? Math.round(now.fps) : now.fps.toPrecision(2)} fps`);
    if (now.left_s != null && now.phase === "restoring") parts.push(`${clock(now.left_s)} left`);
    return parts.join(", ");
  }
  if (job.state === "done") return `${job.output}: ${job.said}`;
  return job.said;
}

const clock = seconds => {
  const whole = Math.round(seconds), two = value => String(value).padStart(2, "0");
  const hours = Math.floor(whole / 3600), minutes = Math.floor(whole / 60) % 60;
  return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
};

const size = bytes => bytes >= 1e9 ? `${(bytes / 1e9).toFixed(1)} GB`
  : bytes >= 1e6 ? `${(bytes / 1e6).toFixed(1)} MB` : `${Math.ceil(bytes / 1e3)} kB`;

function acts(job) {
  const button = (text, act) => {
    const each = made("button", { type: "button", textContent: text });
    each.setAttribute("aria-label", `${text}: ${job.name}`);
    each.addEventListener("click", attempt(act));
    return each;
  };
  const at = `jobs/${job.number}`;
  const found = [];
  if (job.state === "done") {
    const link = made("a", { href: `${at}/output`, download: "", textContent: "Download" });
    link.setAttribute("aria-label", `Download ${job.output}`);
    found.push(link, button("Before and after", () => pair(job)));
  }
  if (["queued", "running"].includes(job.state)) found.push(button("Cancel", () => ask(`${at}/cancel`, "POST")));
  if (["cancelled", "failed"].includes(job.state)) found.push(button("Resume", () => ask(`${at}/resume`, "POST")));
  if (job.state !== "running") found.push(button("Remove", () => remove(job)));
  return found;
}

async function remove(job) {
  const kept = job.state === "done" ? ` ${job.output} stays in the folder of outputs.` : "";
  if (job.state === "queued" || confirm(`Remove ${job.name} from the queue?${kept}`)) {
    await ask(`jobs/${job.number}`, "DELETE");
  }
}

// Before and after --------------------------------------------------------------------------------

async function pair(job) {
  const frame = $("frame");
  $("title").textContent = job.name;
  $("making").textContent = "looking for frames to compare";
  frame.hidden = true;
  $("pair").showModal();
  try {
    // Whether there is one is said here; the frame then gets what is made.
    const answer = await fetch(`jobs/${job.number}/compare`);
    if (!answer.ok) throw new Error((await answer.json()).error);
    frame.src = `jobs/${job.number}/compare`;
    frame.hidden = false;
    $("making").textContent = "";
  } catch (error) {
    $("making").textContent = error.message;
  }
}

$("close").addEventListener("click", () => $("pair").close());
$("pair").addEventListener("close", () => $("frame").removeAttribute("src"));

// New jobs ----------------------------------------------------------------------------------------

function options() {
  const found = {};
  for (const each of $("options").querySelectorAll("[name]")) {
    if (each.type === "checkbox") {
      if (each.checked) found[each.name] = true;
    } else if (each.value) {
      found[each.name] = each.name === "strength" && each.value !== "auto" ? Number(each.value) : each.value;
    }
  }
  return found;
}

$("path").addEventListener("submit", event => {
  event.preventDefault();
  attempt(async () => {
    await ask("jobs", "POST", { path: $("name").value, options: options() });
    $("name").value = "";
  })();
});

let sending = Promise.resolve();

function take(files) {
  say("");
  const asked = options();
  for (const file of files) {
    const bar = made("progress", { max: 1, value: 0 });
    bar.setAttribute("aria-label", `Upload of ${file.name}`);
    const text = made("p", { className: "line", textContent: "waits for its turn" });
    const stop = made("button", { type: "button", textContent: "Cancel" });
    const card = made("li", { className: "job" },
      made("h2", {}, `${file.name} `, made("small", { textContent: `${size(file.size)} · upload` })),
      bar, text, made("div", { className: "acts" }, stop));
    card.dataset.state = "uploading";
    $("jobs").prepend(card);
    const request = new XMLHttpRequest();
    let stopped = false;
    stop.addEventListener("click", () => { stopped = true; request.abort(); card.remove(); tell(); });
    // One after the other: the first one is at work while the next one comes.
    sending = sending.then(() => stopped || send(request, file, asked, bar, text))
      .then(() => card.remove(), error => {
        card.dataset.state = "failed";
        bar.remove();
        text.textContent = error.message;
        stop.textContent = "Remove";
      }).then(tell);
  }
  tell();
}

function send(request, file, asked, bar, text) {
  return new Promise((resolve, reject) => {
    const query = new URLSearchParams({ name: file.name, options: JSON.stringify(asked) });
    request.open("POST", `uploads?${query}`);
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.upload.addEventListener("progress", event => {
      bar.value = event.loaded / event.total;
      text.textContent = `${size(event.loaded)} of ${size(event.total)}`;
    });
    request.addEventListener("load", () => {
      if (request.status === 201) return resolve();
      let said = request.statusText;
      try { said = JSON.parse(request.responseText).error; } catch { /* not ours */ }
      reject(new Error(said));
    });
    request.addEventListener("error", () => reject(new Error("the upload broke off; is it too large?")));
    request.addEventListener("abort", () => resolve());
    request.send(file);
  });
}

$("file").addEventListener("change", event => {
  take(event.target.files);
  event.target.value = "";
});

for (const name of ["dragenter", "dragover"]) {
  document.addEventListener(name, event => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    $("drop").classList.add("over");
  });
}
document.addEventListener("dragleave", event => {
  if (!event.relatedTarget) $("drop").classList.remove("over");
});
document.addEventListener("drop", event => {
  event.preventDefault();
  $("drop").classList.remove("over");
  if (event.dataTransfer?.files.length) take(event.dataTransfer.files);
});

listen();
