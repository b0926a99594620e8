// @ts-check
/** Netra's HTTP side, for the page: agents' and threads' data. Errors are ApiErrors with the server's own words. */

export class ApiError extends Error {
  /** @param {string} code @param {string} message */
  constructor(code, message) {
    super(message);
    this.name = "ApiError";
    this.code = code;
  }
}

/**
 * @param {string} method @param {string} path under /api/v1/ @param {object} [body]
 * @returns {Promise<any>} the answer, null if it has no body
 */
async function call(method, path, body) {
  const sent = body && { body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
  let answer;
  try {
    answer = await fetch(`/api/v1/${path}`, { method, cache: "no-store", ...sent });
  } catch {
    throw new ApiError("offline", "The server cannot be reached right now.");
  }
  if (answer.status === 204) return null;
  const document = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new ApiError(document.code ?? "internal", document.detail ?? `The server answered ${answer.status}.`);
  return document;
}

/** @param {string} id */
const at = (id) => `threads/${encodeURIComponent(id)}`;

/** @param {Record<string, string | null | undefined>} query */
function search(query) {
  const given = Object.entries(query).filter(([, value]) => value);
  return given.length ? `?${new URLSearchParams(/** @type {any} */ (given))}` : "";
}

/** @param {{q?: string, before?: string | null}} [query] */
export const listThreads = (query = {}) => call("GET", `threads${search(query)}`);

/** @param {string} threadId @param {string | null} [before] */
export const readThread = (threadId, before) => call("GET", `${at(threadId)}${search({ before })}`);

/** @param {string} threadId @param {string} title */
export const renameThread = (threadId, title) => call("PATCH", at(threadId), { title });

/** @param {string} threadId */
export const deleteThread = (threadId) => call("DELETE", at(threadId));
