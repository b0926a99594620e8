// @ts-check
/** A table that goes along with a message: chosen, dropped or pasted. */
import { find, setText } from "./dom.js";
import { counted, size } from "./format.js";

export const MOST_BYTES = 60_000;
const TABLE = /\.(csv|tsv|txt)$/i;
const PASTED_LINES = 3;

export class Attachment {
  #file = find("#file");
  #chip = find("#attachment");
  /** @type {{filename: string, table: string} | null} */
  value = null;
  #onChange;
  #onProblem;

  /** @param {() => void} onChange @param {(problem: string) => void} onProblem */
  constructor(onChange, onProblem) {
    this.#onChange = onChange;
    this.#onProblem = onProblem;
    find("#attach").onclick = () => this.#file.click();
    this.#file.onchange = () => this.#read(this.#file.files[0]);
    find("#detach").onclick = () => this.set(null);
    find("#message").addEventListener("paste", (/** @type {ClipboardEvent} */ event) => this.#pasted(event));
    this.#listenForDrops();
  }

  /** @param {{filename: string, table: string} | null} value */
  set(value) {
    this.value = value;
    this.#chip.hidden = value === null;
    if (value) {
      const lines = value.table.split("\n").filter((line) => line.trim()).length;
      setText(find("#attachment-name"), value.filename);
      setText(find("#attachment-size"), `${counted(lines, "line")}, ${size(new Blob([value.table]).size)}`);
    }
    this.#onChange();
  }

  /** @param {File | undefined} file */
  async #read(file) {
    this.#file.value = "";
    if (!file) return;
    if (!TABLE.test(file.name) && !file.type.startsWith("text/")) return this.#onProblem(`${file.name} is not a CSV file.`);
    if (file.size > MOST_BYTES) {
      return this.#onProblem(`${file.name} is ${size(file.size)}; at most ${size(MOST_BYTES)} can be sent.`);
    }
    this.set({ filename: file.name, table: await file.text() });
  }

  /** A file, or lines that are a table, become the attachment; any other text is text. @param {ClipboardEvent} event */
  #pasted(event) {
    const file = event.clipboardData?.files[0];
    const text = event.clipboardData?.getData("text/plain") ?? "";
    const isTable = !file && !this.value && looksLikeTable(text);
    if (!file && !isTable) return;
    event.preventDefault();
    if (file) this.#read(file);
    else this.set({ filename: "pasted table.csv", table: text });
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
      this.#read(event.dataTransfer?.files[0]);
    });
  }
}

/** Each line has as many tabs, semicolons or commas as the first. @param {string} text */
function looksLikeTable(text) {
  const lines = text.trim().split(/\r?\n/);
  if (lines.length < PASTED_LINES) return false;
  return ["\t", ";", ","].some((mark) => {
    const columns = lines[0].split(mark).length;
    return columns > 1 && lines.every((line) => line.split(mark).length === columns);
  });
}
