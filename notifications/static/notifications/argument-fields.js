// @ts-check
/** The arguments of an approval as fields of a form: a text as it is, yes or no as a box, a number, all else as JSON. */
import { h, setText } from "./dom.js";
import { pretty } from "./format.js";
import { block } from "./tool-view.js";

const LONG = 60;
const HIDDEN = "[redacted]";
const EXTRACT = ["bytes", "cut", "json_extract"];

export class ArgumentFields {
  /** @type {Field[]} */
  #fields = [];

  /** @param {unknown} values as they were shown @param {string} id to make ids from @param {Record<string, string>} texts as left before a reload */
  constructor(values, id, texts) {
    this.element = h("fieldset", { class: "fields", "aria-label": "Arguments" });
    if (!isObject(values)) this.element.hidden = true;
    else if (isExtract(values)) this.element.append(...block("Arguments, too large to be changed here", values.json_extract));
    else {
      this.#fields = Object.entries(values).map(([name, value], number) => new Field(name, value, `${id}-${number}`, texts[name]));
      this.element.append(...this.#fields.map((field) => field.element));
      this.element.hidden = !this.#fields.length;
    }
  }

  /** @returns {Record<string, string>} what was changed, as it is written, by name */
  get texts() {
    return Object.fromEntries(this.#changed.map((field) => [field.name, field.text]));
  }

  /** @returns {Record<string, unknown> | undefined} all arguments, if one was changed */
  get values() {
    return this.#changed.length ? Object.fromEntries(this.#fields.map((field) => [field.name, field.value])) : undefined;
  }

  /** Says at each field what is wrong with it, and goes to the first. @returns {boolean} whether nothing is */
  check() {
    for (const field of this.#fields) field.tell(field.problem);
    return !this.#goToWrong();
  }

  /** The server found something wrong; its sentence names the field, if it knows it. @param {string} sentence */
  refuse(sentence) {
    const name = /\$\.([^.[`]+)/.exec(sentence)?.[1];
    this.#fields.find((field) => field.name === name)?.tell("the agent cannot take this.");
    this.#goToWrong();
  }

  get #changed() {
    return this.#fields.filter((field) => field.isChanged);
  }

  #goToWrong() {
    const wrong = this.#fields.find((field) => field.isWrong);
    wrong?.input.focus();
    return wrong;
  }
}

class Field {
  #problem = h("span", { class: "field-problem", hidden: true });

  /** @param {string} name @param {unknown} before @param {string} id @param {string} [text] as it was left */
  constructor(name, before, id, text) {
    this.name = name;
    this.before = before;
    this.original = written(before);
    this.#problem.id = `${id}-problem`;
    this.input = this.#makeInput(text ?? this.original);
    this.input.id = id;
    this.input.setAttribute("aria-describedby", this.#problem.id);
    const label = h("label", { htmlFor: id, dir: "auto", textContent: name });
    const hint = before === HIDDEN ? h("span", { class: "hint", textContent: "Hidden. Left as it is, it stays what it is." }) : null;
    this.element = h("div", { class: typeof before === "boolean" ? "field box" : "field" }, label, this.input, hint, this.#problem);
  }

  /** @param {string} text */
  #makeInput(text) {
    if (typeof this.before === "boolean") return h("input", { type: "checkbox", checked: text === "true" });
    const isLong = text.length > LONG || text.includes("\n");
    const input = h(isLong ? "textarea" : "input", { value: text, dir: "auto", spellcheck: false, autocomplete: "off" });
    if (isLong) /** @type {HTMLTextAreaElement} */ (input).rows = Math.min(12, Math.max(3, text.split("\n").length));
    if (typeof this.before === "number") input.inputMode = "decimal";
    return input;
  }

  get text() {
    return typeof this.before === "boolean" ? String(/** @type {HTMLInputElement} */ (this.input).checked) : this.input.value;
  }

  get isChanged() {
    return this.text !== this.original;
  }

  get isWrong() {
    return !this.#problem.hidden;
  }

  get problem() {
    if (!this.isChanged || typeof this.before === "string") return "";
    try {
      return sort(JSON.parse(this.text)) === sort(this.before) || this.before === null ? "" : `this must be ${sort(this.before)}.`;
    } catch (error) {
      if (typeof this.before === "number") return "this must be a number.";
      return `this is not JSON. ${/** @type {Error} */ (error).message}`;
    }
  }

  get value() {
    if (!this.isChanged) return this.before;
    return typeof this.before === "string" ? this.text : JSON.parse(this.text);
  }

  /** @param {string} problem "" if there is none */
  tell(problem) {
    setText(this.#problem, problem && `${this.name}: ${problem}`);
    this.#problem.hidden = !problem;
    this.input.setAttribute("aria-invalid", String(Boolean(problem)));
  }
}

/** A text as it is, all else as JSON, on one line if that is short. @param {unknown} value */
function written(value) {
  const line = typeof value === "string" ? value : JSON.stringify(value);
  return line.length > LONG ? pretty(value) : line;
}

/** @param {unknown} value @returns {value is Record<string, unknown>} */
const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

/** They were too large for an event. @param {Record<string, unknown>} values */
const isExtract = (values) => Object.keys(values).sort().join() === EXTRACT.join();

/** @param {unknown} value */
function sort(value) {
  if (Array.isArray(value)) return "a list in [ ]";
  return isObject(value) ? "an object in { }" : `a ${typeof value}`;
}
