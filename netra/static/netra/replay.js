// @ts-check
/**
 * A run once more, as its user saw it: the frames of the log, drawn by the chat's own modules, at the pace at which
 * they came, faster, or one at a time.
 */
import { drawIcons } from "../notifications/icons.js";
import { find } from "../notifications/dom.js";
import { duration } from "../notifications/format.js";
import { NetraClient } from "../notifications/netra-client.js";
import { RunState } from "../notifications/run-state.js";
import { RunView } from "../notifications/run-view.js";

const LONGEST_WAIT_MS = 60_000;

const { run_id: runId, agent_name: agentName, message } = JSON.parse(find("#replayed-run").textContent);
/** @type {any[]} */
const frames = [];
let shown = 0;
/** @type {number | null} */
let speed = null;
/** @type {any} */
let timer = null;
let playedAt = 0;
let state = newState();
let view = newView();

drawIcons();
load();

function load() {
  const url = new URL(`/ws/console/runs/${runId}/`, location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  const client = new NetraClient({ url: url.href });
  client.onEvent((frame) => {
    frames.push(frame);
    draw();
  });
  client.onError(({ message }) => complain(message));
  client.onConnection(({ ended }) => ended && complain("The connection has ended. Reload the page."));
  client.follow([runId]);
  client.open();
}

/** @param {string} sentence */
function complain(sentence) {
  find("#replay-problem").hidden = false;
  find("#replay-problem").textContent = sentence;
}

function newState() {
  const made = new RunState({ agentName, message });
  made.runId = runId;
  made.stage = "queued";
  return made;
}

function newView() {
  const nothing = () => {};
  const made = new RunView(state, { onCancel: nothing, onRetry: nothing, onDecide: nothing, onDirty: () => requestAnimationFrame(draw) });
  find("#turns").replaceChildren(made.element);
  return made;
}

/** The server's time at this moment of the replay. */
const moment = () => (shown ? timeOf(frames[shown - 1]) : timeOf(frames[0]) ) + (speed ? (performance.now() - playedAt) * speed : 0);

/** @param {any} frame */
const timeOf = (frame) => Date.parse(frame?.timestamp ?? frame?.snapshot?.created_at ?? 0);

/** Shows the first so many frames. @param {number} count */
function goTo(count) {
  if (count < shown) {
    state = newState();
    view = newView();
    shown = 0;
  }
  while (shown < Math.min(count, frames.length)) state.apply(frames[shown++]);
  playedAt = performance.now();
  draw();
}

function draw() {
  view.render({ now: moment(), online: true });
  for (const control of view.element.querySelectorAll(".cancel, .end-buttons, .approval-buttons")) control.remove();
  const place = find("#place");
  place.max = frames.length;
  place.value = shown;
  const at = shown ? duration(timeOf(frames[shown - 1]) - timeOf(frames[0])) : "0 ms";
  find("#where").textContent = `Event ${shown.toLocaleString("en")} of ${frames.length.toLocaleString("en")} · ${at}`;
  find("#kind").textContent = shown ? frames[shown - 1].type : "";
  for (const button of document.querySelectorAll("[data-speed]")) {
    button.setAttribute("aria-pressed", String(Number(/** @type {HTMLElement} */ (button).dataset.speed) === speed));
  }
  find("#back").disabled = shown === 0;
  find("#forward").disabled = shown >= frames.length;
}

/** @param {number | null} wanted */
function play(wanted) {
  clearTimeout(timer);
  speed = wanted;
  if (speed && shown >= frames.length) goTo(0);
  playedAt = performance.now();
  if (speed) next();
  draw();
}

function next() {
  if (!speed) return;
  if (shown >= frames.length) return play(null);
  const wait = shown ? timeOf(frames[shown]) - timeOf(frames[shown - 1]) : 0;
  timer = setTimeout(() => {
    goTo(shown + 1);
    next();
  }, Math.min(wait, LONGEST_WAIT_MS) / speed);
}

for (const button of document.querySelectorAll("[data-speed]")) {
  const wanted = Number(/** @type {HTMLElement} */ (button).dataset.speed);
  button.addEventListener("click", () => play(speed === wanted ? null : wanted));
}
const step = (/** @type {number} */ by) => {
  play(null);
  goTo(Math.max(0, shown + by));
};
find("#back").onclick = () => step(-1);
find("#forward").onclick = () => step(1);
find("#place").oninput = () => {
  play(null);
  goTo(Number(find("#place").value));
};
addEventListener("keydown", (event) => {
  if (event.target instanceof HTMLInputElement || event.altKey || event.ctrlKey || event.metaKey) return;
  if (event.key === "ArrowRight") step(1);
  if (event.key === "ArrowLeft") step(-1);
});
setInterval(() => speed && view.tick({ now: moment(), online: true }), 200);
