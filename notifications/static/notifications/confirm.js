// @ts-check
/** Asks before something is gone for good. The dialog stays open, and says why, if it cannot be done. */
import { find, setText } from "./dom.js";

/** @param {string} question @param {() => Promise<unknown>} act @returns {Promise<boolean>} whether it was done */
export function confirmed(question, act) {
  const dialog = /** @type {HTMLDialogElement} */ (find("#confirm"));
  const problem = find("#confirm-problem");
  const yes = find("#confirm-yes");
  setText(find("#confirm-question"), question);
  problem.hidden = true;
  yes.disabled = false;
  let isDone = false;
  yes.onclick = async () => {
    yes.disabled = true;
    try {
      await act();
      isDone = true;
      dialog.close();
    } catch (error) {
      setText(problem, /** @type {Error} */ (error).message);
      problem.hidden = false;
      yes.disabled = false;
    }
  };
  find("#confirm-no").onclick = () => dialog.close();
  dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener("close", () => resolve(isDone), { once: true }));
}
