// @ts-check
/** Where a message is written: agent, text, an attached table. */
import { find, setText } from "./dom.js";
import { counted, size } from "./format.js";
import { frameBytes, startFrame } from "./netra-client.js";

const MOST_BYTES = 60_000;
const TABLE = /\.(csv|tsv|txt)$/i;

export class Composer {
  #form = find("#composer");
  #text = find("#message");
  #agent = find("#agent");
  #file = find("#file");
  #chip = find("#attachment");
  #problem = find("#problem");
  /** @type {{filename: string, table: string} | null} */
  #attached = null;
  #agents;
  #onSend;

  /**
   * @param {{name: string, description: string}[]} agents
   * @param {(draft: {agent: string, message: string, params?: Record<string, unknown>}) => void} onSend
   */
  constructor(agents, onSend) {
    this.#agents = agents;
    this.#onSend = onSend;
    for (const { name } of agents) this.#agent.add(new Option(name, name));
    this.#agent.onchange = () => this.#agentChanged();
    this.#text.addEventListener("input", () => this.#changed());
    this.#text.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => this.#key(event));
    this.#form.addEventListener("submit", (/** @type {Event} */ event) => this.#submit(event));
    find("#attach").onclick = () => this.#file.click();
    this.#file.onchange = () => this.#attach(this.#file.files[0]);
    find("#detach").onclick = () => this.#detach();
    this.#listenForDrops();
    this.#agentChanged();
    this.#changed();
  }

  focus() {
    this.#text.focus();
  }

  /** @param {string} name */
  choose(name) {
    this.#agent.value = name;
    this.#agentChanged();
    this.focus();
  }

  #draft() {
    const params = this.#attached ?? undefined;
    return { agent: this.#agent.value, message: this.#text.value.trim(), ...(params && { params: { ...params } }) };
  }

  #agentChanged() {
    const chosen = this.#agents.find(({ name }) => name === this.#agent.value);
    setText(find("#agent-description"), chosen?.description ?? "No agents are installed.");
    this.#changed();
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
    this.#onSend(draft);
    this.#text.value = "";
    this.#detach();
    this.focus();
  }

  #changed() {
    this.#text.style.height = "auto"; // grows with its text, up to the maximum of the style sheet
    this.#text.style.height = `${this.#text.scrollHeight}px`;
    const draft = this.#draft();
    const problem = this.#tooLarge(draft);
    setText(this.#problem, problem);
    this.#problem.hidden = !problem;
    find("#send").disabled = !draft.message || !draft.agent || Boolean(problem);
  }

  /** @param {{agent: string, message: string, params?: Record<string, unknown>}} draft @returns {string} why not, or "" */
  #tooLarge(draft) {
    if (draft.message.length + (this.#attached?.table.length ?? 0) < MOST_BYTES / 6) return "";
    const bytes = frameBytes(startFrame({ ...draft, requestId: "0".repeat(36), threadId: "0".repeat(33) }));
    if (bytes <= MOST_BYTES) return "";
    return `Message and table are ${size(bytes)} together; at most ${size(MOST_BYTES)} can be sent. Shorten one of them.`;
  }

  /** @param {File | undefined} file */
  async #attach(file) {
    this.#file.value = "";
    if (!file) return;
    if (!TABLE.test(file.name) && !file.type.startsWith("text/")) return this.#refuse(`${file.name} is not a CSV file.`);
    if (file.size > MOST_BYTES) {
      return this.#refuse(`${file.name} is ${size(file.size)}; at most ${size(MOST_BYTES)} can be sent.`);
    }
    const table = await file.text();
    this.#attached = { filename: file.name, table };
    const lines = table.split("\n").filter((line) => line.trim()).length;
    setText(find("#attachment-name"), file.name);
    setText(find("#attachment-size"), `${counted(lines, "line")}, ${size(file.size)}`);
    this.#chip.hidden = false;
    this.#changed();
    this.focus();
  }

  #detach() {
    this.#attached = null;
    this.#chip.hidden = true;
    this.#changed();
  }

  /** @param {string} problem */
  #refuse(problem) {
    setText(this.#problem, problem);
    this.#problem.hidden = false;
  }

  #listenForDrops() {
    const carriesFile = (/** @type {DragEvent} */ event) => event.dataTransfer?.types.includes("Files");
    addEventListener("dragover", (event) => {
      if (!carriesFile(event)) return;
      event.preventDefault();
      document.body.classList.add("dropping");
    });
    addEventListener("dragleave", (event) => {
      if (!event.relatedTarget) document.body.classList.remove("dropping");
    });
    addEventListener("drop", (event) => {
      document.body.classList.remove("dropping");
      if (!carriesFile(event)) return;
      event.preventDefault();
      this.#attach(event.dataTransfer?.files[0]);
    });
  }
}
