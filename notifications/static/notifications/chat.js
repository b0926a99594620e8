// @ts-check
/** The chat page: client, conversation and composer put together. */
import { Composer } from "./composer.js";
import { Conversation } from "./conversation.js";
import { find, h, setText } from "./dom.js";
import { ticking } from "./format.js";
import { GONE } from "./netra-cursors.js";
import { NetraClient, newRequestId } from "./netra-client.js";
import { RunState } from "./run-state.js";
import { RunView, announcement } from "./run-view.js";
import { PageMemory } from "./page-memory.js";

/** @typedef {{agent: string, message: string, params?: Record<string, unknown>}} Draft */

const agents = JSON.parse(find("#agents-data").textContent);
const memory = new PageMemory(JSON.parse(find("#user-data").textContent));
const client = new NetraClient();
const serverNow = () => Date.now() + client.clockOffset;
const isOnline = () => ["live", "catching_up"].includes(client.connection.state);
const conversation = new Conversation(find("#turns"), find("#latest"), () => ({ now: serverNow(), online: isOnline() }));

/** @type {import("./run-view.js").Actions} */
const actions = {
  onDirty: (view) => conversation.changed(view),
  onRetry: ({ state }) => start({ agent: state.agentName, message: state.message, params: state.params }),
  onCancel: (view) => {
    view.state.cancelling();
    conversation.changed(view);
    client.cancelRun(/** @type {string} */ (view.state.runId)).catch((error) => say(error.message));
  },
  onDecide: (view, approval, decision) => {
    const runId = /** @type {string} */ (view.state.runId);
    client.resolveApproval({ runId, approvalId: approval.id, decision }).catch((error) => say(error.message));
  },
};

/** @param {Draft} draft */
function start({ agent, message, params }) {
  const state = new RunState({ agentName: agent, message, params });
  const view = new RunView(state, actions);
  conversation.append(view);
  client
    .startAgent({ agent, message, params, threadId: memory.threadId ?? undefined, requestId: newRequestId() })
    .then((frame) => {
      state.accepted(frame);
      conversation.accepted(view);
      memory.remember(frame.thread_id, frame.run_id);
    })
    .catch((error) => {
      state.refused(error);
      say(`${agent}: ${error.message}`);
    })
    .finally(() => conversation.changed(view));
}

/** @param {string} runId @param {string} agentName @returns {RunView} */
function viewOf(runId, agentName) {
  const known = conversation.view(runId);
  if (known) return known;
  const state = new RunState({ agentName });
  state.runId = runId;
  const view = new RunView(state, actions);
  conversation.insert(view);
  return view;
}

client.onRuns((runs) => {
  for (const run of runs) {
    const view = viewOf(run.run_id, run.agent_name);
    view.state.listed(run);
    conversation.changed(view);
  }
});

client.onEvent((event) => {
  const view = viewOf(event.run_id, event.agent_name ?? event.snapshot?.agent_name ?? "");
  const wasLive = view.state.isLive;
  view.state.apply(event);
  conversation.changed(view);
  if (wasLive && !view.state.isLive && serverNow() - Date.parse(event.timestamp) < 10_000) say(announcement(view.state));
});

client.onError((error) => {
  const runId = error.frame.run_id;
  if (!GONE.has(error.code) || !runId) return say(error.message);
  memory.forget(runId);
  const view = conversation.view(runId);
  if (!view?.state.isLive) return;
  view.state.gone();
  conversation.changed(view);
});

// ── the state of the connection ──────────────────────────────────────────────────────────────────────────────────────

const pill = find("#connection");
const banner = find("#banner");

function showConnection() {
  const { state, since, behind, ended } = client.connection;
  const away = since === null ? "" : ` for ${ticking(Date.now() - since)}`;
  const words = {
    connecting: "Connecting",
    live: "Live",
    catching_up: behind ? `Catching up, ${behind.toLocaleString("en")} to go` : "Catching up",
    offline: ended ? "Signed out" : `Offline${away}`,
  };
  pill.dataset.state = state;
  setText(pill.lastElementChild, words[state]);
}

let lastSaid = "connecting";
client.onConnection(({ state, ended }) => {
  showConnection();
  conversation.tick();
  if (ended === "session_ended") signedOut();
  else if (ended === "protocol_error") showBanner("The server does not accept this page any more.", "Reload", location.href);
  if (state === "offline" && lastSaid === "live") say("The connection is lost. It will come back by itself.");
  if (state === "live" && lastSaid === "offline") say("Connected again.");
  if (state === "live" || state === "offline") lastSaid = state;
  if (state === "offline" && !ended) checkSession();
});

/** A refused upgrade looks to a browser like a dead server; a redirect to the log-in page tells them apart. */
async function checkSession() {
  try {
    const answer = await fetch(location.pathname, { method: "HEAD", redirect: "manual", cache: "no-store" });
    if (answer.type !== "opaqueredirect") return;
    client.close();
    signedOut();
  } catch {
    // The server can't be reached: the client goes on trying.
  }
}

function signedOut() {
  pill.dataset.state = "offline";
  setText(pill.lastElementChild, "Signed out");
  showBanner("Your session has ended.", "Sign in again", "/accounts/login/");
}

/** @param {string} text @param {string} label @param {string} href */
function showBanner(text, label, href) {
  banner.replaceChildren(h("span", { textContent: text }), " ", h("a", { href, textContent: label }));
  banner.hidden = false;
  say(text);
}

/** For screen readers: few, whole sentences. @param {string} sentence */
function say(sentence) {
  setText(find("#announcements"), sentence);
}

// ── the page ─────────────────────────────────────────────────────────────────────────────────────────────────────────

const composer = new Composer(agents, start);

for (const { name, description } of agents) {
  const card = h("button", { type: "button", class: "agent-card" },
    h("span", { class: "agent-card-name", textContent: name }),
    h("span", { class: "agent-card-description", textContent: description }));
  card.onclick = () => composer.choose(name);
  find("#agent-cards").append(card);
}

find("#new-thread").onclick = () => {
  memory.newThread();
  conversation.divide("New thread");
  composer.focus();
};

setInterval(() => {
  conversation.tick();
  if (client.connection.state === "offline" && !client.connection.ended) showConnection();
}, 1000);

client.follow(memory.runIds);
client.open();
composer.focus();
