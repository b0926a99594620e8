// @ts-check
/**
 * A thread in the side bar: its link, what goes on in it, and the buttons that rename and delete it.
 *
 * @typedef {{thread_id: string, title: string, last_run_at: string, live: number}} Thread
 * @typedef {{onOpen: (threadId: string) => void, onRename: (threadId: string, title: string) => Promise<void>,
 *   onDelete: (thread: Thread) => void}} RowActions
 */
import { h, setText } from "./dom.js";
import { icon } from "./icons.js";

const TITLE_CHARACTERS = 120;

export class ThreadRow {
  #title = h("span", { class: "thread-title", dir: "auto" });
  #sign = h("span", { class: "thread-sign" });
  #link = h("a", { class: "thread-link" }, this.#title, this.#sign);
  #rename = h("button", { type: "button", class: "quiet icon-button" }, icon("pencil"));
  #delete = h("button", { type: "button", class: "quiet icon-button" }, icon("trash"));
  #actions;
  /** @type {Thread} */
  thread;

  /** @param {Thread} thread @param {RowActions} actions */
  constructor(thread, actions) {
    this.thread = thread;
    this.#actions = actions;
    this.#link.href = `/threads/${encodeURIComponent(thread.thread_id)}`;
    this.element = h("li", { class: "thread", "data-thread": thread.thread_id }, this.#link, this.#rename, this.#delete);
    this.#link.onclick = (event) => {
      if (event.button || event.ctrlKey || event.metaKey || event.shiftKey) return; // a new tab, as of any link
      event.preventDefault();
      actions.onOpen(this.thread.thread_id);
    };
    this.#rename.onclick = () => this.#edit();
    this.#delete.onclick = () => actions.onDelete(this.thread);
  }

  /** @param {Thread} thread @param {{isCurrent: boolean, isUnread: boolean}} shown */
  update(thread, { isCurrent, isUnread }) {
    this.thread = thread;
    const title = thread.title || "Untitled";
    setText(this.#title, title);
    this.#rename.setAttribute("aria-label", `Rename ${title}`);
    this.#delete.setAttribute("aria-label", `Delete ${title}`);
    if (isCurrent) this.#link.setAttribute("aria-current", "page");
    else this.#link.removeAttribute("aria-current");
    const sign = thread.live ? "live" : isUnread ? "unread" : "";
    if (this.#sign.dataset.sign === sign) return;
    this.#sign.dataset.sign = sign;
    setText(this.#sign, { live: "running", unread: "new", "": "" }[sign] ?? "");
  }

  focus() {
    this.#link.focus();
  }

  #edit() {
    const input = h("input", { class: "thread-edit", value: this.thread.title, maxLength: TITLE_CHARACTERS, "aria-label": "Title of the thread", dir: "auto" });
    this.element.classList.add("editing");
    this.element.append(input);
    input.select();
    let isOver = false;
    const end = async (/** @type {boolean} */ keep) => {
      if (isOver) return;
      isOver = true;
      const hadFocus = input === document.activeElement;
      const title = input.value.trim();
      input.remove();
      this.element.classList.remove("editing");
      if (hadFocus) this.#rename.focus();
      if (keep && title && title !== this.thread.title) await this.#actions.onRename(this.thread.thread_id, title);
    };
    input.onblur = () => end(true);
    input.onkeydown = (event) => {
      if (event.isComposing || !["Enter", "Escape"].includes(event.key)) return;
      event.preventDefault();
      event.stopPropagation();
      end(event.key === "Enter");
    };
  }
}
