// @ts-check
/**
 * What can be done with a run that has ended.
 *
 * @import {RunState} from "./run-state.js"
 */
import { h } from "./dom.js";
import { icon } from "./icons.js";

const SAID_MS = 2000;

/** @param {RunState} state @param {() => void} onRetry @returns {HTMLButtonElement[]} */
export function endButtons(state, onRetry) {
  const buttons = [];
  const text = typeof state.output === "string" ? state.output : state.streamed;
  if (text) buttons.push(copyButton(text));
  if (state.message && !state.parentRunId) buttons.push(retryButton(state, onRetry));
  return buttons;
}

/** @param {RunState} state @param {() => void} onRetry */
function retryButton(state, onRetry) {
  const [kind, words] = state.status === "completed" ? ["quiet", "Ask again"] : ["secondary", "Try again"];
  const retry = h("button", { type: "button", class: kind }, icon("retry"), words);
  retry.onclick = onRetry;
  return retry;
}

/** @param {string} text */
function copyButton(text) {
  const word = h("span", { textContent: "Copy" });
  const copy = h("button", { type: "button", class: "quiet" }, icon("copy"), word);
  copy.onclick = async () => {
    word.textContent = (await copied(text)) ? "Copied" : "Not copied";
    setTimeout(() => (word.textContent = "Copy"), SAID_MS);
  };
  return copy;
}

/** On plain http there is no clipboard, but there is a selection. @param {string} text */
async function copied(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text).then(() => true, () => false);
  const area = h("textarea", { value: text, class: "visually-hidden" });
  const before = /** @type {HTMLElement | null} */ (document.activeElement);
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  before?.focus();
  return done;
}
