// @ts-check
/**
 * Which thread the page shows: its address, its runs, its place. A thread-to-be has a name of the page's own until its
 * first message is accepted.
 *
 * @import {RunState} from "./run-state.js"
 * @typedef {{client: import("./netra-client.js").NetraClient, store: import("./run-store.js").RunStore,
 *   conversation: import("./conversation.js").Conversation, scroll: import("./scroll-keeper.js").ScrollKeeper,
 *   composer: import("./composer.js").Composer, sidebar: import("./sidebar.js").Sidebar,
 *   memory: import("./tab-memory.js").TabMemory, unanswered: () => RunState[]}} Parts
 */
import { readThread } from "./api.js";
import { find, setText } from "./dom.js";
import { newRequestId } from "./netra-client.js";

const NOT_NOW = "This thread cannot be loaded right now. It will be when the server is back.";
const ADDRESS = /^\/threads\/([^/]+)$/;

export class Desk {
  /** @type {string | null} */
  threadId = null;
  /** What the conversation is called: the thread's id, or a name until it has one. */
  name = "";
  #parts;
  /** @type {string | null} */
  #earlier = null;
  #hasFailed = false;

  /** @param {Parts} parts */
  constructor(parts) {
    this.#parts = parts;
    addEventListener("popstate", () => this.#go(threadInAddress()));
    find("#earlier-turns").onclick = () => this.#load(this.#earlier);
  }

  /** A reload that began just before the first message was accepted comes back to the address that the page had then. */
  start() {
    const became = this.#parts.memory.read("became", "");
    if (became && threadInAddress() === null && wasReloaded()) history.replaceState(null, "", addressOf(became));
    this.#go(threadInAddress());
  }

  /** @param {string} threadId */
  open(threadId) {
    if (threadId === this.threadId) return;
    history.pushState(null, "", addressOf(threadId));
    this.#go(threadId);
    this.#parts.composer.focus();
  }

  openNew() {
    if (this.threadId !== null || location.pathname !== "/") history.pushState(null, "", "/");
    const isUsed = this.#parts.unanswered().some((state) => state.conversation === this.#nameOfNew);
    if (isUsed) this.#parts.memory.write("new", newRequestId());
    this.#go(null);
    this.#parts.composer.focus();
  }

  /** It is gone. @param {string} threadId */
  deleted(threadId) {
    for (const { runId } of this.#parts.store.ofThread(threadId)) this.#parts.store.delete(String(runId));
    if (threadId !== this.threadId) return;
    history.replaceState(null, "", "/");
    this.#go(null);
  }

  /** @param {RunState} state */
  shows(state) {
    return state.threadId !== null ? state.threadId === this.threadId : state.conversation === this.name;
  }

  /** The first message has made the thread. @param {string} conversation @param {string} threadId */
  becomes(conversation, threadId) {
    if (conversation === this.#nameOfNew) this.#parts.memory.write("new", newRequestId());
    if (this.name !== conversation || this.threadId !== null) return;
    this.threadId = this.name = threadId;
    this.#parts.memory.write("became", threadId);
    history.replaceState(null, "", addressOf(threadId));
    this.#parts.scroll.rename(threadId);
    this.#parts.composer.rename(threadId);
    this.#parts.sidebar.show(threadId);
    this.showTitle();
  }

  showTitle() {
    const title = this.threadId ? this.#parts.sidebar.title(this.threadId) : "New chat";
    if (!title) return; // it is in no list yet
    setText(find("#title"), title);
    document.title = this.threadId ? `${title} · Netra` : "Netra";
  }

  /** What could not be read is read again, now that there is a connection. */
  retry() {
    if (this.#hasFailed) this.#load(null);
  }

  get #nameOfNew() {
    return this.#parts.memory.read("new", "new");
  }

  /** @param {string | null} threadId */
  #go(threadId) {
    const { conversation, scroll, composer, sidebar, store, memory, unanswered } = this.#parts;
    scroll.keep();
    memory.write("became", null);
    conversation.clear();
    this.threadId = threadId;
    this.name = threadId ?? this.#nameOfNew;
    this.#earlier = null;
    this.#hasFailed = false;
    find("#earlier-turns").hidden = true;
    this.#notice("");
    store.forgetAllBut(threadId);
    document.body.classList.toggle("is-new", threadId === null);
    scroll.open(this.name);
    composer.open(this.name);
    sidebar.show(threadId);
    this.showTitle();
    for (const state of [...store.ofThread(threadId), ...unanswered()]) if (this.shows(state)) conversation.show(state);
    if (threadId) this.#load(null);
  }

  /** @param {string | null} before */
  async #load(before) {
    const { threadId } = this;
    if (!threadId) return;
    try {
      const thread = await readThread(threadId, before);
      if (threadId !== this.threadId) return;
      this.#hasFailed = false;
      this.#notice("");
      this.#show(thread);
    } catch (error) {
      if (threadId !== this.threadId) return;
      const isGone = /** @type {import("./api.js").ApiError} */ (error).code === "not_found";
      this.#hasFailed = !isGone;
      this.#notice(isGone ? "There is no such thread. It may have been deleted." : NOT_NOW);
    }
  }

  /** @param {{title: string, runs: any[], next: string | null}} thread */
  #show({ title, runs, next }) {
    const { client, store, conversation, scroll } = this.#parts;
    const unknown = runs.filter((run) => !store.get(run.run_id)).map((run) => run.run_id);
    scroll.holdHere();
    for (const run of runs) {
      const state = store.ensure(run.run_id, run.agent_name);
      state.summarised({ ...run, thread_id: this.threadId });
      conversation.show(state);
    }
    client.follow(unknown);
    this.#earlier = next;
    find("#earlier-turns").hidden = next === null;
    setText(find("#title"), title || "Untitled");
    document.title = `${title || "Untitled"} · Netra`;
  }

  /** @param {string} words */
  #notice(words) {
    const notice = find("#notice");
    setText(notice, words);
    notice.hidden = !words;
  }
}

function wasReloaded() {
  const [visit] = performance.getEntriesByType("navigation");
  return /** @type {PerformanceNavigationTiming | undefined} */ (visit)?.type === "reload";
}

/** @returns {string | null} */
function threadInAddress() {
  const found = ADDRESS.exec(location.pathname);
  return found ? decodeURIComponent(found[1]) : null;
}

/** @param {string} threadId */
const addressOf = (threadId) => `/threads/${encodeURIComponent(threadId)}`;
