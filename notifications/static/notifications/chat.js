// @ts-check
/** The chat page: its parts put together. */
import { Composer } from "./composer.js";
import { ConnectionView } from "./connection-view.js";
import { Conversation } from "./conversation.js";
import { Desk } from "./desk.js";
import { find, h, setText } from "./dom.js";
import { Drawer } from "./drawer.js";
import { drawIcons } from "./icons.js";
import { NetraClient, newRequestId } from "./netra-client.js";
import { GONE } from "./netra-cursors.js";
import { Outbox } from "./outbox.js";
import { RunState } from "./run-state.js";
import { RunStore } from "./run-store.js";
import { announcement } from "./run-view.js";
import { ScrollKeeper } from "./scroll-keeper.js";
import { Sidebar } from "./sidebar.js";
import { TabMemory } from "./tab-memory.js";

const JUST_NOW_MS = 10_000;
/** By then a replay has told what became of an approval. */
const SETTLED_MS = 300;

drawIcons();
const agents = JSON.parse(find("#agents-data").textContent);
const userId = JSON.parse(find("#user-data").textContent);
const otherTabs = new BroadcastChannel(`netra:${userId}`);
const memory = new TabMemory(userId);
const client = new NetraClient();
const drawer = new Drawer();
const store = new RunStore((runId) => client.forget(runId));
const serverNow = () => Date.now() + client.clockOffset;
const isOnline = () => ["live", "catching_up"].includes(client.connection.state);
const scroll = new ScrollKeeper(find("#turns"), find("#latest"), memory);
/** @type {Map<string, RunState>} by request_id: messages that the server has not answered */
const unanswered = new Map();

/** For screen readers: few, whole sentences. @param {string} sentence */
const say = (sentence) => setText(find("#announcements"), sentence);

const conversation = new Conversation(find("#turns"), scroll, () => ({ now: serverNow(), online: isOnline() }), {
  onDirty: (view) => conversation.dirty(view),
  onRetry: ({ state }) => send({ agent: state.agentName, message: state.message, params: state.params, paramsOf: state.madeRun }),
  onCancel: ({ state }) => {
    state.cancelling();
    conversation.changed(state);
    client.cancelRun(/** @type {string} */ (state.runId)).catch((error) => say(error.message));
  },
  onDecide: ({ state }, approval, said) =>
    client.resolveApproval({ runId: /** @type {string} */ (state.runId), approvalId: approval.id, ...said }),
  memory,
});

const composer = new Composer(agents, memory, send);
const sidebar = new Sidebar({
  say,
  onOpen: (threadId) => {
    desk.open(threadId);
    drawer.close();
  },
  onRenamed: () => desk.showTitle(),
  onDeleted: (threadId) => {
    desk.deleted(threadId);
    otherTabs.postMessage({ deleted: threadId });
  },
  onChanged: () => otherTabs.postMessage({}),
});
const outbox = new Outbox(client, memory, {
  onAccepted(letter, frame) {
    const state = take(letter);
    const known = store.get(frame.run_id); // its events may have come first, after a reconnect
    if (known) {
      known.params ??= state.params;
      conversation.remove(state);
    } else {
      state.accepted(frame);
      store.put(state);
    }
    desk.becomes(letter.conversation, frame.thread_id);
    for (const each of unanswered.values()) if (each.conversation === letter.conversation) each.threadId ??= frame.thread_id;
    show(known ?? state);
    sidebar.refreshSoon();
  },
  onRefused(letter, error) {
    const state = take(letter);
    state.refused(error);
    conversation.changed(state);
    say(`${letter.agent}: ${error.message}`);
  },
  onWaiting(letter) {
    const state = /** @type {RunState} */ (unanswered.get(letter.requestId));
    state.waiting();
    conversation.changed(state);
  },
});
const desk = new Desk({ client, store, conversation, scroll, composer, sidebar, memory, unanswered: () => [...unanswered.values()] });

/** @param {import("./composer.js").Draft & {paramsOf?: string}} draft */
function send({ agent, message, params, paramsOf }) {
  const letter = { requestId: newRequestId(), conversation: desk.name, threadId: desk.threadId, agent, message, params, paramsOf };
  const state = written(letter);
  scroll.toEnd();
  conversation.show(state);
  outbox.post(letter);
}

/** @param {import("./outbox.js").Letter} letter */
function written({ requestId, conversation: name, threadId, agent, message, params }) {
  const state = new RunState({ agentName: agent, message, params });
  state.conversation = name;
  state.threadId = threadId;
  unanswered.set(requestId, state);
  return state;
}

/** @param {import("./outbox.js").Letter} letter */
function take({ requestId }) {
  const state = /** @type {RunState} */ (unanswered.get(requestId));
  unanswered.delete(requestId);
  return state;
}

/** @param {RunState} state */
function show(state) {
  if (desk.shows(state)) conversation.show(state);
}

/** @param {RunState} state @param {string} approvalId */
function announceApproval(state, approvalId) {
  const open = state.openApprovals.find(({ id }) => id === approvalId);
  if (open) say(`${state.agentName} needs your approval: ${open.reason}`);
}

client.onRuns((runs) => {
  for (const run of runs) {
    const state = store.ensure(run.run_id, run.agent_name);
    state.listed(run);
    show(state);
  }
});

client.onEvent((event) => {
  const state = store.ensure(event.run_id, event.agent_name ?? event.snapshot?.agent_name ?? "");
  const wasLive = state.isLive;
  state.apply(event);
  if (conversation.has(state) && event.seq !== 1) conversation.changed(state);
  else show(state);
  if (event.type === "agent_started" && !state.isHistory) sidebar.refreshSoon();
  const isNews = serverNow() - Date.parse(event.timestamp) < JUST_NOW_MS;
  if (event.type === "approval_requested") setTimeout(() => announceApproval(state, event.data.approval_id), SETTLED_MS);
  if (event.type === "approval_resolved" && isNews && desk.shows(state)) say(`${state.agentName}: ${event.data.decision}.`);
  if (wasLive && !state.isLive && !state.isHistory) sidebar.ended(state.threadId ?? "");
  if (wasLive && !state.isLive && isNews && desk.shows(state) && !state.parentRunId) say(announcement(state));
});

client.onError((error) => {
  const state = store.get(error.frame.run_id);
  if (!GONE.has(error.code) || !state) return say(error.message);
  if (!state.isLive) return;
  state.gone();
  conversation.changed(state);
});

otherTabs.onmessage = (/** @type {MessageEvent<{deleted?: string}>} */ { data }) => {
  if (data.deleted) desk.deleted(data.deleted);
  sidebar.refreshSoon();
};

for (const { name, description } of agents) {
  const card = h("button", { type: "button", class: "agent-card" },
    h("span", { class: "agent-card-name", textContent: name }),
    h("span", { class: "agent-card-description", dir: "auto", textContent: description }));
  card.onclick = () => composer.choose(name);
  find("#agent-cards").append(card);
}

find("#new-thread").onclick = () => {
  desk.openNew();
  drawer.close();
};

for (const letter of outbox.letters) written(letter);
desk.start();
const connectionView = new ConnectionView(client, say);
client.onConnection(({ state }) => {
  conversation.tick();
  if (state !== "live") return;
  sidebar.refreshSoon();
  desk.retry();
});
setInterval(() => {
  conversation.tick();
  connectionView.tick();
}, 1000);
client.open();
outbox.send();
composer.focus();
