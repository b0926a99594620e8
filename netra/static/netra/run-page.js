// @ts-check
/**
 * A run's page while the run is live: its events come over the operator's own socket and are added to the log; what
 * else changes is the server's to draw, and is asked for anew whenever something has happened.
 */
import { find } from "../notifications/dom.js";
import { NetraClient } from "../notifications/netra-client.js";

const AT_ONCE_MS = 250;
const MOVES_EVERY_MS = 2000;
const MOST_ROWS = 500;
const TEXTS = { connecting: "Connecting", live: "Live", catching_up: "Catching up", offline: "Connection lost: trying again" };
const DATA_CHARACTERS = 300;
const FRAME_CHARACTERS = 4000;

const { run_id: runId, created_at: createdAt, last_seq: lastSeq, is_live: isLive } = JSON.parse(find("#watched-run").textContent);
const live = find("#run-live");
let words = { state: "connecting", text: "Connecting" };
let due = false;

if (isLive) watch();

function watch() {
  const url = new URL(`/ws/console/runs/${runId}/`, location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  const client = new NetraClient({ url: url.href });
  client.skip(runId, lastSeq);
  client.onConnection(({ state, ended }) => tell(ended ? "off" : state, ended ? "Not live: reload the page" : TEXTS[state]));
  client.onEvent((event) => {
    addRow(event);
    drawSoon();
    if (event.type !== "agent_completed") return;
    client.close();
    clearInterval(moves);
  });
  const moves = setInterval(drawSoon, MOVES_EVERY_MS);
  client.open();
}

/** @param {string} state @param {string} text */
function tell(state, text) {
  words = { state, text };
  const place = document.querySelector("#watching");
  if (!(place instanceof HTMLElement)) return;
  place.dataset.state = state;
  place.textContent = text;
}

/** At most four times a second, however fast the run is. */
function drawSoon() {
  if (due || document.visibilityState === "hidden") return;
  due = true;
  setTimeout(draw, AT_ONCE_MS);
}

async function draw() {
  due = false;
  const answer = await fetch(live.dataset.address, { headers: { Accept: "text/html" } }).catch(() => null);
  if (!answer?.ok || answer.redirected) return;
  const open = [...live.querySelectorAll("details[open]")].map((each) => each.className);
  const drawn = new DOMParser().parseFromString(await answer.text(), "text/html");
  live.replaceChildren(...drawn.body.children);
  for (const name of open) live.querySelector(`details.${name}`)?.setAttribute("open", "");
  tell(words.state, words.text);
}

/** @param {any} event */
function addRow(event) {
  const rows = find("#event-rows");
  if (!rows.closest("[data-live]") || rows.querySelector(`[data-seq="${event.seq}"]`)) return;
  rows.querySelector(".none")?.remove();
  const row = find("#event-row").content.firstElementChild.cloneNode(true);
  const data = JSON.stringify(event.data ?? {});
  const text = JSON.stringify(event);
  const [seq, , , bytes] = row.cells;
  row.dataset.seq = event.seq;
  seq.textContent = event.seq;
  bytes.textContent = event.bytes ?? new TextEncoder().encode(text).length;
  row.querySelector("time").dateTime = event.timestamp;
  row.querySelector("time").textContent = `+${((Date.parse(event.timestamp) - Date.parse(createdAt)) / 1000).toFixed(3)} s`;
  row.querySelector(".event-type").textContent = event.type;
  row.querySelector(".event-type").classList.add(`type-${event.type}`);
  row.querySelector("code").textContent = data.length > DATA_CHARACTERS ? `${data.slice(0, DATA_CHARACTERS)}…` : data;
  if (event.bytes) row.querySelector("details").replaceWith(row.querySelector("code"));
  else row.querySelector("pre").textContent = text.slice(0, FRAME_CHARACTERS);
  rows.append(row);
  if (rows.children.length > MOST_ROWS) rows.firstElementChild.remove();
}
