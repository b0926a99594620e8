// @ts-check
/**
 * Where a message is written: agent, text, an attached table. What is half written survives a reload.
 *
 * @import {TabMemory} from "./tab-memory.js"
 * @typedef {{agent: string, message: string, params?: Record<string, unknown>}} Draft
 */
import { AgentPicker } from "./agent-picker.js";
import { Attachment, MOST_BYTES } from "./attachment.js";
import { find, setText } from "./dom.js";
import { size } from "./format.js";
import { frameBytes, startFrame } from "./netra-client.js";

export class Composer {
  #form = find("#composer");
  #text = find("#message");
  #problem = find("#problem");
  #memory;
  #onSend;
  #name = "";
  #picker;
  #attachment;

  /** @param {{name: string, description: string}[]} agents @param {TabMemory} memory @param {(draft: Draft) => void} onSend */
  constructor(agents, memory, onSend) {
    this.#memory = memory;
    this.#onSend = onSend;
    this.#picker = new AgentPicker(agents, memory.read("agent", ""), (name) => memory.write("agent", name));
    this.#attachment = new Attachment(() => this.#changed(), (problem) => this.#refuse(problem));
    this.#text.addEventListener("input", () => this.#changed());
    this.#text.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => this.#key(event));
    this.#form.addEventListener("submit", (/** @type {Event} */ event) => this.#submit(event));
  }

  /** What was being written in this conversation. @param {string} conversation */
  open(conversation) {
    this.#name = `draft:${conversation}`;
    const { message, attached } = this.#memory.read(this.#name, { message: "", attached: null });
    this.#text.value = message;
    this.#attachment.set(attached);
  }

  /** The thread has got its name. @param {string} conversation */
  rename(conversation) {
    this.#memory.write(this.#name, null);
    this.#name = `draft:${conversation}`;
    this.#changed();
  }

  focus() {
    if (!matchMedia("(pointer: coarse)").matches) this.#text.focus(); // a phone's keyboard would jump up
  }

  /** @param {string} name */
  choose(name) {
    this.#picker.choose(name);
    this.#text.focus();
  }

  /** @returns {Draft} */
  #draft() {
    const params = this.#attachment.value;
    return { agent: this.#picker.value, message: this.#text.value.trim(), ...(params && { params: { ...params } }) };
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.key !== "Enter" || event.isComposing || event.shiftKey) return;
    const sends = event.ctrlKey || event.metaKey || !matchMedia("(pointer: coarse)").matches;
    if (!sends) return;
    event.preventDefault();
    this.#form.requestSubmit();
  }

  /** @param {Event} event */
  #submit(event) {
    event.preventDefault();
    const draft = this.#draft();
    if (!draft.message || !draft.agent || this.#tooLarge(draft)) return;
    this.#text.value = "";
    this.#attachment.set(null);
    this.#text.focus();
    this.#onSend(draft);
  }

  #changed() {
    this.#text.style.height = "auto"; // grows with its text, up to the maximum of the style sheet
    this.#text.style.height = `${this.#text.scrollHeight}px`;
    const draft = this.#draft();
    const problem = this.#tooLarge(draft);
    setText(this.#problem, problem);
    this.#problem.hidden = !problem;
    find("#send").disabled = !draft.message || !draft.agent || Boolean(problem);
    const isEmpty = !this.#text.value && !this.#attachment.value;
    if (this.#name) this.#memory.write(this.#name, isEmpty ? null : { message: this.#text.value, attached: this.#attachment.value });
  }

  /** @param {Draft} draft @returns {string} why not, or "" */
  #tooLarge(draft) {
    if (draft.message.length + (this.#attachment.value?.table.length ?? 0) < MOST_BYTES / 6) return "";
    const bytes = frameBytes(startFrame({ ...draft, requestId: "0".repeat(36), threadId: "0".repeat(33) }));
    if (bytes <= MOST_BYTES) return "";
    return `Message and table are ${size(bytes)} together; at most ${size(MOST_BYTES)} can be sent. Shorten one of them.`;
  }

  /** @param {string} problem */
  #refuse(problem) {
    setText(this.#problem, problem);
    this.#problem.hidden = false;
  }
}
