"use strict";
// The page of a review. All that is shown of data is set as text, never as markup.
(() => {
const $ = id => document.getElementById(id);
const PAGE = 20, AHEAD = 2, FILMS = 4, POLL_MS = 3000, TINTS = { effect_mask: [255, 0, 200], subject_mask: [0, 190, 255] };
const VIEWS = { gt: "gt", over: "over", difference: "difference ×4", background: "background", effect_mask: "effect mask", subject_mask: "subject mask" };
const STORED = ["gt", "over", "background", "effect_mask", "subject_mask"];
const WORDS = { accept: "accepted", review: "for review", reject: "rejected" };
let clips = [], byId = new Map(), numbers = [], shown = [], current = null, pinned = null, count = 0, generation = 0, page = 0;

// ------------------------------------------------------------------ the server
async function ask(path, options) {
  const answer = await fetch(path, options);
  if (answer.ok) return answer;
  let sentence = answer.statusText;
  try { sentence = (await answer.json()).error; } catch { /* no sentence came */ }
  throw Object.assign(new Error(sentence), { status: answer.status });
}
const askJson = async (path, options) => (await ask(path, options)).json();
const path = (...parts) => parts.map(encodeURIComponent).join("/");
function complain(sentence) { $("problem").textContent = sentence; $("problem").hidden = !sentence; }
const pause = ms => new Promise(done => setTimeout(done, ms));

// Decisions go one by one, each with an id of its own: what a dying server kept without saying so counts once.
const unsent = [];
let sending = false;
function send(decision, done = () => {}) {
  const id = [...crypto.getRandomValues(new Uint8Array(16))].map(byte => byte.toString(16).padStart(2, "0")).join("");
  unsent.push({ decision: { ...decision, id, by: who() }, done });
  tellSaved();
  if (!sending) deliver();
}
async function deliver() {
  sending = true;
  while (unsent.length) {
    const { decision, done } = unsent[0];
    try {
      const kept = await askJson("decide", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(decision) });
      unsent.shift();
      complain("");
      take(kept.clip, kept.state);
      confirmed.push(decision.id);
      done(kept);
      if (current?.id === kept.clip) { details.history = kept.history; details.state = kept.state; showFacts(); }
    } catch (problem) {
      if (problem.status && problem.status < 500) {
        unsent.shift();
        await refresh(true);
        complain(`Not saved: ${problem.message}`);
      } else {
        complain(`Not saved yet, it is tried again: ${problem.status ? problem.message : "the server does not answer; start the same review again"}`);
        await pause(400);
      }
    }
    tellSaved();
  }
  sending = false;
}
const confirmed = [];
function tellSaved() { $("saved").textContent = unsent.length ? `${unsent.length} not saved yet` : confirmed.length ? "All saved" : ""; }
addEventListener("beforeunload", event => { if (unsent.length) event.preventDefault(); });

function take(id, state) {
  const clip = byId.get(id);
  if (!clip) return;
  clip.state = state;
  showItem(clip);
  for (const pane of panes) if (pane.clip === clip) pane.showVerdict();
  tellProgress();
}
async function load() {
  const index = await askJson("index");
  clips = index.clips.map(([id, fingerprint, source, kind, split, effects, caption, shape, fps, values, state]) =>
    ({ id, fingerprint, source, kind, split, effects, caption, shape, fps, values, state, words: `${id} ${caption}`.toLowerCase() }));
  byId = new Map(clips.map(clip => [clip.id, clip]));
  ({ numbers, count, generation } = index);
  document.title = `${index.name}: review`;
  $("who").value ||= index.reviewer;
  $("title").textContent = index.name;
  fill(form.elements.source, [...new Set(clips.map(clip => clip.source))].sort());
  fill(form.elements.number, numbers.filter((_, at) => clips.some(clip => clip.values[at] !== null)).map(({ name, title, unit }) => [name, `${title}, ${unit}`]));
  if (index.damaged) complain(`${index.damaged} lines of the decisions were cut off or damaged, and were passed over.`);
  arrange(current?.id ?? decodeURIComponent(location.hash.slice(1)));
}
function fill(select, values) {
  const before = select.value;
  for (const old of [...select.options].slice(1)) old.remove();
  for (const value of values) { const [name, text] = Array.isArray(value) ? value : [value, value]; select.add(new Option(text, name)); }
  select.value = before;
  if (select.selectedIndex < 0) select.value = "";
}
async function refresh(again = false) {
  try {
    const news = await askJson(`changes/${count}`);
    if (news.generation !== generation || again) {
      if (news.generation !== generation && generation) complain("The clips were run or published anew; this is what there is now.");
      forgetFilms();
      return await load();
    }
    count = news.count;
    for (const [id, state] of Object.entries(news.clips)) take(id, state);
    if (current && news.clips[current.id]) showDetails(current);
  } catch (problem) { complain(problem.status ? problem.message : "The server does not answer; start the same review again."); return; }
  if (!unsent.length && $("problem").textContent.includes("does not answer")) complain("");
}
setInterval(() => { if (!document.hidden && !sending) refresh(); }, POLL_MS);

// ------------------------------------------------------------------ the list
const form = $("filters");
const who = () => $("who").value.trim() || "me";
function arrange(keep = current?.id) {
  const { verdict, decided, source, number, low, high, order, find } = Object.fromEntries(new FormData(form));
  const at = numbers.findIndex(each => each.name === number), scale = numbers[at]?.unit === "%" ? 100 : 1;
  const value = clip => clip.values[at] === null || at < 0 ? null : clip.values[at] * scale;
  const words = find.toLowerCase().split(/\s+/).filter(Boolean), by = clip => clip.state.by?.verdict ?? {};
  const decisions = { mine: clip => who() in by(clip), open: clip => !(who() in by(clip)), disputed: clip => clip.state.disputed,
    none: clip => !Object.keys(by(clip)).length, painted: clip => clip.state.painted };
  const isDecided = decisions[decided] ?? (decided.startsWith("by:") ? clip => decided.slice(3) in by(clip) : () => true);
  shown = clips.filter(clip => (!verdict || clip.state.verdict === verdict) && (!source || clip.source === source) && isDecided(clip)
    && (at < 0 || ((low === "" || (value(clip) !== null && value(clip) >= Number(low))) && (high === "" || (value(clip) !== null && value(clip) <= Number(high)))))
    && words.every(word => clip.words.includes(word)));
  if (order && at >= 0) {
    const sign = order === "up" ? 1 : -1;
    shown.sort((a, b) => (value(a) === null) - (value(b) === null) || sign * (value(a) - value(b)));
  }
  $("count").textContent = `${shown.length.toLocaleString("en")} of ${clips.length.toLocaleString("en")} clips`;
  const next = shown.find(clip => clip.id === keep) ?? shown[0];
  page = next ? Math.floor(shown.indexOf(next) / PAGE) : 0;
  showPage();
  show(next ?? null);
  tellProgress();
}
function tellProgress() {
  const reviewers = new Set();
  let mine = 0, disputed = 0;
  for (const { state } of clips) {
    if (!state.by) continue;
    for (const name of Object.keys(state.by.verdict)) reviewers.add(name);
    mine += who() in state.by.verdict;
    disputed += state.disputed;
  }
  $("progress").textContent = `${mine.toLocaleString("en")} of ${clips.length.toLocaleString("en")} judged by you${disputed ? `, ${disputed} disputed` : ""}`;
  const select = form.elements.decided, listed = [...select.options].map(option => option.value);
  for (const name of [...reviewers].sort()) if (!listed.includes(`by:${name}`)) select.add(new Option(`by ${name}`, `by:${name}`));
}
function showPage() {
  const pages = Math.max(1, Math.ceil(shown.length / PAGE));
  page = Math.max(0, Math.min(page, pages - 1));
  $("page").textContent = `page ${page + 1} of ${pages}`;
  $("page-back").disabled = page === 0;
  $("page-on").disabled = page === pages - 1;
  $("clips").replaceChildren(...shown.slice(page * PAGE, (page + 1) * PAGE).map(clip => {
    const item = document.createElement("li"), button = document.createElement("button"), image = document.createElement("img");
    button.type = "button";
    image.loading = "lazy";
    image.alt = "";
    image.src = `${path("still", clip.id)}?g=${generation}`;
    button.append(image, span("id", clip.id), span("state", ""));
    button.addEventListener("click", () => show(clip));
    item.dataset.id = clip.id;
    item.append(button);
    return item;
  }));
  for (const clip of shown.slice(page * PAGE, (page + 1) * PAGE)) showItem(clip);
}
function showItem(clip) {
  const item = [...$("clips").children].find(each => each.dataset.id === clip.id);
  if (!item) return;
  item.ariaCurrent = clip === current ? "true" : null;
  const state = item.querySelector(".state");
  state.textContent = verdictText(clip);
  state.className = `state ${clip.state.verdict}`;
}
function verdictText({ id, state }) {
  const mine = state.by?.verdict?.[who()], waits = unsent.some(({ decision }) => decision.clip === id && decision.what === "verdict");
  return `${WORDS[state.verdict]}${state.disputed ? ", disputed" : ""}${mine ? ` · you: ${mine}` : ""}${mine && waits ? ", not saved yet" : ""}`;
}
function span(kind, text) { const element = document.createElement("span"); element.className = kind; element.textContent = text; return element; }
function go(by) {
  const at = shown.indexOf(current) + by;
  if (shown[at]) show(shown[at]);
}

// ------------------------------------------------------------------ a clip
const films = new Map();
let details = {};
function film(clip) {
  if (!films.has(clip.id)) {
    const promise = (async () => {
      for (;;) {
        try {
          const info = await askJson(path("frames", clip.id));
          return { ...info, url: URL.createObjectURL(await (await ask(path("film", clip.id))).blob()) };
        } catch (problem) { if (problem.status !== 503 || !films.has(clip.id)) { films.delete(clip.id); throw problem; } await pause(300); }
      }
    })();
    films.set(clip.id, promise);
    promise.catch(() => {});
    for (const [id, old] of films) {
      if (films.size <= FILMS || panes.some(pane => pane.clip?.id === id)) continue;
      films.delete(id);
      old.then(({ url }) => URL.revokeObjectURL(url), () => {});
    }
  }
  return films.get(clip.id);
}
function forgetFilms(id = null) {
  for (const [name, old] of films) if (id === null || id === name) { films.delete(name); old.then(({ url }) => URL.revokeObjectURL(url), () => {}); }
}
function show(clip) {
  if (painting && clip !== current && !endPainting()) return;
  const before = current;
  current = clip;
  $("desk").hidden = !clip;
  if (before) showItem(before);
  if (!clip) return;
  history.replaceState(null, "", `#${encodeURIComponent(clip.id)}`);
  const at = Math.floor(shown.indexOf(clip) / PAGE);
  if (at !== page && at >= 0) { page = at; showPage(); }
  showItem(clip);
  panes[0].show(clip);
  details = { reasons: [], numbers: {}, history: [], state: clip.state, caption: clip.caption, effects: clip.effects };
  showFacts();
  showDetails(clip);
}
async function showDetails(clip) {
  try {
    const news = await askJson(path("clip", clip.id));
    if (clip !== current) return;
    details = news;
    take(clip.id, news.state);
    showFacts();
  } catch (problem) { if (problem.status) complain(problem.message); }
}
function items(list, texts, empty) {
  list.replaceChildren(...(texts.length ? texts : [empty]).map(text => { const item = document.createElement("li"); item.textContent = text; return item; }));
}
function showFacts() {
  const by = details.state.by ?? {}, lines = [];
  for (const what of ["verdict", "caption", "effects", "note"])
    for (const [name, value] of Object.entries(by[what] ?? {})) lines.push(`${name}: ${what === "verdict" ? WORDS[value] : `${what} ${Array.isArray(value) ? value.join(", ") || "none" : value}`}`);
  if (details.state.disputed) lines.unshift("Reviewers disagree: the clip goes to review.");
  if (details.state.painted) lines.push(`Mask painted by ${details.state.painted.join(", ")}: run the source again, and its later stages are made anew.`);
  if (details.state.old) lines.push("Earlier decisions were about other layers; the clip was made anew since.");
  items($("judgement"), lines, "Nobody has decided about these layers.");
  items($("reasons"), details.reasons, "No reason was given.");
  $("numbers").replaceChildren(...Object.entries(details.numbers).map(([name, text]) => {
    const row = document.createElement("div"), title = document.createElement("dt"), value = document.createElement("dd");
    title.textContent = name;
    title.title = details.meanings[name] ?? "";
    value.textContent = text;
    row.append(title, value);
    return row;
  }));
  items($("history"), details.history.map(({ by: name, at, what, value, undoes, covers }) =>
    `${name}, ${at.slice(0, 16).replace("T", " ")}: ${undoes ? "undid " : ""}${what} ${value === null ? "taken back" : Array.isArray(value) ? value.join(", ") : value}${covers ? "" : " (of other layers)"}`), "None.");
  $("origin").textContent = details.origin ? `${details.origin}. Licence: ${details.licence}` : "";
}

class Pane {
  constructor() {
    this.element = $("pane").content.firstElementChild.cloneNode(true);
    const find = name => this.element.querySelector(name);
    [this.canvas, this.slider, this.output, this.button, this.wait, this.tracks] = ["canvas", ".frame", "output", ".play", ".wait", ".tracks"].map(find);
    this.video = Object.assign(document.createElement("video"), { muted: true, loop: true, playsInline: true, preload: "auto" });
    this.mask = document.createElement("canvas");
    this.button.addEventListener("click", () => this.toggle());
    this.slider.addEventListener("input", () => this.seek(Number(this.slider.value)));
    for (const step of this.element.querySelectorAll(".step")) step.addEventListener("click", () => this.seek(this.frame + Number(step.dataset.step)));
    for (const name of ["seeked", "loadeddata"]) this.video.addEventListener(name, () => this.draw());
    this.video.addEventListener("seeked", () => this.sharpen());
    this.frame = 0;
  }
  show(clip) {
    this.clip = clip;
    this.info = null;
    this.frame = 0;
    this.video.pause();
    this.video.removeAttribute("src");
    this.element.querySelector("h2").textContent = clip.id;
    this.element.querySelector(".tags").textContent = [clip.source, clip.kind, clip.split, ...clip.effects].filter(Boolean).join(" · ");
    this.element.querySelector(".caption").textContent = clip.caption || "No caption.";
    this.slider.max = clip.shape[0] - 1;
    this.slider.setAttribute("aria-label", `frame of ${clip.id}`);
    this.canvas.setAttribute("aria-label", `gt of ${clip.id}`);
    this.showVerdict();
    this.still = new Image();
    this.still.onload = () => this.draw();
    this.still.src = `${path("still", clip.id)}?g=${generation}`;
    this.tracks.replaceChildren();
    this.tell();
    this.wait.textContent = "the film is being made";
    film(clip).then(info => {
      if (this.clip !== clip) return;
      this.info = info;
      this.wait.textContent = "";
      this.video.src = info.url;
      if (playing) this.video.play().catch(() => {});
      this.showTracks();
      if (this === panes[0]) { fillViews(); const at = shown.indexOf(clip); for (const next of shown.slice(at + 1, at + 1 + AHEAD)) film(next); }
      this.tick();
    }, problem => { if (this.clip === clip) this.wait.textContent = problem.message; });
  }
  showVerdict() {
    const element = this.element.querySelector(".verdict");
    element.className = `verdict ${this.clip.state.verdict}`;
    element.textContent = verdictText(this.clip);
  }
  get count() { return this.clip.shape[0]; }
  toggle() { playing = this.video.paused; for (const pane of panes) if (pane.info) playing ? pane.video.play().catch(() => {}) : pane.video.pause(); this.tick(); this.tell(); redraw(); }
  seek(frame) {
    playing = false;
    this.video.pause();
    this.frame = (frame + this.count) % this.count;
    if (this.info) this.video.currentTime = (this.frame + 0.5) / this.clip.fps;
    this.tell();
    if (painting && this === panes[0]) painting.open(this.frame);
  }
  sharpen() { // a frame that stands still is shown as it is stored
    const view = $("view").value, key = `${path("frame", this.clip.id, view, this.frame)}?g=${generation}.${confirmed.length}`;
    if (!STORED.includes(view) || !this.video.paused || painting || this.sharp?.key === key) return;
    const image = new Image();
    image.onload = () => { this.sharp = { key, image, view, frame: this.frame, clip: this.clip }; this.draw(); };
    image.src = key;
  }
  tick() {
    if (!this.clip || !this.info) return;
    if (!this.video.paused) {
      const frame = Math.min(Math.floor(this.video.currentTime * this.clip.fps + 0.01), this.count - 1);
      if (frame !== this.frame) { this.frame = frame; this.draw(); this.tell(); }
      requestAnimationFrame(() => this.tick());
    }
    this.button.textContent = this.video.paused ? "Play" : "Pause";
  }
  tell() {
    this.slider.value = this.frame;
    this.button.textContent = this.video.paused ? "Play" : "Pause";
    this.output.textContent = `frame ${this.frame + 1} of ${this.clip.shape[0]}`;
    for (const figure of this.tracks.children) {
      const { name, unit } = figure.dataset, value = this.info.tracks[name][this.frame];
      figure.querySelector(".value").textContent = value === null ? "–" : unit === "dB" && value >= 99 ? "equal" : `${value} ${unit}`;
      const x = this.count > 1 ? 100 * this.frame / (this.count - 1) : 0, line = figure.querySelector("line");
      line.setAttribute("x1", x);
      line.setAttribute("x2", x);
    }
  }
  showTracks() {
    const make = (name, values) => { const element = document.createElementNS("http://www.w3.org/2000/svg", name); for (const [key, value] of Object.entries(values)) element.setAttribute(key, value); return element; };
    this.tracks.replaceChildren(...Object.entries(this.info.tracks).map(([name, values]) => {
      const figure = document.createElement("figure"), caption = document.createElement("figcaption"), known = values.filter(value => value !== null);
      const low = Math.min(0, ...known), high = Math.max(...known, low + 1e-9), unit = this.info.units[name];
      const svg = make("svg", { viewBox: "0 0 100 40", preserveAspectRatio: "none", role: "img", "aria-label": `${name} by frame, ${known.length ? `${Math.min(...known)} to ${Math.max(...known)} ${unit}` : "not measured"}` });
      const points = values.map((value, at) => value === null ? null : `${values.length > 1 ? 100 * at / (values.length - 1) : 0},${38 - 36 * (value - low) / (high - low)}`).filter(Boolean);
      svg.append(make("polyline", { points: points.join(" ") }), make("line", { x1: 0, x2: 0, y1: 0, y2: 40 }));
      svg.addEventListener("click", event => { const box = svg.getBoundingClientRect(); this.seek(Math.round((event.clientX - box.left) / box.width * (this.count - 1))); });
      caption.append(span("", name), span("value", ""));
      Object.assign(figure.dataset, { name, unit });
      figure.append(caption, svg);
      return figure;
    }));
    this.tell();
  }
  draw() {
    if (!this.clip || (painting && this === panes[0])) return;
    const context = this.canvas.getContext("2d"), ready = this.info && this.video.readyState >= 2;
    if (!ready) {
      if (!this.still.naturalWidth) return;
      Object.assign(this.canvas, { width: this.still.naturalWidth, height: this.still.naturalHeight });
      context.drawImage(this.still, 0, 0);
      return;
    }
    const view = this.info.views[$("view").value] ? $("view").value : "gt", { sharp } = this;
    const isSharp = this.video.paused && sharp?.clip === this.clip && sharp.view === view && sharp.frame === this.frame;
    const [width, height] = isSharp ? [sharp.image.naturalWidth, sharp.image.naturalHeight] : this.info.size;
    if (this.canvas.width !== width || this.canvas.height !== height) Object.assign(this.canvas, { width, height });
    if (isSharp) context.drawImage(sharp.image, 0, 0);
    else context.drawImage(this.video, ...this.info.views[view], width, height, 0, 0, width, height);
    this.canvas.setAttribute("aria-label", `${VIEWS[view]} of ${this.clip.id}, frame ${this.frame + 1}`);
    for (const [box, layer] of [["effect", "effect_mask"], ["subject", "subject_mask"]])
      if ($(box).checked && this.info.views[layer] && view !== layer) this.lay(context, this.info.views[layer], TINTS[layer]);
  }
  lay(context, corner, tint) {
    const [width, height] = this.info.size, brush = this.mask.getContext("2d", { willReadFrequently: true });
    if (this.mask.width !== width || this.mask.height !== height) Object.assign(this.mask, { width, height });
    brush.drawImage(this.video, ...corner, width, height, 0, 0, width, height);
    const pixels = brush.getImageData(0, 0, width, height), { data } = pixels, opacity = $("opacity").value / 100;
    for (let at = 0; at < data.length; at += 4) {
      data[at + 3] = data[at] > 24 ? data[at] * opacity : 0;
      [data[at], data[at + 1], data[at + 2]] = tint;
    }
    brush.putImageData(pixels, 0, 0);
    context.drawImage(this.mask, 0, 0, context.canvas.width, context.canvas.height);
  }
}
let playing = !matchMedia("(prefers-reduced-motion: reduce)").matches;
const panes = [new Pane()];
$("panes").append(panes[0].element);
function redraw() { for (const pane of panes) { pane.draw(); if (pane.info) pane.sharpen(); } painting?.draw(); }
function fillViews() {
  const select = $("view"), before = select.value || "gt", names = Object.keys(VIEWS).filter(name => panes[0].info.views[name]);
  select.replaceChildren(...names.map(name => new Option(VIEWS[name], name)));
  select.value = names.includes(before) ? before : "gt";
  redraw();
}
function compare() {
  const button = document.querySelector("[data-key=b]");
  if (panes.length > 1) { panes.pop().element.remove(); pinned = null; } else if (current) {
    pinned = current;
    panes.push(new Pane());
    $("panes").append(panes[1].element);
    panes[1].show(pinned);
  }
  button.ariaPressed = String(panes.length > 1);
  $("panes").classList.toggle("two", panes.length > 1);
}

// ------------------------------------------------------------------ decisions
function decide(what, value, clip = current) {
  send({ clip: clip.id, layers: clip.fingerprint, what, value });
}
function judge(verdict) {
  const clip = current;
  decide("verdict", verdict);
  const by = { ...clip.state.by, verdict: { ...clip.state.by?.verdict, [who()]: verdict } };
  const others = new Set(Object.values(by.verdict)); // shown at once; what the server says replaces it
  take(clip.id, { ...clip.state, by, verdict: others.size > 1 ? "review" : verdict, disputed: others.size > 1 });
  if ($("advance").checked) go(1);
}
function undo() {
  send({ undo: true }, kept => { const clip = byId.get(kept.clip); if (!clip) return; if (kept.history.at(-1).what === "mask") forgetFilms(clip.id); show(clip); });
}
const EDITS = {
  note: ["Note", "A sentence for the others; it stands in the published clip's reasons. Empty takes it back.", state => state.by?.note?.[who()] ?? ""],
  caption: ["Caption", "The corrected caption. Empty takes your correction back.", () => mine("caption") ?? details.caption],
  effects: ["Effects", "Words with commas, such as shadow, dust.", () => (mine("effects") ?? details.effects).join(", ")],
};
const mine = what => details.state.by?.[what]?.[who()];
function edit(what) {
  const [title, help, text] = EDITS[what], editor = $("editor"), clip = current;
  $("editor-title").textContent = title;
  $("editor-help").textContent = help;
  $("editor-text").value = text(details.state);
  saveEdit = () => {
    const value = $("editor-text").value.replace(/\s+/g, " ").trim();
    decide(what, what === "effects" ? value.split(",").map(word => word.trim()).filter(Boolean) : value || null, clip);
  };
  editor.showModal();
}
let saveEdit = () => {};
$("editor").addEventListener("submit", event => { if (event.submitter.value === "save") saveEdit(); });
$("editor-text").addEventListener("keydown", event => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { saveEdit(); $("editor").close(); } });

// ------------------------------------------------------------------ painting
let painting = null;
class Painting {
  constructor(pane) {
    this.pane = pane;
    this.clip = pane.clip;
    [, this.height, this.width] = this.clip.shape;
    this.strokes = new Map();
    this.x = this.width / 2;
    this.y = this.height / 2;
    this.events = new AbortController();
    const on = (name, action) => pane.canvas.addEventListener(name, action, { signal: this.events.signal });
    on("pointerdown", event => { pane.canvas.setPointerCapture(event.pointerId); this.isDown = true; this.move(event); this.dab(); event.preventDefault(); });
    on("pointermove", event => { const [x, y] = [this.x, this.y]; this.move(event); if (this.isDown) this.line(x, y); else this.draw(); });
    on("pointerup", () => { this.isDown = false; });
    on("pointercancel", () => { this.isDown = false; });
    this.open(pane.frame);
  }
  get layer() { return $("layer").value; }
  get stroke() {
    if (!this.strokes.has(this.frame)) this.strokes.set(this.frame, new Uint8Array(this.width * this.height));
    return this.strokes.get(this.frame);
  }
  get isEmpty() { return ![...this.strokes.values()].some(stroke => stroke.some(Boolean)); }
  async open(frame) {
    this.frame = frame;
    this.picture = this.base = null;
    const image = layer => new Promise((done, fail) => { const made = new Image(); made.onload = () => done(made); made.onerror = () => fail(new Error(`frame ${frame + 1} of ${layer} cannot be shown`)); made.src = `${path("frame", this.clip.id, layer, frame)}?g=${generation}.${confirmed.length}`; });
    try {
      const [picture, mask] = await Promise.all([image("gt"), image(this.layer)]);
      if (painting !== this || frame !== this.frame) return;
      const sheet = new OffscreenCanvas(this.width, this.height), context = sheet.getContext("2d");
      context.drawImage(mask, 0, 0);
      this.base = context.getImageData(0, 0, this.width, this.height).data;
      this.picture = picture;
      this.draw();
    } catch (problem) { complain(problem.message); }
  }
  move(event) {
    const box = this.pane.canvas.getBoundingClientRect();
    this.x = (event.clientX - box.left) / box.width * this.width;
    this.y = (event.clientY - box.top) / box.height * this.height;
  }
  line(x, y) {
    const [toX, toY] = [this.x, this.y], steps = Math.max(1, Math.ceil(Math.hypot(toX - x, toY - y) / 2));
    for (let step = 1; step <= steps; step += 1) { this.x = x + (toX - x) * step / steps; this.y = y + (toY - y) * step / steps; this.stamp(); }
    this.draw();
  }
  dab() { this.stamp(); this.draw(); }
  stamp() {
    const radius = Number($("radius").value) * this.width / 400, value = $("erase").checked ? 128 : 255, { stroke } = this;
    for (let row = Math.max(0, Math.ceil(this.y - radius)); row <= Math.min(this.height - 1, this.y + radius); row += 1) {
      const half = Math.sqrt(radius ** 2 - (row - this.y) ** 2), from = Math.max(0, Math.round(this.x - half)), to = Math.min(this.width, Math.round(this.x + half) + 1);
      if (to > from) stroke.fill(value, row * this.width + from, row * this.width + to);
    }
  }
  draw() {
    const { canvas } = this.pane, context = canvas.getContext("2d");
    if (!this.picture) return;
    if (canvas.width !== this.width || canvas.height !== this.height) Object.assign(canvas, { width: this.width, height: this.height });
    context.drawImage(this.picture, 0, 0);
    const sheet = new OffscreenCanvas(this.width, this.height), pixels = new ImageData(this.width, this.height), { data } = pixels, { stroke } = this, tint = TINTS[this.layer], opacity = $("opacity").value / 100;
    for (let at = 0; at < stroke.length; at += 1) {
      const value = stroke[at] === 255 ? 255 : stroke[at] === 128 ? 0 : this.base[at * 4];
      if (value) data.set([...tint, value * opacity], at * 4);
    }
    sheet.getContext("2d").putImageData(pixels, 0, 0);
    context.drawImage(sheet, 0, 0);
    for (const [colour, width] of [["#000", 3], ["#fff", 1]]) {
      context.beginPath();
      context.arc(this.x, this.y, Number($("radius").value) * this.width / 400, 0, 7);
      Object.assign(context, { strokeStyle: colour, lineWidth: width * this.width / 480 });
      context.stroke();
    }
  }
  value() {
    const frames = {}, sheet = Object.assign(document.createElement("canvas"), { width: this.width, height: this.height });
    for (const [frame, stroke] of this.strokes) {
      if (!stroke.some(Boolean)) continue;
      const pixels = new ImageData(this.width, this.height);
      stroke.forEach((value, at) => pixels.data.set([value, value, value, 255], at * 4));
      sheet.getContext("2d").putImageData(pixels, 0, 0);
      frames[frame] = sheet.toDataURL("image/png").split(",")[1];
    }
    return { layer: this.layer, drawn_on: this.pane.info.masks[this.layer], frames, carry: this.layer === "subject_mask" && $("carry").checked };
  }
}
function paint() {
  if (painting) return endPainting();
  const pane = panes[0];
  if (current.kind !== "real") return complain("Masks of rendered clips are the truth; only those of real clips are painted on.");
  if (!pane.info || !Object.keys(pane.info.masks).length) return complain("This clip has no mask to paint on, or its film is not there yet.");
  complain("");
  pane.seek(pane.frame);
  for (const option of $("layer").options) option.disabled = !pane.info.masks[option.value];
  painting = new Painting(pane);
  togglePainting();
  if (innerWidth <= 900) $("paint").scrollIntoView(); // tools and picture are on the screen together
}
function togglePainting() {
  $("paint").hidden = !painting;
  document.body.classList.toggle("painting", Boolean(painting));
  document.querySelector("[data-key=p]").ariaPressed = String(Boolean(painting));
  $("carry-label").hidden = $("layer").value !== "subject_mask";
}
function endPainting(isDropped = false) {
  if (!painting.isEmpty && !isDropped && !confirm("Discard what you painted?")) return false;
  painting.events.abort();
  painting = null;
  togglePainting();
  panes[0].seek(panes[0].frame);
  panes[0].draw();
  return true;
}
function savePainting() {
  if (!painting) return;
  if (painting.isEmpty) return complain("Nothing was painted; paint on a frame before you save.");
  const clip = current, value = painting.value();
  endPainting(true);
  send({ clip: clip.id, layers: clip.fingerprint, what: "mask", value }, () => { forgetFilms(clip.id); if (clip === current) show(clip); });
}

// ------------------------------------------------------------------ keys and buttons
const ACTIONS = {
  a: () => judge("accept"), r: () => judge("review"), x: () => judge("reject"), u: undo, n: () => edit("note"), c: () => edit("caption"), e: () => edit("effects"),
  j: () => go(1), k: () => go(-1), b: compare, p: paint, t: () => { if (painting) $("erase").click(); }, s: savePainting, "?": () => $("help").showModal(),
  " ": () => panes[0].toggle(), ",": () => panes[0].seek(panes[0].frame - 1), ".": () => panes[0].seek(panes[0].frame + 1),
  m: () => $("effect").click(), h: () => $("subject").click(), "/": () => { $("filter-box").open = true; form.elements.find.focus(); },
  v: () => { const select = $("view"); if (select.length) { select.selectedIndex = (select.selectedIndex + 1) % select.length; redraw(); } },
  "[": () => nudge(painting ? "radius" : "opacity", -1), "]": () => nudge(painting ? "radius" : "opacity", 1),
};
function nudge(id, sign) { const input = $(id); input.value = Number(input.value) + sign * (id === "radius" ? 2 : 10); redraw(); }
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
addEventListener("keydown", event => {
  const { target } = event;
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]") || !current) return;
  // A dialog that was closed just now may have the focus for a moment more.
  if (!target.closest?.("dialog") && target.matches?.("select, input:not([type=checkbox]):not([type=range])")) return;
  if (painting && (event.key in ARROWS || event.key === "Enter") && !target.matches?.("input, button, summary")) {
    event.preventDefault();
    if (event.key === "Enter") return painting.dab();
    const step = event.shiftKey ? 1 : 8, [x, y] = ARROWS[event.key];
    painting.x = Math.max(0, Math.min(painting.width - 1, painting.x + x * step));
    painting.y = Math.max(0, Math.min(painting.height - 1, painting.y + y * step));
    return painting.draw();
  }
  if (event.key === "Escape" && painting) return endPainting();
  if (!$("keys").checked || !ACTIONS[event.key] || (event.key === " " && target.matches?.("button, input, summary, a"))) return;
  event.preventDefault();
  ACTIONS[event.key]();
});
for (const button of document.querySelectorAll("[data-key]")) {
  button.setAttribute("aria-keyshortcuts", button.dataset.key);
  button.addEventListener("click", () => ACTIONS[button.dataset.key]());
}
$("help-button").addEventListener("click", ACTIONS["?"]);
$("paint-save").addEventListener("click", savePainting);
$("paint-drop").addEventListener("click", () => painting && endPainting(true));
$("layer").addEventListener("change", () => { togglePainting(); if (painting) { painting.strokes.clear(); painting.open(painting.frame); } });
$("page-back").addEventListener("click", () => { page -= 1; showPage(); });
$("page-on").addEventListener("click", () => { page += 1; showPage(); });
for (const id of ["view", "effect", "subject", "opacity", "radius"]) $(id).addEventListener("input", redraw);
let typed = null;
form.addEventListener("input", () => { clearTimeout(typed); typed = setTimeout(arrange, 120); });
form.addEventListener("submit", event => event.preventDefault());

// ------------------------------------------------------------------ beginning
const remembered = name => { try { return localStorage.getItem(`effectpairs ${name}`); } catch { return null; } };
const remember = (name, value) => { try { localStorage.setItem(`effectpairs ${name}`, value); } catch { /* then not */ } };
$("who").value = new URLSearchParams(location.search).get("by") ?? remembered("who") ?? "";
$("who").addEventListener("change", () => { remember("who", who()); arrange(); });
for (const id of ["keys", "advance"]) {
  if (remembered(id)) $(id).checked = remembered(id) === "true";
  $(id).addEventListener("change", () => remember(id, $(id).checked));
}
if (innerWidth <= 900) $("filter-box").open = false;
window.review = { confirmed, unsent };
load().catch(problem => complain(problem.message));
})();
