// @ts-check
/**
 * Markdown from agents, made safe, drawn block by block so that a growing answer costs only its last block.
 */
// @ts-ignore: not ours
import { Lexer, Marked } from "./vendor/marked.esm.js";
// @ts-ignore: a script that sets a global
import "./vendor/purify.min.js";

const purify = /** @type {any} */ (globalThis).DOMPurify;

const RULES = {
  ALLOWED_TAGS: ["a", "b", "blockquote", "br", "code", "del", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "i", "img",
    "kbd", "li", "ol", "p", "pre", "s", "strong", "sub", "sup", "table", "tbody", "td", "th", "thead", "tr", "ul"],
  ALLOWED_ATTR: ["href", "title", "alt", "src", "start", "align", "colspan", "rowspan"],
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
  RETURN_DOM_FRAGMENT: true,
};

purify.addHook("afterSanitizeAttributes", (/** @type {Element} */ node) => {
  if (node instanceof HTMLAnchorElement) safeLink(node);
  if (node instanceof HTMLImageElement) safeImage(node);
});

/** @param {HTMLAnchorElement} link */
function safeLink(link) {
  if (!["https:", "http:", "mailto:"].includes(link.protocol)) link.removeAttribute("href");
  link.setAttribute("rel", "noopener noreferrer");
  link.setAttribute("target", "_blank");
}

/** An image of another host would tell that host who reads what: its text stays. @param {HTMLImageElement} image */
function safeImage(image) {
  const source = image.getAttribute("src") ?? "";
  if (!/^data:image\/(png|jpeg|gif|webp);/i.test(source)) image.replaceWith(image.alt);
}

// A form control is no part of an answer.
const marked = new Marked({
  gfm: true,
  renderer: { checkbox: (/** @type {any} */ { checked }) => (checked ? "☑ " : "☐ ") },
});

const DRAW_AT_MOST_MS = 25;

/**
 * Keeps an element's content equal to a Markdown text that grows. All blocks but the last are settled: only what follows
 * them is read again. A link definition may change blocks above it, so finish() reads such a text once more as a whole. A long text is drawn in slices: while isDrawn is
 * false, proceed() goes on.
 */
export class MarkdownBlocks {
  /** @type {string[]} the source of each block on the page */
  #sources = [];
  #text = "";
  isDrawn = true;
  #settled = 0;
  #settledLength = 0;
  /** @type {Record<string, any>} link definitions */
  #links = {};

  /** @param {HTMLElement} element */
  constructor(element) {
    this.element = element;
  }

  /** @param {string} text */
  update(text) {
    this.#text = text.replace(/\r\n?/g, "\n");
    this.proceed();
  }

  proceed() {
    const tokens = this.#lex(this.#text.slice(this.#settledLength));
    const drawn = this.#drawSome(tokens);
    this.isDrawn = drawn === tokens.length;
    this.#truncate(this.#settled + drawn);
    const settled = tokens.slice(0, this.isDrawn ? lastBlock(tokens) : drawn);
    this.#settled += settled.length;
    this.#settledLength += settled.reduce((length, token) => length + token.raw.length, 0);
  }

  /** @param {string} text that will not grow any more */
  finish(text) {
    if (Object.keys(this.#links).length) {
      this.#settled = this.#settledLength = 0;
      this.#sources = [];
    }
    this.update(text);
  }

  /** @param {any[]} tokens @returns {number} how many are on the page now */
  #drawSome(tokens) {
    const end = performance.now() + DRAW_AT_MOST_MS;
    for (const [index, token] of tokens.entries()) {
      this.#draw(this.#settled + index, token);
      if (performance.now() > end) return index + 1;
    }
    return tokens.length;
  }

  /** @param {string} text @returns {any[]} */
  #lex(text) {
    /** @type {any} */
    const lexer = new Lexer(marked.defaults);
    lexer.tokens.links = this.#links;
    return lexer.lex(text);
  }

  /** @param {number} index @param {any} token */
  #draw(index, token) {
    if (this.#sources[index] === token.raw) return;
    this.#sources[index] = token.raw;
    const block = document.createElement("div");
    block.className = token.type === "table" ? "block block-table" : "block";
    if (token.type === "table") block.tabIndex = 0; // it scrolls sideways: reachable by keyboard
    block.append(purify.sanitize(marked.parser([token]), RULES));
    const old = this.element.children[index];
    if (old) old.replaceWith(block);
    else this.element.append(block);
  }

  /** @param {number} length */
  #truncate(length) {
    this.#sources.length = length;
    while (this.element.childElementCount > length) this.element.lastElementChild?.remove();
  }
}

/** @param {any[]} tokens @returns {number} the index of the last that is not mere space: it may still grow */
function lastBlock(tokens) {
  const last = tokens.findLastIndex((token) => token.type !== "space");
  return Math.max(0, last);
}
