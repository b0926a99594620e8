// @ts-check
/**
 * The user's threads, by their latest run: searched, opened, renamed, deleted.
 *
 * @import {Thread} from "./thread-row.js"
 */
import { deleteThread, listThreads, renameThread } from "./api.js";
import { find, h, setText } from "./dom.js";
import { confirmed } from "./confirm.js";
import { ThreadRow } from "./thread-row.js";

const REFRESH_AFTER_MS = 150;
const DAY_MS = 86_400_000;

export class Sidebar {
  #list = find("#threads");
  #search = find("#search");
  #more = find("#more-threads");
  #empty = find("#no-threads");
  /** @type {Map<string, ThreadRow>} */
  #rows = new Map();
  /** @type {Thread[]} */
  #threads = [];
  /** @type {string | null} */
  #next = null;
  #asked = 0;
  #timer = 0;
  /** @type {Set<string>} */
  #unread = new Set();
  /** @type {string | null} */
  #current = null;
  #calls;

  /** @param {{onOpen: (threadId: string) => void, onDeleted: (threadId: string) => void, onRenamed: () => void,
   *   onChanged: () => void, say: (sentence: string) => void}} calls */
  constructor(calls) {
    this.#calls = calls;
    this.#search.addEventListener("input", () => this.refreshSoon());
    this.#more.onclick = () => this.#load(this.#next);
    addEventListener("focus", () => this.refreshSoon());
  }

  /** @param {string} threadId */
  title(threadId) {
    return this.#threads.find((thread) => thread.thread_id === threadId)?.title ?? "";
  }

  /** @param {string | null} threadId */
  show(threadId) {
    this.#current = threadId;
    if (threadId) this.#unread.delete(threadId);
    this.#draw();
  }

  /** A run has ended in a thread. @param {string} threadId */
  ended(threadId) {
    if (threadId !== this.#current) this.#unread.add(threadId);
    this.refreshSoon();
  }

  /** What has changed may be more than one thing: asked for once. */
  refreshSoon() {
    if (this.#timer) return;
    this.#timer = setTimeout(() => this.refresh(), REFRESH_AFTER_MS);
  }

  refresh() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    return this.#load(null);
  }

  /** @param {string | null} before */
  async #load(before) {
    const asked = ++this.#asked;
    try {
      const page = await listThreads({ q: this.#search.value.trim(), before });
      if (asked !== this.#asked) return;
      this.#threads = before ? [...this.#threads, ...page.threads] : page.threads;
      this.#next = page.next;
      this.#draw();
      this.#calls.onRenamed();
    } catch {
      // What is shown stays; the next change, or the connection's return, asks again.
    }
  }

  #draw() {
    const wanted = new Set(this.#threads.map((thread) => thread.thread_id));
    for (const [threadId, row] of this.#rows) if (!wanted.has(threadId)) this.#drop(threadId, row);
    const parts = this.#threads.flatMap((thread, index) => {
      const row = this.#row(thread);
      row.update(thread, { isCurrent: thread.thread_id === this.#current, isUnread: this.#unread.has(thread.thread_id) });
      const age = ageOf(thread);
      const isFirst = index === 0 || ageOf(this.#threads[index - 1]) !== age;
      return isFirst ? [h("li", { class: "age", textContent: age }), row.element] : [row.element];
    });
    for (const old of this.#list.querySelectorAll(".age")) old.remove();
    parts.forEach((part, index) => {
      if (this.#list.children[index] !== part) this.#list.insertBefore(part, this.#list.children[index] ?? null);
    });
    this.#more.hidden = this.#next === null;
    this.#empty.hidden = this.#threads.length > 0;
    setText(this.#empty, this.#search.value.trim() ? "No thread has this in its title." : "Your threads will be listed here.");
  }

  /** @param {Thread} thread */
  #row(thread) {
    let row = this.#rows.get(thread.thread_id);
    if (row) return row;
    row = new ThreadRow(thread, {
      onOpen: this.#calls.onOpen,
      onRename: (threadId, title) => this.#rename(threadId, title),
      onDelete: (each) => this.#delete(each),
    });
    this.#rows.set(thread.thread_id, row);
    return row;
  }

  /** @param {string} threadId @param {ThreadRow} row */
  #drop(threadId, row) {
    row.element.remove();
    this.#rows.delete(threadId);
  }

  /** @param {string} threadId @param {string} title */
  async #rename(threadId, title) {
    try {
      await renameThread(threadId, title);
      this.#calls.say(`Renamed to ${title}.`);
      this.#calls.onChanged();
    } catch (error) {
      this.#calls.say(/** @type {Error} */ (error).message);
    }
    await this.refresh();
  }

  /** @param {Thread} thread */
  async #delete(thread) {
    const index = this.#threads.findIndex(({ thread_id }) => thread_id === thread.thread_id);
    const isDeleted = await confirmed(`Delete “${thread.title || "Untitled"}”?`, () => deleteThread(thread.thread_id));
    if (!isDeleted) return this.#rows.get(thread.thread_id)?.focus();
    this.#calls.say("The thread is deleted.");
    await this.refresh();
    this.#calls.onDeleted(thread.thread_id);
    const neighbour = this.#threads[Math.min(index, this.#threads.length - 1)];
    if (neighbour) this.#rows.get(neighbour.thread_id)?.focus();
    else find("#new-thread").focus();
  }
}

/** @param {Thread} thread */
function ageOf({ last_run_at }) {
  const midnight = new Date().setHours(0, 0, 0, 0);
  const at = Date.parse(last_run_at);
  if (at >= midnight) return "Today";
  if (at >= midnight - DAY_MS) return "Yesterday";
  return at >= midnight - 7 * DAY_MS ? "This week" : "Earlier";
}
